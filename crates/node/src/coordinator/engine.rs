//! The coordinator's loop: one thread that owns the mind and its log. Everything that happens comes to it through one
//! channel; what has gathered there while the disk was busy is decided and stored together.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use contract::api::{self, ErrorReason};
use contract::link::{SynchronizeRequest, SynchronizeResponse};
use coordinator::{Answer, Coordinator, Input, Now, Output, Refusal, Request, SessionId, Token};
use disk::raft_log::{LogStore, SnapshotMeta};
use ledger::Ledger;
use net::ports::Contact;
use prost::Message as _;
use tokio::sync::{mpsc as channel, oneshot, watch};

use super::feeds::FeedHost;
use crate::Fault;

/// Raft's clock.
const TICK: Duration = Duration::from_millis(coordinator::TICK_MS);
/// How many events are taken in before one decision.
const BATCH: usize = 4_096;

/// Where a worker's connection takes what the worker should run.
type Desired = channel::Sender<Result<SynchronizeResponse, Refusal>>;

/// What comes to the loop.
enum Event {
    Input(Input),
    Ask {
        request: Box<Request>,
        reply: oneshot::Sender<Result<Answer, Refusal>>,
    },
    Opened {
        session: SessionId,
        desired: Desired,
    },
    Stop,
}

/// A handle to the loop; clones are cheap.
#[derive(Clone)]
pub struct Engine {
    events: mpsc::Sender<Event>,
    ledger: watch::Receiver<Ledger>,
    ready: watch::Receiver<bool>,
    view: Arc<Mutex<View>>,
    sessions: Arc<AtomicU64>,
}

/// What others may see of the loop beside the ledger.
#[derive(Default)]
struct View {
    cluster: api::Cluster,
    contacts: BTreeMap<String, Contact>,
}

impl Engine {
    /// Starts the loop. `on_fault` is told what ended it, if something did.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        mind: Coordinator,
        store: Box<dyn LogStore>,
        feeds: FeedHost,
        address: String,
        ledger: (watch::Sender<Ledger>, watch::Receiver<Ledger>),
        on_fault: impl Fn(Fault) + Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (events, inbox) = mpsc::channel();
        let (publish, ledger) = ledger;
        let view = Arc::new(Mutex::new(View::default()));
        let (say_ready, ready) = watch::channel(false);
        let engine = Self {
            events,
            ledger,
            ready,
            view: view.clone(),
            sessions: Arc::default(),
        };
        let mut running = Running {
            mind,
            store,
            feeds,
            publish,
            say_ready,
            view,
            address,
            replies: HashMap::new(),
            sessions: HashMap::new(),
            workers: HashMap::new(),
            next_token: 0,
            born: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name("coordinator".into())
            .spawn(move || {
                if let Err(fault) = running.run(&inbox) {
                    on_fault(fault);
                }
            })?;
        Ok((engine, thread))
    }

    /// The ledger as published: now and whenever it moves.
    pub fn ledger(&self) -> watch::Receiver<Ledger> {
        self.ledger.clone()
    }

    /// Waits until this member leads and has applied what was committed before: until then its ledger may lack what was
    /// acknowledged. Ends early when the loop does.
    pub async fn caught_up(&self) {
        // The loop ended: whoever waits for faults hears why.
        drop(self.ready.clone().wait_for(|ready| *ready).await);
    }

    /// Asks the loop to end after what it has before it.
    pub fn stop(&self) {
        drop(self.events.send(Event::Stop));
    }

    fn send(&self, input: Input) {
        // The loop is gone only when the node ends; what is said then reaches nobody.
        drop(self.events.send(Event::Input(input)));
    }
}

#[net::async_trait]
impl net::ports::Mutations for Engine {
    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        let stopping = || {
            Refusal::new(
                ErrorReason::NotReady,
                "this node is stopping; ask another one, or again later",
            )
        };
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
        lock(&self.view).cluster.clone()
    }

    fn contact(&self, worker: &str) -> Option<Contact> {
        lock(&self.view).contacts.get(worker).copied()
    }
}

/// The loop's own state.
struct Running {
    mind: Coordinator,
    store: Box<dyn LogStore>,
    feeds: FeedHost,
    publish: watch::Sender<Ledger>,
    say_ready: watch::Sender<bool>,
    view: Arc<Mutex<View>>,
    address: String,
    replies: HashMap<Token, oneshot::Sender<Result<Answer, Refusal>>>,
    sessions: HashMap<SessionId, Desired>,
    /// Which worker speaks on which connection.
    workers: HashMap<SessionId, String>,
    next_token: u64,
    born: Instant,
}

impl Running {
    fn run(&mut self, inbox: &mpsc::Receiver<Event>) -> Result<(), Fault> {
        let mut next_tick = Instant::now() + TICK;
        self.settle()?;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(Event::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(event) => self.take(event),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            for event in inbox.try_iter().take(BATCH) {
                if matches!(event, Event::Stop) {
                    return self.settle();
                }
                self.take(event);
            }
            let now = Instant::now();
            if now >= next_tick {
                self.handle(Input::Tick);
                // After a pause, such as a suspended machine, ticks are not made up for.
                next_tick = (next_tick + TICK).max(now);
            }
            self.settle()?;
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

    fn take(&mut self, event: Event) {
        match event {
            Event::Ask { request, reply } => {
                self.next_token += 1;
                let token = Token(self.next_token);
                self.replies.insert(token, reply);
                self.handle(Input::Request { token, request });
            }
            Event::Opened { session, desired } => drop(self.sessions.insert(session, desired)),
            Event::Input(input) => {
                self.note_contact(&input);
                self.handle(input);
            }
            Event::Stop => {}
        }
    }

    /// Keeps what people ask about a worker's contact.
    fn note_contact(&mut self, input: &Input) {
        let time_ms = self.now().unix_ms;
        let (worker, connected) = match input {
            Input::WorkerState { session, state } => {
                self.workers.insert(*session, state.worker.clone());
                (state.worker.clone(), true)
            }
            Input::WorkerGone { session } => {
                self.sessions.remove(session);
                let Some(worker) = self.workers.remove(session) else {
                    return;
                };
                // A worker that came back on a new connection before the old one ended is still in contact.
                let connected = self.workers.values().any(|other| *other == worker);
                (worker, connected)
            }
            _ => return,
        };
        lock(&self.view)
            .contacts
            .insert(worker, Contact { connected, time_ms });
    }

    /// Does what the mind asks for until it asks for nothing more.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            let now = self.now();
            let outputs = self.mind.poll(now);
            if outputs.is_empty() {
                self.show_cluster();
                let ready = self.mind.is_ready();
                self.say_ready
                    .send_if_modified(|said| std::mem::replace(said, ready) != ready);
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
                self.store
                    .append(&batch.entries, batch.hard_state.as_ref())?;
                self.handle(Input::Persisted {
                    number: batch.number,
                });
            }
            Output::Publish(ledger) => drop(self.publish.send_replace(ledger)),
            Output::Reply { token, result } => {
                if let Some(reply) = self.replies.remove(&token) {
                    // A caller that went away repeats its request with the same id.
                    drop(reply.send(result));
                }
            }
            Output::Desired { session, desired } => self.tell(session, Ok(desired)),
            Output::EndSession { session, refusal } => {
                self.tell(session, Err(refusal));
                self.sessions.remove(&session);
            }
            Output::SealFeed { fence, seal } => self.feeds.seal(&fence, seal),
            Output::StoreSnapshot {
                index,
                term,
                members,
                ledger,
            } => {
                let meta = SnapshotMeta {
                    index,
                    term,
                    members,
                };
                self.store
                    .store_snapshot(&meta, &ledger.snapshot().encode_to_vec())?;
                self.handle(Input::SnapshotStored { index });
            }
            Output::CompactLog { index } => self.store.compact(index)?,
            // There is no transport for it yet: it did not arrive.
            Output::SendSnapshot { message } => self.handle(Input::SnapshotSent {
                member: message.to,
                delivered: false,
            }),
            Output::Members(members) => {
                tracing::debug!(count = members.len(), "the members of the group");
            }
            Output::Fresh { token, .. } => tracing::debug!(token = token.0, "a fresh ledger"),
            // A group of one has nobody to send to.
            Output::Send(message) => {
                tracing::debug!(to = message.to, "no way to send to another member yet")
            }
        }
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

    fn show_cluster(&self) {
        let group = self.mind.group();
        let cluster = api::Cluster {
            cluster_id: self.mind.ledger().cluster_id().to_owned(),
            members: self
                .mind
                .members()
                .voters
                .iter()
                .map(|&id| api::Member {
                    member_id: id as i64,
                    address: if id == group.id() {
                        self.address.clone()
                    } else {
                        String::new()
                    },
                    learner: false,
                })
                .collect(),
            leader_id: group.leader() as i64,
            term: group.term() as i64,
            commit_index: group.commit_index() as i64,
            applied_index: self.mind.ledger().revision() as i64,
            version: crate::VERSION.to_owned(),
        };
        let mut view = lock(&self.view);
        if view.cluster != cluster {
            view.cluster = cluster;
        }
    }
}

/// Nobody leaves the view half changed, so a panic elsewhere does not matter here.
fn lock(view: &Mutex<View>) -> std::sync::MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}
