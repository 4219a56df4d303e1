//! The coordinator's loop: one thread that owns the mind and its log. Everything that happens comes to it through one
//! channel; what has gathered there while the disk was busy is decided and stored together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use contract::api::{self, ErrorReason};
use contract::link::{SynchronizeRequest, SynchronizeResponse};
use contract::peer::Promise;
use coordinator::{
    Answer, Coordinator, Input, MemberView, Now, Output, Refusal, Request, Role, SessionId, Token,
};
use disk::raft_log::{LogStore, SnapshotMeta};
use ledger::Ledger;
use net::ports::Contact;
use net::{PeerEvent, PeerLinks, Sender};
use raft::eraftpb::Message;
use tokio::sync::{OwnedSemaphorePermit, mpsc as channel, oneshot, watch};

use super::feeds::FeedHost;
use super::hands::{self, Hands, Reporter};
use super::peers::Peers;
use super::pools::{PoolConfig, Pools};
use super::sources::Sources;
use super::view::{Leader, View};
use crate::Fault;
use crate::metrics::{CoordinatorMetrics, Standing};

/// Raft's clock.
const TICK: Duration = Duration::from_millis(coordinator::TICK_MS);
/// How many events are taken in before one decision.
const BATCH: usize = 4_096;

/// Where a worker's connection takes what the worker should run.
type Desired = channel::Sender<Result<SynchronizeResponse, Refusal>>;

/// How long a node that stops waits for another one to lead.
const HANDOVER: Duration = Duration::from_secs(3);

/// Where a caller waits for a fresh ledger.
type Reader = oneshot::Sender<Result<Ledger, Refusal>>;

/// What comes to the loop.
enum Event {
    Input(Input),
    Ask {
        request: Box<Request>,
        reply: oneshot::Sender<Result<Answer, Refusal>>,
    },
    Read(Reader),
    Opened {
        session: SessionId,
        desired: Desired,
    },
    /// A message of a member, and the room it takes until it is taken in.
    Peer(Box<Message>, Option<OwnedSemaphorePermit>),
    /// Where a member is, as it says itself.
    Met(u64, String, u32),
    /// What became of something that was sent to a member.
    Sent(PeerEvent),
    /// Something that was done beside the loop failed.
    Failed(Fault),
    Stop,
}

/// A handle to the loop; clones are cheap.
#[derive(Clone)]
pub struct Engine {
    events: mpsc::Sender<Event>,
    ledger: watch::Receiver<Ledger>,
    ready: watch::Receiver<bool>,
    leader: watch::Receiver<Leader>,
    /// Whether this member is the only voter: then what it has published is fresh.
    alone: Arc<AtomicBool>,
    view: Arc<Mutex<View>>,
    data_dir: PathBuf,
    sessions: Arc<AtomicU64>,
}

/// The loop's end of the channel, until it runs.
pub struct Inbox {
    events: mpsc::Receiver<Event>,
    publish: watch::Sender<Ledger>,
    say_ready: watch::Sender<bool>,
    say_leader: watch::Sender<Leader>,
}

/// What the loop owns and works with.
pub(super) struct Parts {
    /// Decides.
    pub(super) mind: Coordinator,
    /// Stores what it decided.
    pub(super) store: Box<dyn LogStore>,
    /// What was found in it.
    pub(super) found: Found,
    /// Seals feeds.
    pub(super) feeds: FeedHost,
    /// Keeps source trees.
    pub(super) sources: Sources,
    /// What is known of the other members.
    pub(super) peers: Arc<Peers>,
    /// The ways to them.
    pub(super) links: PeerLinks,
    /// Who this member is to them.
    pub(super) sender: Sender,
    /// Whether it has stored anything before.
    pub(super) established: bool,
    /// Counts.
    pub(super) metrics: CoordinatorMetrics,
    /// Who makes machines.
    pub(super) pools: Arc<[PoolConfig]>,
}

/// How far the log reached when it was opened.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Its term and its last entry.
    pub holds: Promise,
    /// Index of its snapshot.
    pub snapshot: u64,
}

impl Engine {
    /// A handle to a loop that does not run yet: what is said to it waits.
    pub fn new(data_dir: &Path, ledger: Ledger) -> (Self, Inbox) {
        let (events, inbox) = mpsc::channel();
        let (publish, ledger) = watch::channel(ledger);
        let (say_ready, ready) = watch::channel(false);
        let (say_leader, leader) = watch::channel(Leader::default());
        let engine = Self {
            events,
            ledger,
            ready,
            leader,
            alone: Arc::default(),
            view: Arc::default(),
            data_dir: data_dir.to_owned(),
            sessions: Arc::default(),
        };
        let inbox = Inbox {
            events: inbox,
            publish,
            say_ready,
            say_leader,
        };
        (engine, inbox)
    }

    /// Starts the loop. `on_fault` is told what ended it, if something did.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn run(
        &self,
        inbox: Inbox,
        parts: Parts,
        on_fault: impl Fn(Fault) + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let mut running = Running {
            unsaid: Unsaid::default(),
            hands: Hands::new(
                parts.store,
                parts.found,
                parts.sender,
                parts.established,
                self.data_dir.clone(),
                parts.metrics.fsync.clone(),
                self.events(),
            ),
            standing: parts.metrics.standing(),
            mind: parts.mind,
            feeds: parts.feeds,
            sources: parts.sources,
            peers: parts.peers,
            links: parts.links,
            pools: Pools::new(parts.pools, self.events()),
            publish: inbox.publish,
            say_ready: inbox.say_ready,
            say_leader: inbox.say_leader,
            alone: self.alone.clone(),
            view: self.view.clone(),
            replies: HashMap::new(),
            readers: HashMap::new(),
            sessions: HashMap::new(),
            workers: HashMap::new(),
            next_token: 0,
            born: Instant::now(),
        };
        std::thread::Builder::new()
            .name("coordinator".into())
            .spawn(move || {
                if let Err(fault) = running.run(&inbox.events) {
                    on_fault(fault);
                }
            })
    }

    /// The ledger as published: now and whenever it moves.
    pub fn ledger(&self) -> watch::Receiver<Ledger> {
        self.ledger.clone()
    }

    /// Waits until this member has caught up with a leader, or leads and has applied what was committed before: until then its
    /// ledger may lack what was acknowledged. Ends early when the loop does.
    pub async fn caught_up(&self) {
        // The loop ended: whoever waits for faults hears why.
        drop(self.ready.clone().wait_for(|ready| *ready).await);
    }

    /// Whether this member answers fresh reads now, as far as it knows.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// The part that this member plays in the group.
    pub fn role(&self) -> Role {
        lock(&self.view).role
    }

    /// Hands leadership over, if this member has it, and waits until somebody else leads; not for ever.
    pub async fn step_down(&self) {
        if self.alone.load(Ordering::Acquire) {
            return;
        }
        self.send(Input::StepDown);
        let mut leader = self.leader.clone();
        let handed = leader.wait_for(|leader| !leader.is_self && leader.id != 0);
        // In vain when there is no majority, or the loop has ended.
        drop(tokio::time::timeout(HANDOVER, handed).await);
    }

    /// Asks the loop to end after what it has before it.
    pub fn stop(&self) {
        drop(self.events.send(Event::Stop));
    }

    /// Takes in a message of a member; `room` is given back once the loop has it.
    pub(super) fn peer(&self, message: Message, room: Option<OwnedSemaphorePermit>) {
        drop(self.events.send(Event::Peer(Box::new(message), room)));
    }

    /// Says where a member is, and how much it knows.
    pub(super) fn met(&self, member: u64, address: String, feature_level: u32) {
        let met = Event::Met(member, address, feature_level);
        drop(self.events.send(met));
    }

    /// Says what became of something that was sent to a member.
    pub(super) fn sent(&self, event: PeerEvent) {
        drop(self.events.send(Event::Sent(event)));
    }

    fn send(&self, input: Input) {
        // The loop is gone only when the node ends; what is said then reaches nobody.
        drop(self.events.send(Event::Input(input)));
    }

    /// Where what is done beside the loop says that it is done.
    fn events(&self) -> Reporter {
        let events = self.events.clone();
        Arc::new(move |done| {
            drop(events.send(match done {
                Ok(input) => Event::Input(input),
                Err(fault) => Event::Failed(fault),
            }));
        })
    }
}

fn stopping() -> Refusal {
    Refusal::new(
        ErrorReason::NotReady,
        "this node is stopping; ask another one, or again later",
    )
}

#[net::async_trait]
impl net::ports::Mutations for Engine {
    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.events
            .send(Event::Ask {
                request: Box::new(request),
                reply,
            })
            .map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

#[net::async_trait]
impl net::ports::FreshReads for Engine {
    async fn fresh(&self) -> Result<Ledger, Refusal> {
        if self.alone.load(Ordering::Acquire) {
            // Whatever was answered was published before.
            return Ok(self.ledger.borrow().clone());
        }
        let (reader, fresh) = oneshot::channel();
        self.events
            .send(Event::Read(reader))
            .map_err(|_| stopping())?;
        fresh.await.map_err(|_| stopping())?
    }
}

#[net::async_trait]
impl net::ports::Sessions for Engine {
    fn opened(&self, desired: Desired) -> u64 {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        drop(self.events.send(Event::Opened {
            session: SessionId(session),
            desired,
        }));
        session
    }

    async fn state(&self, session: u64, state: SynchronizeRequest) {
        self.send(Input::WorkerState {
            session: SessionId(session),
            state: Box::new(state),
        });
    }

    fn gone(&self, session: u64) {
        self.send(Input::WorkerGone {
            session: SessionId(session),
        });
    }
}

impl net::ports::Surroundings for Engine {
    fn cluster(&self) -> api::Cluster {
        let space = disk::space_of(&self.data_dir).ok();
        let ledger = self.ledger.borrow().clone();
        lock(&self.view).cluster(&ledger, self.is_ready(), space)
    }

    fn contact(&self, worker: &str) -> Option<Contact> {
        lock(&self.view).contacts.get(worker).cloned()
    }
}

/// The loop's own state.
struct Running {
    mind: Coordinator,
    hands: Hands,
    feeds: FeedHost,
    sources: Sources,
    peers: Arc<Peers>,
    links: PeerLinks,
    pools: Pools,
    publish: watch::Sender<Ledger>,
    say_ready: watch::Sender<bool>,
    say_leader: watch::Sender<Leader>,
    alone: Arc<AtomicBool>,
    view: Arc<Mutex<View>>,
    replies: HashMap<Token, oneshot::Sender<Result<Answer, Refusal>>>,
    /// Callers that wait for one fresh ledger.
    readers: HashMap<Token, Vec<Reader>>,
    unsaid: Unsaid,
    sessions: HashMap<SessionId, Desired>,
    /// Which worker speaks on which connection.
    workers: HashMap<SessionId, String>,
    next_token: u64,
    standing: Standing,
    born: Instant,
}

/// What gathers until the mind is told of it at once.
#[derive(Default)]
struct Unsaid {
    readers: Vec<Reader>,
    unreachable: BTreeSet<u64>,
}

impl Running {
    fn run(&mut self, inbox: &mpsc::Receiver<Event>) -> Result<(), Fault> {
        let mut next_tick = Instant::now() + TICK;
        self.settle()?;
        loop {
            let wait = if self.hands.has_more_to_do() {
                Duration::ZERO
            } else {
                next_tick.saturating_duration_since(Instant::now())
            };
            match inbox.recv_timeout(wait) {
                Ok(Event::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(event) => self.take(event)?,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            for event in inbox.try_iter().take(BATCH) {
                if matches!(event, Event::Stop) {
                    return self.settle();
                }
                self.take(event)?;
            }
            self.read_fresh();
            let now = Instant::now();
            if now >= next_tick {
                for member in std::mem::take(&mut self.unsaid.unreachable) {
                    self.handle(Input::Unreachable { member });
                }
                self.handle(Input::Tick);
                let lacking = (self.feeds.lacking(), self.sources.lacking());
                lock(&self.view).look_at_others(&self.mind, lacking);
                // After a pause, such as a suspended machine, ticks are not made up for.
                next_tick = (next_tick + TICK).max(now);
            }
            self.settle()?;
            self.hands.do_some_more()?;
        }
    }

    fn now(&self) -> Now {
        let unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        Now {
            unix_ms,
            monotonic_us: self.born.elapsed().as_micros() as u64,
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        self.mind.handle(now, input);
    }

    fn take(&mut self, event: Event) -> Result<(), Fault> {
        match event {
            Event::Ask { request, reply } => {
                let token = self.token();
                self.replies.insert(token, reply);
                self.handle(Input::Request { token, request });
            }
            Event::Read(reader) => self.unsaid.readers.push(reader),
            Event::Opened { session, desired } => drop(self.sessions.insert(session, desired)),
            Event::Input(input) => {
                self.note_contact(&input);
                self.handle(input);
            }
            Event::Peer(message, room) => {
                self.handle(Input::Peer { message });
                drop(room);
            }
            Event::Met(member, address, feature_level) => {
                self.links.meet(member, &address);
                self.handle(Input::PeerKnows {
                    member,
                    feature_level,
                });
            }
            Event::Sent(PeerEvent::Unreachable { member }) => {
                self.unsaid.unreachable.insert(member);
            }
            Event::Sent(PeerEvent::SnapshotSent { member, delivered }) => {
                self.handle(Input::SnapshotSent { member, delivered });
            }
            Event::Sent(PeerEvent::Refused { member, refusal }) => {
                tracing::warn!(member, %refusal, "another coordinator does not hear this one");
                if let Some(fault) = self.peers.fault(&refusal) {
                    return Err(fault);
                }
            }
            Event::Failed(fault) => return Err(fault),
            Event::Stop => {}
        }
        Ok(())
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Everybody who waits for a fresh ledger by now waits for the same one.
    fn read_fresh(&mut self) {
        if self.unsaid.readers.is_empty() {
            return;
        }
        let token = self.token();
        let readers = std::mem::take(&mut self.unsaid.readers);
        self.readers.insert(token, readers);
        self.handle(Input::Read { token });
    }

    /// Keeps what people ask about a worker's contact.
    fn note_contact(&mut self, input: &Input) {
        let time_ms = self.now().unix_ms;
        let (worker, connected, usage) = match input {
            Input::WorkerState { session, state } => {
                self.workers.insert(*session, state.worker.clone());
                (state.worker.clone(), true, state.usage.clone())
            }
            Input::WorkerGone { session } => {
                self.sessions.remove(session);
                let Some(worker) = self.workers.remove(session) else {
                    return;
                };
                // A worker that came back on a new connection before the old one ended is still in contact.
                let connected = self.workers.values().any(|other| *other == worker);
                (worker, connected, None)
            }
            _ => return,
        };
        let mut view = lock(&self.view);
        let known = view.contacts.get(&worker);
        let usage = usage.or_else(|| known.and_then(|known| known.usage.clone()));
        let contact = Contact {
            connected,
            time_ms,
            usage,
            duplicate_ms: known.and_then(|known| known.duplicate_ms),
        };
        view.contacts.insert(worker, contact);
    }

    /// Tells people that two daemons speak as one worker: nobody else notices while one of them is sent away.
    fn note_duplicate(&self, session: SessionId, refusal: &Refusal) {
        let two = [ErrorReason::DuplicateWorker, ErrorReason::StaleIncarnation];
        let Some(worker) = self.workers.get(&session) else {
            return;
        };
        if !two.contains(&refusal.reason) {
            return;
        }
        tracing::error!(worker, "sent a worker's daemon away: {}", refusal.message);
        let time_ms = self.now().unix_ms;
        if let Some(contact) = lock(&self.view).contacts.get_mut(worker) {
            contact.duplicate_ms = Some(time_ms);
        }
    }

    /// Does what the mind asks for until it asks for nothing more.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            let now = self.now();
            let outputs = self.mind.poll(now);
            if outputs.is_empty() {
                self.show();
                return Ok(());
            }
            for output in outputs {
                self.perform(output)?;
            }
        }
    }

    fn perform(&mut self, output: Output) -> Result<(), Fault> {
        match output {
            Output::Persist(batch) => {
                let number = batch.number;
                if self.hands.store(batch)? {
                    self.handle(Input::Persisted { number });
                }
            }
            Output::Publish(ledger) => self.publish(ledger),
            Output::Reply { token, result } => {
                if let Some(reply) = self.replies.remove(&token) {
                    // A caller that went away repeats its request with the same id.
                    drop(reply.send(result));
                }
            }
            Output::Fresh { token, result } => {
                if let Ok(ledger) = &result
                    && self.publish.borrow().revision() < ledger.revision()
                {
                    self.publish(ledger.clone());
                }
                for reader in self.readers.remove(&token).unwrap_or_default() {
                    drop(reader.send(result.clone()));
                }
            }
            Output::Desired { session, desired } => self.tell(session, Ok(desired)),
            Output::EndSession { session, refusal } => {
                self.note_duplicate(session, &refusal);
                self.tell(session, Err(refusal));
                self.sessions.remove(&session);
            }
            Output::SealFeed { fence, seal } => self.feeds.seal(&fence, seal),
            Output::StoreSnapshot {
                index,
                term,
                members,
                ledger,
            } => self.hands.store_snapshot(
                SnapshotMeta {
                    index,
                    term,
                    members,
                },
                ledger,
            ),
            Output::CompactLog { index } => self.hands.compact(index)?,
            Output::Send(message) => {
                let to = message.to;
                let promise = self.hands.promise(&message, &self.mind);
                let sent = hands::encode(&message)
                    .is_some_and(|bytes| self.links.send(to, promise, bytes));
                if !sent {
                    self.unsaid.unreachable.insert(to);
                }
            }
            Output::SendSnapshot { message } => {
                let load = self
                    .hands
                    .load_snapshot(message.get_snapshot().get_metadata().index);
                let bytes = hands::encode(&message).unwrap_or_default();
                self.links.send_snapshot(message.to, bytes, load);
            }
            Output::Members(members) => self.set_members(members)?,
            Output::PeerRefused { member, why } => {
                tracing::warn!(member, why, "a message of another member was refused");
            }
            Output::CallPool(call) => self.pools.call(*call),
            Output::Halt { why } => return Err(Fault::new(why)),
        }
        Ok(())
    }

    fn publish(&mut self, ledger: Ledger) {
        self.publish.send_replace(ledger);
        self.feeds.ledger_moved();
    }

    fn set_members(&mut self, members: Vec<MemberView>) -> Result<(), Fault> {
        if members.len() > 1 {
            self.hands.write_beside()?;
        }
        let addresses: BTreeMap<u64, String> = members
            .iter()
            .map(|member| (member.member_id, member.address.clone()))
            .collect();
        let removed: Vec<u64> = self
            .mind
            .ledger()
            .members()
            .filter(|member| member.remove_time_ms != 0)
            .map(|member| member.member_id)
            .collect();
        self.peers.set_members(&addresses, removed);
        // One that has just joined is told of nobody until it has the ledger; it answers who has spoken to it.
        if !addresses.is_empty() {
            self.links.keep(&addresses);
        }
        self.feeds.set_members(members.clone());
        self.sources.set_members(&members);
        lock(&self.view).members = members;
        Ok(())
    }

    /// Hands a message to a connection. One that cannot take it is closed: the worker comes back and is told afresh.
    fn tell(&mut self, session: SessionId, message: Result<SynchronizeResponse, Refusal>) {
        if let Some(desired) = self.sessions.get(&session)
            && desired.try_send(message).is_err()
        {
            self.sessions.remove(&session);
        }
    }

    /// Shows others how things are.
    fn show(&mut self) {
        let group = self.mind.group();
        let (term, commit) = (group.term(), group.commit_index());
        let leader = Leader {
            id: group.leader(),
            is_self: group.leads(),
        };
        let follows = leader.id != 0 && !leader.is_self && group.term_at(commit) == term;
        let ready = self.mind.is_ready() || follows;
        let alone = self.mind.is_ready() && self.mind.members().voters == [group.id()];
        lock(&self.view).look(&self.mind, self.hands.snapshot_index());
        self.standing.look(self.mind.group());
        self.alone.store(alone, Ordering::Release);
        self.say_ready
            .send_if_modified(|said| std::mem::replace(said, ready) != ready);
        self.say_leader
            .send_if_modified(|said| std::mem::replace(said, leader) != leader);
    }
}

/// Nobody leaves the view half changed, so a panic elsewhere does not matter here.
fn lock(view: &Mutex<View>) -> std::sync::MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}
