//! A host in memory: implements every port.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blob::{Digest, Manifest, ManifestBuilder};
use bytes::{Bytes, BytesMut};
use contract::api::{self, ErrorReason};
use contract::ledger::command::Kind;
use contract::link::{SynchronizeRequest, SynchronizeResponse, Usage};
use contract::peer::{Envelope, HelloResponse, Promise};
use coordinator::{Answer, Refusal, Request};
use feed::{Accept, Batch, Fence, Holder, SealHasher};
use ledger::{Applied, Ledger};
use net::audit::{Audit, Event};
use net::ports::{
    Blobs, Calls, Contact, CoordinatorTls, FeedEnd, FeedKey, FeedReader, FeedStore, FreshReads,
    Members, Mutations, Sessions, Sources, Stored, Surroundings, Upload,
};
use net::{CoordinatorParts, serve_coordinator, serve_worker};
use pki::Credentials;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::ledgers::{self, PROJECT};

type OnRequest = dyn Fn(Request) -> Result<Answer, Refusal> + Send + Sync;

/// What a worker's connection did.
#[derive(Debug)]
pub enum SessionEvent {
    Opened(u64, mpsc::Sender<Result<SynchronizeResponse, Refusal>>),
    State(u64, Box<SynchronizeRequest>),
    Gone(u64),
}

/// Everything a coordinator's services need.
pub struct Host {
    ledgers: watch::Sender<Ledger>,
    on_request: Mutex<Arc<OnRequest>>,
    feeds: Mutex<BTreeMap<FeedKey, Feed>>,
    sessions: mpsc::UnboundedSender<SessionEvent>,
    session_count: AtomicU64,
    pub session_events: tokio::sync::Mutex<mpsc::UnboundedReceiver<SessionEvent>>,
    pub blobs: Arc<MemoryBlobs>,
    /// Feeds that ended by then are gone.
    pub absent_until_ms: AtomicI64,
    /// Bytes of feeds that were given to readers.
    pub read_bytes: AtomicU64,
    /// Whether fresh reads fail.
    pub no_quorum: AtomicBool,
    /// What the worker `w` said last of how busy it is.
    pub usage: Mutex<Option<Usage>>,
    /// What the audit trail was told.
    pub audited: Mutex<Vec<Event>>,
    peer_messages: mpsc::UnboundedSender<(u64, Promise, Bytes)>,
    /// Messages of other members, each with its sender and what that promised.
    pub from_peers: tokio::sync::Mutex<mpsc::UnboundedReceiver<(u64, Promise, Bytes)>>,
    peer_snapshots: mpsc::UnboundedSender<(u64, Bytes, Bytes)>,
    /// Snapshots of other members: sender, message, data.
    pub snapshots: tokio::sync::Mutex<mpsc::UnboundedReceiver<(u64, Bytes, Bytes)>>,
    answered: mpsc::UnboundedSender<Answered>,
    /// Calls that were counted.
    pub calls: tokio::sync::Mutex<mpsc::UnboundedReceiver<Answered>>,
}

/// Method and code of a call, and whether its time was told.
pub type Answered = (&'static str, &'static str, bool);

impl Calls for Host {
    fn answered(&self, method: &'static str, code: &'static str, took: Option<Duration>) {
        let _ = self.answered.send((method, code, took.is_some()));
    }
}

struct Feed {
    holder: Holder,
    batches: Vec<Batch>,
    hasher: SealHasher,
    end: watch::Sender<FeedEnd>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            holder: Holder::new(Fence(0), 0, None),
            batches: Vec::new(),
            hasher: SealHasher::new(),
            end: watch::Sender::default(),
        }
    }
}

impl Host {
    /// A host whose ledger has a cluster and a worker `w`.
    pub fn new() -> Arc<Self> {
        let (sessions, events) = mpsc::unbounded_channel();
        let (peer_messages, from_peers) = mpsc::unbounded_channel();
        let (peer_snapshots, snapshots) = mpsc::unbounded_channel();
        let (answered, calls) = mpsc::unbounded_channel();
        let host = Self {
            answered,
            calls: tokio::sync::Mutex::new(calls),
            ledgers: watch::Sender::new(Ledger::new()),
            on_request: Mutex::new(Arc::new(|_| {
                Err(Refusal::new(ErrorReason::NotReady, "no answer is set"))
            })),
            feeds: Mutex::default(),
            sessions,
            session_count: AtomicU64::new(0),
            session_events: tokio::sync::Mutex::new(events),
            blobs: Arc::default(),
            absent_until_ms: AtomicI64::new(i64::MIN),
            read_bytes: AtomicU64::new(0),
            no_quorum: AtomicBool::new(false),
            usage: Mutex::default(),
            audited: Mutex::default(),
            peer_messages,
            from_peers: tokio::sync::Mutex::new(from_peers),
            peer_snapshots,
            snapshots: tokio::sync::Mutex::new(snapshots),
        };
        host.apply(vec![ledgers::found(), ledgers::worker("w", "127.0.0.1:1")]);
        Arc::new(host)
    }

    /// Applies an entry and publishes the ledger.
    pub fn apply(&self, kinds: Vec<Kind>) -> Applied {
        let mut ledger = self.ledger();
        let applied = ledger.apply(ledger.revision() + 1, &ledgers::entry(kinds));
        assert!(applied.outcomes.iter().all(Result::is_ok), "{applied:?}");
        self.ledgers.send_replace(ledger);
        applied
    }

    pub fn ledger(&self) -> Ledger {
        self.ledgers.borrow().clone()
    }

    /// Fence of an execution's live attempt.
    pub fn fence(&self, execution: i64) -> ledger::Fence {
        self.ledger()
            .execution(PROJECT, execution)
            .unwrap()
            .live_fence()
            .unwrap()
    }

    pub fn answer(
        &self,
        on_request: impl Fn(Request) -> Result<Answer, Refusal> + Send + Sync + 'static,
    ) {
        *self.on_request.lock().unwrap() = Arc::new(on_request);
    }

    /// Stores lines of standard output as one batch.
    pub fn print(&self, key: FeedKey, lines: &[&str]) {
        let mut feeds = self.feeds.lock().unwrap();
        let feed = feeds.entry(key).or_default();
        let mut frames = Vec::new();
        for line in lines {
            let partial = !line.ends_with('\n');
            feed::encode_parts(
                feed::Stream::Stdout,
                partial,
                1_000_000,
                line.as_bytes(),
                &mut frames,
            );
        }
        let batch = Batch::of_frames(feed.holder.stored(), frames.into()).unwrap();
        feed.take(Fence(0), batch);
    }

    /// Seals a feed.
    pub fn seal(&self, key: FeedKey) -> feed::Seal {
        let mut feeds = self.feeds.lock().unwrap();
        let feed = feeds.entry(key).or_default();
        let seal = feed.hasher.seal();
        feed.end.send_modify(|end| end.seal = Some(seal));
        seal
    }

    fn parts(self: &Arc<Self>) -> CoordinatorParts {
        CoordinatorParts {
            mutations: self.clone(),
            ledgers: self.ledgers.subscribe(),
            fresh: self.clone(),
            members: self.clone(),
            surroundings: self.clone(),
            feeds: self.clone(),
            feed_store: self.clone(),
            sessions: self.clone(),
            blobs: self.blobs.clone(),
            sources: self.clone(),
            calls: Some(self.clone()),
            audit: Some(self.clone()),
            tls: None,
        }
    }

    /// Serves it on a free port.
    pub async fn serve(self: &Arc<Self>) -> Server {
        self.serve_at("127.0.0.1:0").await
    }

    /// Serves at an address.
    pub async fn serve_at(self: &Arc<Self>, address: &str) -> Server {
        self.serve_with(address, None).await
    }

    /// Serves with TLS on a free port.
    pub async fn serve_secure(self: &Arc<Self>, tls: CoordinatorTls) -> Server {
        self.serve_with("127.0.0.1:0", Some(tls)).await
    }

    async fn serve_with(self: &Arc<Self>, address: &str, tls: Option<CoordinatorTls>) -> Server {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let parts = CoordinatorParts {
            tls,
            ..self.parts()
        };
        let task = tokio::spawn(async move {
            serve_coordinator(listener, parts, async {
                let _ = stopped.await;
            })
            .await
            .unwrap();
        });
        Server {
            address,
            stop: Some(stop),
            task,
        }
    }
}

impl Audit for Host {
    fn record(&self, event: Event) {
        self.audited.lock().unwrap().push(event);
    }
}

impl Feed {
    fn take(&mut self, fence: Fence, batch: Batch) -> Stored {
        let refused = match self.holder.accept(fence, &batch).unwrap() {
            Accept::Store(fresh) => {
                self.hasher.update_batch(&fresh);
                self.holder.mark_stored(fresh.end_record());
                self.batches.push(fresh);
                false
            }
            Accept::Duplicate { .. } | Accept::Gap { .. } => false,
            Accept::Sealed { .. } | Accept::StaleFence { .. } => true,
        };
        let next_record = self.holder.stored();
        self.end.send_modify(|end| end.next_record = next_record);
        Stored {
            next_record,
            refused,
        }
    }
}

/// A running server; stops when told to.
pub struct Server {
    pub address: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Stops it and waits until it has.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        super::soon(self.task).await.unwrap();
    }
}

/// Serves blobs as a worker does.
pub async fn serve_blobs(blobs: Arc<MemoryBlobs>) -> Server {
    serve_blobs_as(blobs, None).await
}

/// The same, with TLS.
pub async fn serve_blobs_as(blobs: Arc<MemoryBlobs>, tls: Option<Credentials>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        serve_worker(listener, blobs, None, tls, async {
            let _ = stopped.await;
        })
        .await
        .unwrap();
    });
    Server {
        address,
        stop: Some(stop),
        task,
    }
}

#[net::async_trait]
impl Mutations for Host {
    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        let on_request = self.on_request.lock().unwrap().clone();
        on_request(request)
    }
}

#[net::async_trait]
impl FreshReads for Host {
    async fn fresh(&self) -> Result<Ledger, Refusal> {
        if self.no_quorum.load(Ordering::Relaxed) {
            return Err(Refusal::new(ErrorReason::NoQuorum, "no majority"));
        }
        Ok(self.ledger())
    }
}

#[net::async_trait]
impl Members for Host {
    fn admit(&self, envelope: &Envelope) -> Result<(), Refusal> {
        if envelope.cluster_id != "c" || envelope.to != 1 {
            return Err(Refusal::new(
                ErrorReason::StateForbids,
                "of another cluster, or for another member",
            ));
        }
        Ok(())
    }

    fn hello(&self, envelope: &Envelope) -> Result<HelloResponse, Refusal> {
        self.admit(envelope)?;
        Ok(HelloResponse {
            promise: Some(Promise { term: 3, index: 9 }),
            ..HelloResponse::default()
        })
    }

    async fn messages(
        &self,
        from: u64,
        promise: Promise,
        messages: Vec<Bytes>,
    ) -> Result<(), Refusal> {
        for message in messages {
            // A test that looks at them reads the other end.
            drop(self.peer_messages.send((from, promise, message)));
        }
        Ok(())
    }

    async fn snapshot(&self, from: u64, message: Bytes, data: Bytes) -> Result<(), Refusal> {
        drop(self.peer_snapshots.send((from, message, data)));
        Ok(())
    }
}

impl Surroundings for Host {
    fn cluster(&self) -> api::Cluster {
        api::Cluster {
            cluster_id: "c".to_owned(),
            leader_id: 1,
            ..api::Cluster::default()
        }
    }

    fn contact(&self, worker: &str) -> Option<Contact> {
        (worker == "w").then_some(Contact {
            duplicate_ms: None,
            connected: true,
            time_ms: 5,
            usage: self.usage.lock().unwrap().clone(),
        })
    }
}

#[net::async_trait]
impl FeedReader for Host {
    async fn read(
        &self,
        key: FeedKey,
        from_record: u64,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, Refusal> {
        let feeds = self.feeds.lock().unwrap();
        let stored = feeds
            .get(&key)
            .map(|feed| feed.batches.clone())
            .unwrap_or_default();
        let mut bytes = 0;
        let wanted = stored
            .into_iter()
            .filter(|batch| batch.end_record() > from_record);
        let given: Vec<Batch> = wanted
            .take_while(|batch| {
                let first = bytes == 0;
                bytes += batch.frames.len();
                first || bytes <= max_bytes
            })
            .collect();
        let given_bytes = given.iter().map(|batch| batch.frames.len() as u64).sum();
        self.read_bytes
            .fetch_add(given_bytes, std::sync::atomic::Ordering::SeqCst);
        Ok(given)
    }

    fn end(&self, key: FeedKey) -> watch::Receiver<FeedEnd> {
        let mut feeds = self.feeds.lock().unwrap();
        let end = &feeds.entry(key).or_default().end;
        // There is no other coordinator that could have more.
        end.send_if_modified(|end| !std::mem::replace(&mut end.settled, true));
        end.subscribe()
    }

    fn is_purged(&self, _: FeedKey, end_time_ms: i64) -> bool {
        end_time_ms <= self.absent_until_ms()
    }

    fn absent_until_ms(&self) -> i64 {
        self.absent_until_ms
            .load(std::sync::atomic::Ordering::SeqCst)
    }

    async fn is_closed(&self, _: FeedKey) -> bool {
        true
    }
}

#[net::async_trait]
impl Sources for Host {
    async fn ensure(&self, digest: Digest, size: u64, _: Vec<String>) -> Result<(), Refusal> {
        match net::ports::Blobs::size(&*self.blobs, digest).await? {
            Some(stored) if stored == size => Ok(()),
            _ => Err(Refusal::new(
                contract::api::ErrorReason::BlobMissing,
                "it is nowhere",
            )),
        }
    }
}

impl FeedStore for Host {
    fn store(
        &self,
        key: FeedKey,
        fence: Fence,
        batch: Batch,
    ) -> oneshot::Receiver<Result<Stored, Refusal>> {
        let (answer, receiver) = oneshot::channel();
        let stored = self
            .feeds
            .lock()
            .unwrap()
            .entry(key)
            .or_default()
            .take(fence, batch);
        let _ = answer.send(Ok(stored));
        receiver
    }
}

#[net::async_trait]
impl Sessions for Host {
    fn opened(&self, desired: mpsc::Sender<Result<SynchronizeResponse, Refusal>>) -> u64 {
        let session = self.session_count.fetch_add(1, Ordering::Relaxed);
        let _ = self.sessions.send(SessionEvent::Opened(session, desired));
        session
    }

    async fn state(&self, session: u64, state: SynchronizeRequest) {
        let _ = self
            .sessions
            .send(SessionEvent::State(session, Box::new(state)));
    }

    fn gone(&self, session: u64) {
        let _ = self.sessions.send(SessionEvent::Gone(session));
    }
}

/// Blobs in memory; some of them damaged.
#[derive(Default)]
pub struct MemoryBlobs {
    blobs: Arc<Mutex<BTreeMap<Digest, Bytes>>>,
    damaged: Mutex<BTreeSet<Digest>>,
    pub reads: AtomicU64,
}

impl MemoryBlobs {
    pub fn insert(&self, bytes: &Bytes) -> Digest {
        let digest = Digest::of(bytes);
        self.blobs.lock().unwrap().insert(digest, bytes.clone());
        digest
    }

    /// From now on the last byte of every read of this blob is wrong.
    pub fn damage(&self, digest: Digest) {
        self.damaged.lock().unwrap().insert(digest);
    }

    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.blobs.lock().unwrap().get(digest).cloned()
    }
}

#[net::async_trait]
impl Blobs for MemoryBlobs {
    async fn size(&self, digest: Digest) -> Result<Option<u64>, Refusal> {
        Ok(self.get(&digest).map(|bytes| bytes.len() as u64))
    }

    async fn manifest(&self, digest: Digest) -> Result<Option<Manifest>, Refusal> {
        Ok(self.get(&digest).map(|bytes| {
            let mut builder = ManifestBuilder::new();
            builder.update(&bytes);
            builder.finish().1
        }))
    }

    async fn read(&self, digest: Digest, offset: u64, length: usize) -> Result<Bytes, Refusal> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = self
            .get(&digest)
            .ok_or_else(|| Refusal::not_found("blob"))?;
        let start = offset as usize;
        let part = bytes.slice(start..(start + length).min(bytes.len()));
        if !self.damaged.lock().unwrap().contains(&digest) {
            return Ok(part);
        }
        let mut wrong = BytesMut::from(&part[..]);
        if let Some(last) = wrong.last_mut() {
            *last ^= 1;
        }
        Ok(wrong.freeze())
    }

    async fn begin(&self, digest: Digest, size: u64) -> Result<Box<dyn Upload>, Refusal> {
        if size > 64 << 20 {
            return Err(Refusal::new(ErrorReason::LimitExceeded, "too big"));
        }
        Ok(Box::new(MemoryUpload {
            digest,
            bytes: BytesMut::new(),
            into: self.blobs.clone(),
        }))
    }
}

struct MemoryUpload {
    digest: Digest,
    bytes: BytesMut,
    into: Arc<Mutex<BTreeMap<Digest, Bytes>>>,
}

#[net::async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, data: Bytes) -> Result<(), Refusal> {
        self.bytes.extend_from_slice(&data);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), Refusal> {
        let bytes = self.bytes.freeze();
        if Digest::of(&bytes) != self.digest {
            return Err(Refusal::new(ErrorReason::DigestMismatch, "other bytes"));
        }
        self.into.lock().unwrap().insert(self.digest, bytes);
        Ok(())
    }
}
