//! The coordinator: one closed list of inputs in, outputs out.
//!
//! ```text
//! applied <= committed <= stored <= proposed          (raft indexes)
//! ledger (published) = apply(1..=applied);  ahead = apply(1..=proposed), held while this member leads
//! ```
//!
//! The leader decides on the ledger that is *ahead*: with every proposal in flight applied. So "submit and assign" or
//! "finish and assign what is next" leave in one batch with one sync. When an entry commits, the ledger that was computed
//! ahead is taken over as it is; whoever does not lead applies the entry. Nothing leaves before its entry is committed.

use std::collections::{BTreeMap, VecDeque};

use contract::api::ErrorReason;
use contract::ledger::{Command, Entry, FoundCluster, LoseWorker, command::Kind};
use contract::link::{Fence, SynchronizeRequest, SynchronizeResponse};
use feed::Seal;
use ledger::{Applied, Ledger, Outcome, Refused};
use prost::Message as _;
use raft::eraftpb::{ConfState, EntryType};
use schedule::{Facts, Problem, WorkerFact};

use crate::group::{Group, Recovered};
use crate::io::{Input, Now, Output, SessionId, Token};
use crate::pace::Pace;
use crate::session::Session;
use crate::{Answer, Refusal, Request, admission, desired, outcome, reports};

/// Format of the entries this version writes.
const ENTRY_VERSION: u32 = 1;
/// A proposal larger than this is refused; raft carries entries whole.
const MAX_ENTRY_BYTES: usize = 8 << 20;

/// What a coordinator is told at birth.
#[derive(Debug, Clone)]
pub struct Config {
    /// Raft id; never reused after its disk was lost.
    pub member_id: u64,
    /// UUID the cluster gets if this member founds it.
    pub cluster_id: String,
    /// `host:port` at which workers find the source trees this member stores.
    pub address: String,
    /// Decides everything that would be random.
    pub seed: u64,
    /// Entries applied between two snapshots.
    pub snapshot_entries: u64,
    /// How long a worker may be out of contact before it is declared lost, in microseconds.
    pub lost_after_us: u64,
    /// Time a program has between the first signal and the kill, in milliseconds.
    pub stop_grace_ms: u64,
}

/// An entry in flight, applied ahead of its commit.
struct Ahead {
    index: u64,
    term: u64,
    ledger: Ledger,
    applied: Applied,
    commands: Vec<Command>,
    /// Who waits, and for which command of the entry.
    waiting: Vec<Waiting>,
}

/// A caller that waits for a command to commit.
struct Waiting {
    token: Token,
    /// Position of its command in the entry.
    command: usize,
    warnings: Vec<String>,
}

/// A coordinator's mind.
///
/// Call [`Coordinator::handle`] for everything that happened, in order, then [`Coordinator::poll`] once and do what it
/// says. Handling several inputs before one poll is what makes batches.
pub struct Coordinator {
    config: Config,
    group: Group,
    ledger: Ledger,
    members: ConfState,
    applied: u64,
    applied_term: u64,
    ahead: VecDeque<Ahead>,
    /// Commands for the next entry and who waits for them.
    inbox: Vec<Command>,
    waiting: Vec<Waiting>,
    sessions: BTreeMap<SessionId, Session>,
    /// When each worker was last in contact, on the monotonic clock.
    contacts: BTreeMap<String, u64>,
    pace: Pace,
    led_term: u64,
    generation: u64,
    snapshot_index: u64,
    snapshot_pending: bool,
    published: u64,
    outputs: Vec<Output>,
}

impl Coordinator {
    /// A coordinator from what was found: the ledger of its newest snapshot and the log after it.
    ///
    /// # Errors
    /// When raft refuses what was found.
    pub fn new(config: Config, recovered: Recovered, ledger: Ledger) -> raft::Result<Self> {
        let base = recovered.base.clone();
        let group = Group::new(config.member_id, config.seed, recovered)?;
        Ok(Self {
            config,
            group,
            published: ledger.revision(),
            ledger,
            members: base.members,
            applied: base.index,
            applied_term: base.term,
            ahead: VecDeque::new(),
            inbox: Vec::new(),
            waiting: Vec::new(),
            sessions: BTreeMap::new(),
            contacts: BTreeMap::new(),
            pace: Pace::default(),
            led_term: 0,
            generation: 0,
            snapshot_index: base.index,
            snapshot_pending: false,
            outputs: Vec::new(),
        })
    }

    /// The ledger as far as it is committed.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether this member leads and has applied everything that was committed before it did.
    pub fn is_ready(&self) -> bool {
        self.group.leads() && self.applied_term == self.group.term()
    }

    /// Raft's own state: leader, term, commit index.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Members of the group.
    pub fn members(&self) -> &ConfState {
        &self.members
    }

    /// Takes in what happened. Decides nothing yet but what needs no ledger.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Tick => self.group.tick(),
            Input::Request { token, request } => self.request(token, *request),
            Input::WorkerState { session, state } => self.worker_state(now, session, &state),
            Input::WorkerGone { session } => {
                if let Some(session) = self.sessions.remove(&session) {
                    self.contacts.insert(session.worker, now.monotonic_us);
                }
            }
            Input::Persisted { number } => self.group.persisted(number),
            Input::SnapshotStored { index } => {
                self.snapshot_pending = false;
                self.group.compact(index);
                self.outputs.push(Output::CompactLog { index });
            }
            // A peer's message that raft refuses changed nothing; a lost one is raft's own matter.
            Input::Read { token } => self.read(token),
            Input::Unreachable { .. } | Input::SnapshotSent { .. } | Input::StepDown => {}
            Input::Peer { message } => drop(self.group.receive(*message)),
        }
    }

    /// Decides, and says what to do. Empty when there is nothing.
    pub fn poll(&mut self, now: Now) -> Vec<Output> {
        self.advance();
        self.follow_leadership(now);
        if self.is_ready() {
            self.found();
            self.declare_lost(now);
            self.propose_inbox(now);
            self.propose_placements(now);
        } else {
            self.refuse_inbox();
        }
        self.advance();
        self.publish();
        self.tell_workers();
        self.snapshot();
        std::mem::take(&mut self.outputs)
    }

    fn request(&mut self, token: Token, request: Request) {
        match admission::admit(request) {
            Ok(admission::Admitted::Propose { command, warnings }) => {
                self.waiting.push(Waiting {
                    token,
                    command: self.inbox.len(),
                    warnings,
                });
                self.inbox.push(*command);
            }
            Ok(admission::Admitted::Valid { warnings }) => {
                self.outputs.push(Output::Reply {
                    token,
                    result: Ok(Answer::Valid { warnings }),
                });
            }
            Ok(admission::Admitted::Transfer { member_id }) => {
                let alone = member_id == self.group.id() || self.members.voters.len() == 1;
                let result = if self.group.leads() && alone {
                    Ok(Answer::Member {
                        member_id: self.group.id(),
                    })
                } else {
                    Err(self.not_leader())
                };
                self.outputs.push(Output::Reply { token, result });
            }
            Err(refusal) => self.outputs.push(Output::Reply {
                token,
                result: Err(refusal),
            }),
        }
    }

    fn read(&mut self, token: Token) {
        let result = if self.is_ready() {
            Ok(self.ledger.clone())
        } else {
            Err(self.not_leader())
        };
        self.outputs.push(Output::Fresh { token, result });
    }

    fn not_leader(&self) -> Refusal {
        Refusal::new(
            ErrorReason::NotLeader,
            "this coordinator does not lead; ask the leader",
        )
        .with("leader_id", self.group.leader().to_string())
    }

    /// Whether this member leads.
    pub fn leads(&self) -> bool {
        self.group.leads()
    }

    /// The ledger with every proposal in flight applied.
    fn tip(&self) -> &Ledger {
        self.ahead
            .back()
            .map_or(&self.ledger, |ahead| &ahead.ledger)
    }

    fn worker_state(&mut self, now: Now, id: SessionId, state: &SynchronizeRequest) {
        let tip = self
            .ahead
            .back()
            .map_or(&self.ledger, |ahead| &ahead.ledger);
        if let Err(refusal) = reports::check(tip, state) {
            self.sessions.remove(&id);
            self.outputs.push(Output::EndSession {
                session: id,
                refusal,
            });
            return;
        }
        if !self.sessions.contains_key(&id) {
            // A worker speaks on one connection: an older one of the same worker is of no use any more.
            self.sessions
                .retain(|_, session| session.worker != state.worker);
        }
        let session = self
            .sessions
            .entry(id)
            .or_insert_with(|| Session::new(state));
        self.contacts.insert(state.worker.clone(), now.monotonic_us);
        if session.take_in(state) {
            self.inbox.extend(reports::commands(tip, state));
        }
    }

    /// Lets raft move: stores, sends, commits.
    fn advance(&mut self) {
        let step = self.group.step();
        for message in step.messages {
            self.outputs.push(Output::Send(Box::new(message)));
        }
        for batch in step.persist {
            self.outputs.push(Output::Persist(batch));
        }
        for entry in step.committed {
            self.applied = entry.index;
            self.applied_term = entry.term;
            match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => {}
                EntryType::EntryNormal => self.commit(entry.index, entry.term, &entry.data),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    if let Ok(members) = self.group.change_members(&entry) {
                        self.members = members;
                    }
                }
            }
        }
    }

    /// Takes in a committed entry: what was computed ahead if it is that entry, else by applying it.
    fn commit(&mut self, index: u64, term: u64, data: &[u8]) {
        let (commands, applied, waiting) = match self.ahead.front() {
            Some(ahead) if ahead.index == index && ahead.term == term => {
                let Some(ahead) = self.ahead.pop_front() else {
                    return;
                };
                self.ledger = ahead.ledger;
                (ahead.commands, ahead.applied, ahead.waiting)
            }
            _ => {
                self.drop_ahead();
                // The log was checked when it was read; an entry that does not decode is one of a newer version, and going on without it would make replicas differ.
                let Ok(entry) = Entry::decode(data) else {
                    panic!(
                        "entry {index} of the log cannot be read: written by a newer version of shoal?"
                    );
                };
                let applied = self.ledger.apply(index, &entry);
                (entry.commands, applied, Vec::new())
            }
        };
        // Going on past a command that only a newer version knows would make replicas differ.
        let unknown = applied
            .outcomes
            .iter()
            .any(|outcome| matches!(outcome, Err(Refused::Unknown)));
        assert!(
            !unknown,
            "entry {index} of the log holds a command of a newer version of shoal"
        );
        self.seal_feeds(&commands, &applied);
        for Waiting {
            token,
            command,
            warnings,
        } in waiting
        {
            let result = match applied.outcomes.get(command) {
                Some(Ok(done)) => Ok(outcome::answer(done, warnings)),
                Some(Err(refused)) => Err(outcome::refusal(refused)),
                None => Err(Refusal::new(
                    ErrorReason::InternalFault,
                    "the entry has no outcome for this request",
                )),
            };
            self.outputs.push(Output::Reply { token, result });
        }
    }

    /// A finished attempt's feed is complete.
    fn seal_feeds(&mut self, commands: &[Command], applied: &Applied) {
        for (command, done) in commands.iter().zip(&applied.outcomes) {
            let (Some(Kind::FinishAttempt(finish)), Ok(Outcome::Attempt(_))) =
                (&command.kind, done)
            else {
                continue;
            };
            let (Some(fence), Some(result)) = (&finish.fence, &finish.result) else {
                continue;
            };
            self.pace
                .observe(&finish.worker, finish.start_time_us, result.exit_time_us);
            let Ok(digest) = <[u8; 32]>::try_from(result.feed_digest.as_ref()) else {
                continue;
            };
            let seal = Seal {
                record_count: result.record_count,
                digest,
            };
            self.outputs.push(Output::SealFeed {
                fence: fence.clone(),
                seal,
            });
        }
    }

    /// Notices that leadership came or went.
    fn follow_leadership(&mut self, now: Now) {
        let term = if self.group.leads() {
            self.group.term()
        } else {
            0
        };
        if term == self.led_term {
            return;
        }
        self.led_term = term;
        self.drop_ahead();
        // A new leader gives every worker the full time to come into contact.
        self.contacts = self
            .ledger
            .workers()
            .map(|worker| (worker.name.to_string(), now.monotonic_us))
            .collect();
        self.generation = term << 32;
    }

    /// Gives up what was computed ahead: somebody else leads, or did in between.
    fn drop_ahead(&mut self) {
        for ahead in self.ahead.drain(..) {
            for waiting in ahead.waiting {
                let refusal = Refusal::new(
                    ErrorReason::OutcomeUnknown,
                    "leadership was lost while the request was in flight; repeat it with the same request id",
                );
                self.outputs.push(Output::Reply {
                    token: waiting.token,
                    result: Err(refusal),
                });
            }
        }
    }

    /// Founds the cluster if nobody has.
    fn found(&mut self) {
        if self.tip().cluster_id().is_empty() {
            let found = FoundCluster {
                cluster_id: self.config.cluster_id.clone(),
            };
            let found = Command {
                kind: Some(Kind::FoundCluster(found)),
            };
            // First of all, so that ids that are derived from the cluster's have it.
            self.inbox.insert(0, found);
            for waiting in &mut self.waiting {
                waiting.command += 1;
            }
        }
    }

    /// Declares workers lost that were out of contact for too long and hold attempts.
    fn declare_lost(&mut self, now: Now) {
        let connected: Vec<&str> = self
            .sessions
            .values()
            .map(|session| session.worker.as_str())
            .collect();
        let mut lost = Vec::new();
        for worker in self.tip().workers() {
            let contact = self
                .contacts
                .get(&*worker.name)
                .copied()
                .unwrap_or(now.monotonic_us);
            let silent_us = now.monotonic_us.saturating_sub(contact);
            if !worker.lost
                && silent_us > self.config.lost_after_us
                && !connected.contains(&&*worker.name)
            {
                lost.push(LoseWorker {
                    name: worker.name.to_string(),
                    incarnation: worker.incarnation,
                });
            }
        }
        self.inbox.extend(lost.into_iter().map(|lost| Command {
            kind: Some(Kind::LoseWorker(lost)),
        }));
    }

    fn propose_inbox(&mut self, now: Now) {
        if self.inbox.is_empty() {
            return;
        }
        let commands = std::mem::take(&mut self.inbox);
        let waiting = std::mem::take(&mut self.waiting);
        self.propose(now, commands, waiting);
    }

    fn propose_placements(&mut self, now: Now) {
        let problem = Problem::reduce(self.tip(), &self.facts());
        let commands: Vec<Command> = schedule::solve(&problem)
            .into_iter()
            .map(outcome::assignment)
            .collect();
        if !commands.is_empty() {
            self.propose(now, commands, Vec::new());
        }
    }

    /// Proposes one entry and applies it ahead of its commit.
    fn propose(&mut self, now: Now, commands: Vec<Command>, waiting: Vec<Waiting>) {
        let entry = Entry {
            version: ENTRY_VERSION,
            leader_time_ms: now.unix_ms,
            commands,
        };
        let size = entry.encoded_len();
        if size > MAX_ENTRY_BYTES && entry.commands.len() > 1 {
            return self.propose_halves(now, entry.commands, waiting);
        }
        let proposed = if size > MAX_ENTRY_BYTES {
            Err(Refusal::new(ErrorReason::LimitExceeded, format!("the request needs {size} bytes in the log; at most {MAX_ENTRY_BYTES} are allowed"))
                .with("size_bytes", size.to_string())
                .with("limit_bytes", MAX_ENTRY_BYTES.to_string()))
        } else {
            self.group.propose(entry.encode_to_vec()).map_err(|_| {
                Refusal::new(
                    ErrorReason::NotReady,
                    "the log takes no more for now; repeat the request",
                )
            })
        };
        match proposed {
            Ok(index) => {
                let mut ledger = self.tip().clone();
                let applied = ledger.apply(index, &entry);
                let term = self.group.term();
                self.ahead.push_back(Ahead {
                    index,
                    term,
                    ledger,
                    applied,
                    commands: entry.commands,
                    waiting,
                });
            }
            Err(refusal) => {
                for waiting in waiting {
                    self.outputs.push(Output::Reply {
                        token: waiting.token,
                        result: Err(refusal.clone()),
                    });
                }
            }
        }
    }

    /// Splits what is too large for one entry; each half is proposed by itself.
    fn propose_halves(&mut self, now: Now, mut commands: Vec<Command>, waiting: Vec<Waiting>) {
        let middle = commands.len() / 2;
        let second = commands.split_off(middle);
        let (first_waiting, mut second_waiting): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|waiting| waiting.command < middle);
        for waiting in &mut second_waiting {
            waiting.command -= middle;
        }
        self.propose(now, commands, first_waiting);
        self.propose(now, second, second_waiting);
    }

    /// Who does not lead decides nothing: workers speak to the leader again, callers are sent on. A leader that has not
    /// caught up with its own term yet keeps what it was asked.
    fn refuse_inbox(&mut self) {
        if self.group.leads() {
            return;
        }
        self.inbox.clear();
        for waiting in std::mem::take(&mut self.waiting) {
            let refusal = self.not_leader();
            self.outputs.push(Output::Reply {
                token: waiting.token,
                result: Err(refusal),
            });
        }
    }

    /// What the scheduler must know beside the ledger.
    fn facts(&self) -> Facts {
        let workers = self
            .sessions
            .values()
            .filter_map(|session| {
                let worker = self.tip().worker(&session.worker)?;
                let offer = &worker.offer;
                Some(WorkerFact {
                    name: worker.name.to_string(),
                    connected: !worker.lost && worker.incarnation == session.incarnation,
                    slots: offer.slot_count,
                    backlog: self.pace.backlog(&worker.name, offer.slot_count),
                    draining: offer.draining,
                })
            })
            .collect();
        Facts { workers }
    }

    fn publish(&mut self) {
        if self.ledger.revision() != self.published {
            self.published = self.ledger.revision();
            // Readers must have the ledger before anybody is told of it.
            let position = self
                .outputs
                .iter()
                .position(|output| matches!(output, Output::Reply { .. } | Output::SealFeed { .. }))
                .unwrap_or(self.outputs.len());
            self.outputs
                .insert(position, Output::Publish(self.ledger.clone()));
        }
    }

    /// Tells every worker whose desired state differs from what it knows.
    fn tell_workers(&mut self) {
        if !self.is_ready() {
            return;
        }
        for (id, session) in &mut self.sessions {
            let registered = self
                .ledger
                .worker(&session.worker)
                .is_some_and(|worker| !worker.lost && worker.incarnation == session.incarnation);
            if !registered {
                continue;
            }
            let wanted = desired::wanted(&self.ledger, &session.worker);
            if !session.must_be_told(&wanted) {
                continue;
            }
            self.generation += 1;
            let attempts = desired::attempts(&self.ledger, session, &self.config);
            self.outputs.push(Output::Desired {
                session: *id,
                desired: SynchronizeResponse {
                    generation: self.generation,
                    attempts,
                    cluster_id: self.ledger.cluster_id().to_owned(),
                    worker_generation: session.generation,
                },
            });
            session.tell(wanted, self.generation);
        }
    }

    fn snapshot(&mut self) {
        let due = self.applied.saturating_sub(self.snapshot_index) >= self.config.snapshot_entries;
        if !due || self.snapshot_pending {
            return;
        }
        self.snapshot_pending = true;
        self.snapshot_index = self.applied;
        self.outputs.push(Output::StoreSnapshot {
            index: self.applied,
            term: self.applied_term,
            members: self.members.clone(),
            ledger: self.ledger.clone(),
        });
    }
}

/// Whether the holder of this fence may write its attempt's feed: the attempt is live.
pub fn may_write(ledger: &Ledger, fence: &Fence) -> bool {
    let Ok(fence) = ledger::Fence::try_from(fence) else {
        return false;
    };
    ledger
        .execution_by_id(&fence.execution_id)
        .is_some_and(|execution| execution.live_fence() == Some(fence))
}
