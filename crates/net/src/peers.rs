//! The ways to the other members of the Raft group.
//!
//! Participants: the coordinator's **loop** hands over messages and must never wait; the **links**, one a member, carry them on a
//! stream that lasts as long as the connection; the **member** at the other end checks who speaks. Goals: what can be sent is sent
//! in the order it came; what cannot be is dropped, and the loop told so, because Raft sends again what matters. No goal: delivery.
//!
//! A snapshot has a connection of its own, so that it does not hold up heartbeats, and always ends with [`PeerEvent::SnapshotSent`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contract::api::ErrorReason;
use contract::peer::peer_service_client::PeerServiceClient;
use contract::peer::{
    Envelope, ExchangeRequest, HelloRequest, HelloResponse, Promise, SendSnapshotRequest,
};
use coordinator::Refusal;
use pki::Dialer;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::endpoint::{self, Use};
use crate::server::MAX_PEER_MESSAGE;
use crate::status::refusal;

/// Most messages that wait for a member, and most bytes in them; what comes on top is dropped.
const WAITING: (usize, usize) = (4_096, 64 << 20);

/// Most messages in one part of a stream, and about how many bytes in them.
const PART: (usize, usize) = (256, 1 << 20);

/// The first and the longest wait between two tries to reach a member.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// For how long an answer to a greeting is waited for.
const HELLO_PATIENCE: Duration = Duration::from_millis(800);

/// Bytes of a snapshot in one part.
const SNAPSHOT_PART: usize = 1 << 20;

/// For how long a member may take no further part of a snapshot.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(20);

/// For how long a member may take to say that a snapshot arrived, beside a second for each 32 MiB of it.
const SNAPSHOT_END: Duration = Duration::from_secs(10);

/// What becomes of what was to be sent.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerEvent {
    /// Messages to a member were lost.
    Unreachable {
        /// Its Raft id.
        member: u64,
    },
    /// The end of a snapshot, however it ended.
    SnapshotSent {
        /// Raft id of the member it was for.
        member: u64,
        /// Whether it arrived whole.
        delivered: bool,
    },
    /// A member will not hear us.
    Refused {
        /// Its Raft id.
        member: u64,
        /// Why.
        refusal: Refusal,
    },
}

/// Where events go; must not wait.
type Events = Arc<dyn Fn(PeerEvent) + Send + Sync>;

/// Who this member is, for every member it speaks to.
#[derive(Debug, Clone)]
pub struct Sender {
    /// UUID of the cluster.
    pub cluster_id: String,
    /// Its Raft id.
    pub member_id: u64,
    /// `host:port` of its services.
    pub address: String,
    /// How far its log reaches on its disk.
    pub holds: Holds,
    /// How it connects to the others.
    pub dialer: Dialer,
    /// The highest feature level that it knows.
    pub feature_level: u32,
}

/// How far the log of this member reaches on its disk, as its loop last said. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct Holds(Arc<std::sync::Mutex<Promise>>);

impl Holds {
    /// Notes it.
    pub fn set(&self, holds: Promise) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = holds;
    }

    /// What was noted last.
    pub fn get(&self) -> Promise {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    fn envelope(&self, to: u64) -> Envelope {
        Envelope {
            cluster_id: self.cluster_id.clone(),
            from: self.member_id,
            to,
            address: self.address.clone(),
            holds: Some(self.holds.get()),
            feature_level: self.feature_level,
        }
    }
}

/// The ways to all members. Owned by the loop; every call returns at once.
pub struct PeerLinks {
    sender: Arc<Sender>,
    events: Events,
    links: BTreeMap<u64, Link>,
    runtime: tokio::runtime::Handle,
}

/// The loop's end of the way to one member; it ends when this is dropped.
struct Link {
    address: watch::Sender<String>,
    messages: mpsc::Sender<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

struct Outgoing {
    promise: Promise,
    message: Bytes,
}

impl PeerLinks {
    /// No ways yet. `events` is told what becomes of what is sent; it must not wait.
    ///
    /// Must be called on a thread of the runtime that carries the messages.
    pub fn new(sender: Sender, events: impl Fn(PeerEvent) + Send + Sync + 'static) -> Self {
        Self {
            sender: Arc::new(sender),
            events: Arc::new(events),
            links: BTreeMap::new(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Keeps ways to exactly these members; of this member itself there is none.
    pub fn keep(&mut self, members: &BTreeMap<u64, String>) {
        self.links.retain(|member, _| members.contains_key(member));
        for (&member, address) in members {
            if member != self.sender.member_id {
                self.meet(member, address);
            }
        }
    }

    /// Notes where a member is; opens a way to it if there is none.
    pub fn meet(&mut self, member: u64, address: &str) {
        if member == self.sender.member_id {
            return;
        }
        let link = self.links.entry(member).or_insert_with(|| {
            let (addresses, known) = watch::channel(String::new());
            let (messages, queue) = mpsc::channel(WAITING.0);
            let bytes = Arc::new(AtomicUsize::new(0));
            let keeper = Keeper {
                sender: self.sender.clone(),
                member,
                address: known,
                queue: Arc::new(Mutex::new(Queue {
                    messages: queue,
                    bytes: bytes.clone(),
                    put_back: None,
                })),
                events: self.events.clone(),
            };
            self.runtime.spawn(keeper.keep());
            Link {
                address: addresses,
                messages,
                bytes,
            }
        });
        link.address.send_if_modified(|known| {
            let news = !address.is_empty() && known != address;
            if news {
                address.clone_into(known);
            }
            news
        });
    }

    /// Whether there is a way to a member.
    pub fn knows(&self, member: u64) -> bool {
        self.links.contains_key(&member)
    }

    /// Sends a message with what is promised by it. False when it was dropped at once: there is no way, or too much waits.
    pub fn send(&self, to: u64, promise: Promise, message: Bytes) -> bool {
        let Some(link) = self.links.get(&to) else {
            return false;
        };
        let length = message.len();
        // One message always fits, however long.
        if link.bytes.load(Ordering::Relaxed) > WAITING.1 {
            return false;
        }
        link.bytes.fetch_add(length, Ordering::Relaxed);
        let sent = link
            .messages
            .try_send(Outgoing { promise, message })
            .is_ok();
        if !sent {
            link.bytes.fetch_sub(length, Ordering::Relaxed);
        }
        sent
    }

    /// Sends a snapshot: the Raft message without its data, and the data, which `load` reads on a thread where it may take
    /// its time. Ends with [`PeerEvent::SnapshotSent`] in any case.
    pub fn send_snapshot(
        &self,
        to: u64,
        message: Bytes,
        load: impl FnOnce() -> Result<Bytes, String> + Send + 'static,
    ) {
        let events = self.events.clone();
        let address = self
            .links
            .get(&to)
            .map(|link| link.address.borrow().clone());
        let envelope = self.sender.envelope(to);
        let dialer = self.sender.dialer.clone();
        self.runtime.spawn(async move {
            let sent = async {
                let unknown = || Refusal::new(ErrorReason::NotReady, "its address is not known");
                let address = address
                    .filter(|known| !known.is_empty())
                    .ok_or_else(unknown)?;
                let fault = |why: String| Refusal::new(ErrorReason::InternalFault, why);
                let data = tokio::task::spawn_blocking(load)
                    .await
                    .map_err(|error| fault(error.to_string()))?
                    .map_err(fault)?;
                send_snapshot(&address, &dialer, envelope, message, data).await
            };
            let sent: Result<(), Refusal> = sent.await;
            if let Err(refusal) = &sent {
                tracing::warn!(member = to, %refusal, "a snapshot did not arrive");
            }
            events(PeerEvent::SnapshotSent {
                member: to,
                delivered: sent.is_ok(),
            });
        });
    }
}

/// Asks the member at `address` what it remembers of the sender, who has just started.
///
/// # Errors
/// `NOT_READY` when it does not answer in time; `STATE_FORBIDS` when it is of another cluster.
pub async fn hello(sender: &Sender, to: u64, address: &str) -> Result<HelloResponse, Refusal> {
    let ask = async {
        let channel = endpoint::connect(address, Use::Peer, &sender.dialer)
            .await
            .map_err(|error| unreachable(address, &endpoint::dial_error(&error)))?;
        let request = HelloRequest {
            envelope: Some(sender.envelope(to)),
        };
        let answer = PeerServiceClient::new(channel).hello(request).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| refusal(&status))
    };
    timeout(HELLO_PATIENCE, ask)
        .await
        .map_err(|_| unreachable(address, &"no answer in time"))?
}

fn unreachable(address: &str, why: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(
        ErrorReason::NotReady,
        format!("cannot reach the coordinator at {address}: {why}"),
    )
}

/// What waits for one member.
struct Queue {
    messages: mpsc::Receiver<Outgoing>,
    bytes: Arc<AtomicUsize>,
    /// Taken out, but too much for the part it was taken out for.
    put_back: Option<Outgoing>,
}

impl Queue {
    /// The next part of a stream; nothing once the loop has let go of this member.
    async fn part(&mut self) -> Option<ExchangeRequest> {
        let first = match self.put_back.take() {
            Some(first) => first,
            None => self.messages.recv().await?,
        };
        let mut length = first.message.len();
        let mut part = ExchangeRequest {
            envelope: None,
            promise: Some(first.promise),
            messages: vec![first.message],
        };
        while part.messages.len() < PART.0
            && let Ok(next) = self.messages.try_recv()
        {
            if length + next.message.len() > PART.1 {
                self.put_back = Some(next);
                break;
            }
            length += next.message.len();
            part.promise = Some(next.promise);
            part.messages.push(next.message);
        }
        self.bytes.fetch_sub(length, Ordering::Relaxed);
        Some(part)
    }

    /// Drops what waits: it is old by the time the member can be reached.
    fn clear(&mut self) {
        while let Some(old) = self
            .put_back
            .take()
            .or_else(|| self.messages.try_recv().ok())
        {
            self.bytes.fetch_sub(old.message.len(), Ordering::Relaxed);
        }
    }

    fn is_over(&self) -> bool {
        self.messages.is_closed() && self.messages.is_empty()
    }
}

/// Keeps the way to one member open.
struct Keeper {
    sender: Arc<Sender>,
    member: u64,
    address: watch::Receiver<String>,
    queue: Arc<Mutex<Queue>>,
    events: Events,
}

impl Keeper {
    async fn keep(mut self) {
        let mut wait = WAITS.0;
        loop {
            let known = self.address.wait_for(|known| !known.is_empty()).await;
            let Ok(address) = known.map(|known| known.clone()) else {
                return;
            };
            let begun = Instant::now();
            let connected = endpoint::connect(&address, Use::Peer, &self.sender.dialer).await;
            let broken = match connected {
                Ok(channel) => self.carry(channel).await,
                Err(error) => unreachable(&address, &innermost(&error)),
            };
            {
                // The stream that had the queue is gone with its connection.
                let mut queue = self.queue.lock().await;
                queue.clear();
                if queue.is_over() {
                    return;
                }
            }
            tracing::debug!(member = self.member, %address, %broken, "no way to another coordinator");
            (self.events)(PeerEvent::Unreachable {
                member: self.member,
            });
            if broken.reason == ErrorReason::StateForbids {
                (self.events)(PeerEvent::Refused {
                    member: self.member,
                    refusal: broken,
                });
            }
            if begun.elapsed() > WAITS.1 {
                wait = WAITS.0;
            }
            tokio::select! {
                () = sleep(wait) => {}
                changed = self.address.changed() => if changed.is_err() { return },
            }
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Carries messages until the connection breaks or the member is at another address.
    async fn carry(&mut self, channel: Channel) -> Refusal {
        let (ended, over) = oneshot::channel();
        let parts = Parts {
            first: Some(ExchangeRequest {
                envelope: Some(self.sender.envelope(self.member)),
                promise: None,
                messages: Vec::new(),
            }),
            queue: self.queue.clone(),
            leaving: CancellationToken::new(),
            _ended: ended,
        };
        let leaving = parts.leaving.clone();
        let parts = futures::stream::unfold(parts, Parts::next);
        let mut client = PeerServiceClient::new(channel)
            .max_encoding_message_size(MAX_PEER_MESSAGE)
            .max_decoding_message_size(MAX_PEER_MESSAGE);
        let refused = tokio::select! {
            answer = client.exchange(parts) => match answer {
                Ok(_) => Refusal::new(ErrorReason::NotReady, "the stream was ended"),
                Err(status) => refusal(&status),
            },
            _ = self.address.changed() => Refusal::new(ErrorReason::NotReady, "it is at another address"),
        };
        // The connection drops the stream, and with it the hold on the queue, in its own time.
        leaving.cancel();
        drop(client);
        drop(over.await);
        refused
    }
}

/// What a stream to a member is made of.
struct Parts {
    first: Option<ExchangeRequest>,
    queue: Arc<Mutex<Queue>>,
    /// Is cancelled when the stream is of no use any more.
    leaving: CancellationToken,
    /// Whoever drops the stream tells the keeper so.
    _ended: oneshot::Sender<()>,
}

impl Parts {
    async fn next(mut self) -> Option<(ExchangeRequest, Self)> {
        if let Some(first) = self.first.take() {
            return Some((first, self));
        }
        let part = tokio::select! {
            biased;
            () = self.leaving.cancelled() => None,
            part = async { self.queue.lock().await.part().await } => part,
        };
        Some((part?, self))
    }
}

/// Sends a snapshot on a connection of its own.
async fn send_snapshot(
    address: &str,
    dialer: &Dialer,
    envelope: Envelope,
    message: Bytes,
    data: Bytes,
) -> Result<(), Refusal> {
    let channel = endpoint::connect(address, Use::Peer, dialer)
        .await
        .map_err(|error| unreachable(address, &endpoint::dial_error(&error)))?;
    let size = data.len() as u64;
    let first = SendSnapshotRequest {
        envelope: Some(envelope),
        message,
        size_bytes: size,
        digest: Bytes::copy_from_slice(blake3::hash(&data).as_bytes()),
        data: Bytes::new(),
    };
    let (parts, outgoing) = mpsc::channel(2);
    let mut client = PeerServiceClient::new(channel).max_encoding_message_size(MAX_PEER_MESSAGE);
    let answer = client.send_snapshot(ReceiverStream::new(outgoing));
    let feed = async move {
        let stalled = || Refusal::new(ErrorReason::NotReady, "it takes no more of the snapshot");
        let send = async |part| -> Result<bool, Refusal> {
            let sent = timeout(SNAPSHOT_PATIENCE, parts.send(part)).await;
            Ok(sent.map_err(|_| stalled())?.is_ok())
        };
        let mut rest = data;
        let mut open = send(first).await?;
        while open && !rest.is_empty() {
            let data = rest.split_to(SNAPSHOT_PART.min(rest.len()));
            open = send(SendSnapshotRequest {
                data,
                ..SendSnapshotRequest::default()
            })
            .await?;
        }
        drop(parts);
        // A stream that was closed early has an answer that says why.
        sleep(SNAPSHOT_END + Duration::from_secs(size >> 25)).await;
        Err(stalled())
    };
    first_of(answer, feed).await
}

/// The answer of a call, or the refusal of what feeds it if that comes first.
async fn first_of<T>(
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    feed: impl Future<Output = Result<(), Refusal>>,
) -> Result<(), Refusal> {
    tokio::select! {
        answer = answer => answer.map(drop).map_err(|status| refusal(&status)),
        stalled = feed => stalled,
    }
}

/// The words of the first cause.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
