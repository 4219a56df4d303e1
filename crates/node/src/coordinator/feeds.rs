//! The feeds a coordinator holds: one thread that owns their mind, stores what it says with one sync for many, and readers that read the
//! files beside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use contract::api::ErrorReason;
use contract::link;
use coordinator::feeds::{Copies, FeedInput, FeedOutput, Keeper, PushAnswer, Shelf};
use coordinator::{MemberView, Refusal, Token};
use disk::feeds::Feeds;
use feed::{Batch, Fence, Seal};
use ledger::Ledger;
use net::PeerReads;
use net::ports::{FeedEnd, FeedKey, Stored};
use pki::Dialer;
use tokio::sync::{oneshot, watch};

use super::upkeep::{FeedKeeping, Upkeep, unarchived_until};
use crate::Fault;
use crate::metrics::CoordinatorMetrics;

/// How many events are taken in before one sync at most.
const BATCH: usize = 1_024;

/// How often the mind looks at the ledger by itself.
const TICK: Duration = Duration::from_millis(250);

/// Bytes of frames that are fetched from another coordinator at once.
const FETCH_BYTES: usize = 4 << 20;

/// What comes to the thread.
enum Event {
    Store {
        key: FeedKey,
        fence: Fence,
        batch: Batch,
        reply: oneshot::Sender<Result<Stored, Refusal>>,
    },
    Input(FeedInput),
    Members(Vec<MemberView>),
    /// Whether an attempt is known to have ended, after all that was pushed before.
    IsClosed {
        key: FeedKey,
        reply: oneshot::Sender<bool>,
    },
    LedgerMoved,
    /// The time is over of feeds that ended until then.
    Expired(i64),
    Stop,
}

/// How far feeds are, for those who read them.
type Ends = Arc<Mutex<HashMap<FeedKey, watch::Sender<FeedEnd>>>>;

/// The feeds of a coordinator; clones are cheap.
#[derive(Clone)]
pub struct FeedHost {
    events: mpsc::Sender<Event>,
    log: Feeds,
    ends: Ends,
    settled: Settled,
    waits_for_ledger: Arc<AtomicBool>,
    lacking: Arc<AtomicUsize>,
    /// Ends the work in the background when it is taken.
    upkeep: Arc<Mutex<Option<mpsc::Sender<()>>>>,
}

/// Feeds that ended without a seal and are as long as they will ever be.
type Settled = Arc<Mutex<std::collections::HashSet<FeedKey>>>;

impl FeedHost {
    /// Starts the thread over a log. `on_fault` is told what ended it, if something did. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        log: Feeds,
        member_id: u64,
        ledger: watch::Receiver<Ledger>,
        dialer: Dialer,
        keeping: FeedKeeping,
        metrics: &CoordinatorMetrics,
        on_fault: impl Fn(Fault) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let (events, inbox) = mpsc::channel();
        let (working, stopped) = mpsc::channel();
        let upkeep = Upkeep {
            log: log.clone(),
            ledger: ledger.clone(),
            keeping,
        };
        let host = Self {
            events: events.clone(),
            log,
            ends: Ends::default(),
            settled: Settled::default(),
            waits_for_ledger: Arc::default(),
            lacking: Arc::default(),
            upkeep: Arc::new(Mutex::new(Some(working))),
        };
        let mut running = Running {
            keeper: Keeper::new(),
            host: host.clone(),
            member_id,
            ledger,
            addresses: BTreeMap::new(),
            reads: PeerReads::by(dialer),
            pool: tokio::runtime::Handle::current(),
            replies: HashMap::new(),
            pushes: 0,
            metrics: metrics.clone(),
            born: Instant::now(),
        };
        let on_fault = Arc::new(on_fault);
        let report = on_fault.clone();
        let told = host.clone();
        std::thread::Builder::new()
            .name("feed upkeep".into())
            .spawn(move || {
                let expire = |until_ms| told.say(Event::Expired(until_ms));
                if let Err(fault) = upkeep.run(&stopped, expire) {
                    report(fault);
                }
            })?;
        std::thread::Builder::new()
            .name("feeds".into())
            .spawn(move || {
                if let Err(fault) = running.run(&inbox) {
                    on_fault(fault);
                }
            })?;
        Ok(host)
    }

    /// A feed has ended.
    pub fn seal(&self, fence: &link::Fence, seal: Seal) {
        if let Ok(key) = FeedKey::try_from(fence) {
            self.say(Event::Input(FeedInput::Sealed { key, seal }));
        }
    }

    /// The coordinators are these.
    pub fn set_members(&self, members: Vec<MemberView>) {
        self.say(Event::Members(members));
    }

    /// The published ledger has moved.
    pub fn ledger_moved(&self) {
        if self.waits_for_ledger.load(Ordering::Acquire) {
            self.say(Event::LedgerMoved);
        }
    }

    /// Feeds that have ended and of which records may be missing here.
    pub fn lacking(&self) -> usize {
        self.lacking.load(Ordering::Relaxed)
    }

    /// Ends the thread after what it has before it.
    pub fn stop(&self) {
        drop(lock(&self.upkeep).take());
        self.say(Event::Stop);
    }

    fn say(&self, event: Event) {
        // The thread is gone only when the node ends.
        drop(self.events.send(event));
    }

    fn end_of(&self, key: FeedKey) -> FeedEnd {
        FeedEnd {
            next_record: self.log.length(on_disk(key)),
            seal: self.sealed(key),
            settled: lock(&self.settled).contains(&key),
        }
    }
}

/// The key as the disk names it.
fn on_disk(key: FeedKey) -> disk::feeds::FeedKey {
    disk::feeds::FeedKey {
        execution: key.execution,
        attempt: key.attempt,
    }
}

impl Shelf for FeedHost {
    fn length(&self, key: FeedKey) -> u64 {
        self.log.length(on_disk(key))
    }

    fn sealed(&self, key: FeedKey) -> Option<Seal> {
        // A feed that was closed and lost records to a damaged disk is not whole any more.
        let seal = self.log.sealed(on_disk(key));
        seal.filter(|seal| seal.record_count == self.length(key))
    }

    fn is_purged(&self, key: FeedKey, end_time_ms: i64) -> bool {
        end_time_ms <= self.log.horizon().absent_until_ms && Shelf::sealed(self, key).is_none()
    }

    fn watched(&self) -> Vec<FeedKey> {
        let ends = lock(&self.ends);
        let watched = ends
            .iter()
            .filter(|(_, end)| end.receiver_count() > 0 && end.borrow().seal.is_none());
        watched.map(|(key, _)| *key).collect()
    }
}

impl net::ports::FeedStore for FeedHost {
    fn store(
        &self,
        key: FeedKey,
        fence: Fence,
        batch: Batch,
    ) -> oneshot::Receiver<Result<Stored, Refusal>> {
        let (reply, stored) = oneshot::channel();
        // When the thread is gone the receiver sees its sender dropped, and the worker pushes again elsewhere.
        self.say(Event::Store {
            key,
            fence,
            batch,
            reply,
        });
        stored
    }
}

#[net::async_trait]
impl net::ports::FeedReader for FeedHost {
    async fn read(
        &self,
        key: FeedKey,
        from_record: u64,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, Refusal> {
        let log = self.log.clone();
        let read =
            tokio::task::spawn_blocking(move || log.read(on_disk(key), from_record, max_bytes))
                .await;
        let failed = |why: &dyn std::fmt::Display| {
            let words = format!("a log cannot be read: {why}");
            Refusal::new(ErrorReason::InternalFault, words)
        };
        match read {
            Ok(Ok(batches)) => Ok(batches),
            Ok(Err(error)) => {
                self.repair(key);
                Err(failed(&error))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn end(&self, key: FeedKey) -> watch::Receiver<FeedEnd> {
        let mut ends = lock(&self.ends);
        // Senders that nobody listens to are dropped; the log itself says how far a feed is.
        ends.retain(|_, sender| sender.receiver_count() > 0);
        ends.entry(key)
            .or_insert_with(|| watch::Sender::new(self.end_of(key)))
            .subscribe()
    }

    fn is_purged(&self, key: FeedKey, end_time_ms: i64) -> bool {
        Shelf::is_purged(self, key, end_time_ms)
    }

    fn absent_until_ms(&self) -> i64 {
        self.log.horizon().absent_until_ms
    }

    async fn is_closed(&self, key: FeedKey) -> bool {
        let (reply, closed) = oneshot::channel();
        self.say(Event::IsClosed { key, reply });
        closed.await.unwrap_or(false)
    }
}

impl FeedHost {
    /// Looks for what of a feed cannot be read, and lets it be replaced from another coordinator.
    fn repair(&self, key: FeedKey) {
        let host = self.clone();
        tokio::task::spawn_blocking(move || {
            let record = host.log.sound_until(on_disk(key));
            if record < host.length(key) {
                tracing::error!("{key}: record {record} of its log is damaged on this disk");
                host.say(Event::Input(FeedInput::Damaged { key, record }));
            }
        });
    }
}

struct Running {
    keeper: Keeper,
    host: FeedHost,
    member_id: u64,
    ledger: watch::Receiver<Ledger>,
    /// Where the other coordinators are.
    addresses: BTreeMap<u64, String>,
    reads: PeerReads,
    pool: tokio::runtime::Handle,
    replies: HashMap<Token, oneshot::Sender<Result<Stored, Refusal>>>,
    pushes: u64,
    metrics: CoordinatorMetrics,
    born: Instant,
}

impl Running {
    fn run(&mut self, inbox: &mpsc::Receiver<Event>) -> Result<(), Fault> {
        let mut next_tick = Instant::now();
        loop {
            let now_us = self.now_us();
            let due = self.keeper.poll_wakeup();
            let due = due.map(|at| Duration::from_micros(at.saturating_sub(now_us)));
            let tick = next_tick.saturating_duration_since(Instant::now());
            let wait = due.map_or(tick, |due| due.min(tick));
            let mut event = match inbox.recv_timeout(wait) {
                Ok(event) => Some(event),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            };
            for _ in 0..BATCH {
                match event {
                    None => break,
                    Some(Event::Stop) => return self.settle(),
                    Some(event) => self.take(event),
                }
                event = inbox.try_recv().ok();
            }
            if let Some(event) = event {
                match event {
                    Event::Stop => return self.settle(),
                    event => self.take(event),
                }
            }
            let is_due = self
                .keeper
                .poll_wakeup()
                .is_some_and(|at| at <= self.now_us());
            if is_due || Instant::now() >= next_tick {
                self.handle(FeedInput::Tick);
                next_tick = Instant::now() + TICK;
            }
            self.settle()?;
        }
    }

    fn now_us(&self) -> u64 {
        self.born.elapsed().as_micros() as u64
    }

    fn handle(&mut self, input: FeedInput) {
        let now_us = self.now_us();
        let ledger = self.ledger.borrow();
        self.keeper.handle(now_us, &ledger, &self.host, input);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Store {
                key,
                fence,
                batch,
                reply,
            } => {
                self.pushes += 1;
                let push = Token(self.pushes);
                self.replies.insert(push, reply);
                self.handle(FeedInput::Pushed {
                    push,
                    key,
                    fence,
                    batch,
                });
            }
            Event::Input(input) => self.handle(input),
            Event::Members(members) => self.set_members(members),
            Event::IsClosed { key, reply } => {
                let ledger = self.ledger.borrow();
                let _ = reply.send(coordinator::feeds::has_ended(&ledger, key));
            }
            Event::LedgerMoved => self.handle(FeedInput::Tick),
            Event::Expired(until_ms) => self.handle(FeedInput::Expired { until_ms }),
            Event::Stop => {}
        }
    }

    fn set_members(&mut self, members: Vec<MemberView>) {
        let others = members
            .into_iter()
            .filter(|member| member.member_id != self.member_id && !member.learner);
        self.addresses = others
            .map(|member| (member.member_id, member.address))
            .collect();
        let ids = self.addresses.keys().copied().collect();
        self.handle(FeedInput::Members(ids));
    }

    /// Does what the mind asks for until it asks for nothing more.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            let outputs = self.keeper.poll(self.now_us());
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                self.perform(output)?;
            }
        }
        let lacking = self.keeper.lacking();
        self.host.lacking.store(lacking, Ordering::Relaxed);
        let waits = self.keeper.waits_for_ledger();
        let before = self.host.waits_for_ledger.swap(waits, Ordering::AcqRel);
        if waits && !before {
            // It may have moved before anybody was asked to say so.
            self.host.say(Event::LedgerMoved);
        }
        Ok(())
    }

    fn perform(&mut self, output: FeedOutput) -> Result<(), Fault> {
        match output {
            FeedOutput::Store(batches) => {
                let batches: Vec<_> = batches
                    .into_iter()
                    .map(|(key, batch)| (on_disk(key), batch))
                    .collect();
                let timed = self.metrics.feed_store.start_timer();
                let appended = self.host.log.append(&batches);
                timed.observe_duration();
                let fits = match appended {
                    Ok(()) => {
                        self.count(&batches);
                        true
                    }
                    Err(error) if error.is_full() => false,
                    Err(error) => return Err(error.into()),
                };
                self.handle(FeedInput::Stored { fits });
            }
            FeedOutput::Answer { push, answer } => {
                if let Some(reply) = self.replies.remove(&push) {
                    drop(reply.send(told(answer)));
                }
            }
            FeedOutput::Show(key) => self.show(key),
            FeedOutput::Seal { key, seal } => {
                let is_whole = self.seal(key, seal)?;
                self.handle(FeedInput::Checked { key, is_whole });
            }
            FeedOutput::Cut { key, from } => self.host.log.cut(on_disk(key), from)?,
            FeedOutput::Fetch { key, from, member } => self.fetch(key, from, member),
            FeedOutput::Purge { until_ms } => self.purge(until_ms)?,
            FeedOutput::GiveUp { until_ms } => {
                self.made_room(self.host.log.set_absent(until_ms))?;
                self.show_all();
            }
        }
        Ok(())
    }

    /// Counts what was stored.
    fn count(&self, batches: &[(disk::feeds::FeedKey, Batch)]) {
        for (_, batch) in batches {
            self.metrics.feed_records.inc_by(u64::from(batch.count));
            self.metrics.feed_bytes.inc_by(batch.frames.len() as u64);
        }
    }

    /// Whether a feed is what its seal says; then it is closed. A damaged one is no reason to stop serving the others.
    fn seal(&self, key: FeedKey, seal: Seal) -> Result<bool, Fault> {
        let log = &self.host.log;
        let closed = match log.sealed(on_disk(key)) {
            // Its end was lost once, and came again.
            Some(before) if before == seal => log.compute_seal(on_disk(key)).map(|now| now == seal),
            _ => log.seal(on_disk(key), seal).map(|()| true),
        };
        match closed {
            Ok(is_whole) => Ok(is_whole),
            Err(error @ disk::DiskError::Corrupt { .. }) => {
                tracing::error!("a log is not what it was sealed as: {error}");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes feeds whose time is over. While an archive is written that waits: what is over is found again.
    fn purge(&self, until_ms: i64) -> Result<(), Fault> {
        let others = unarchived_until(&self.host.log, &self.ledger.borrow(), until_ms);
        self.made_room(self.host.log.purge(until_ms, &others).map(drop))?;
        self.show_all();
        Ok(())
    }

    /// What cannot be written for lack of room is tried again later.
    fn made_room(&self, result: Result<(), disk::DiskError>) -> Result<(), Fault> {
        match result {
            Err(error) if error.is_full() => {
                tracing::warn!("logs whose time is over cannot be removed: {error}");
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Lets all readers look again.
    fn show_all(&self) {
        for (key, sender) in lock(&self.host.ends).iter() {
            sender.send_replace(self.host.end_of(*key));
        }
    }

    fn fetch(&self, key: FeedKey, from: u64, member: u64) {
        let address = self.addresses.get(&member).cloned().unwrap_or_default();
        let (reads, host) = (self.reads.clone(), self.host.clone());
        self.pool.spawn(async move {
            let fetched = reads.frames(&address, key, from, FETCH_BYTES).await;
            let copies: Option<Copies> = match fetched {
                Ok(copies) => Some(copies),
                Err(refusal) => {
                    tracing::debug!(%key, member, %refusal, "records cannot be fetched");
                    None
                }
            };
            host.say(Event::Input(FeedInput::Fetched {
                key,
                member,
                copies,
            }));
        });
    }

    /// Lets readers see how far a feed is.
    fn show(&self, key: FeedKey) {
        if self.keeper.is_settled(key) {
            lock(&self.host.settled).insert(key);
        }
        if let Some(sender) = lock(&self.host.ends).get(&key) {
            sender.send_replace(self.host.end_of(key));
        }
    }
}

/// What a worker is told.
fn told(answer: PushAnswer) -> Result<Stored, Refusal> {
    match answer {
        PushAnswer::Stored(next_record) => Ok(Stored {
            next_record,
            refused: false,
        }),
        PushAnswer::Refused => Ok(Stored {
            next_record: 0,
            refused: true,
        }),
        PushAnswer::Corrupt(why) => Err(Refusal::invalid_field("frames", why)),
        PushAnswer::Full => Err(Refusal::new(
            ErrorReason::DiskFull,
            "the coordinator's disk is full; logs wait at their workers",
        )),
    }
}

/// Nobody leaves a map half changed, so a panic elsewhere does not matter here.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
