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

use contract::link::Fence;
use ledger::{Knows, Ledger};
use raft::eraftpb::ConfState;
use schedule::Scheduler;

use crate::copies::Copies;
use crate::disconnect::OnDisconnect;
use crate::files::Files;
use crate::group::{Base, Committed, Group, Recovered};
use crate::io::{Input, MemberView, Now, Output, SessionId};
use crate::leadership::Handover;
use crate::pace::Pace;
use crate::pools;
use crate::proposals::{Ahead, Queued};
use crate::reads::Reads;
use crate::session::Session;
use crate::standing::Standing;
use crate::workers::Unheard;

/// Ticks after which a caller that could not be served hears `NO_QUORUM`, or `OUTCOME_UNKNOWN`: three seconds.
pub(crate) const PATIENCE_TICKS: u64 = 3_000 / crate::TICK_MS;

/// What a coordinator is told at birth.
#[derive(Debug, Clone)]
pub struct Config {
    /// Raft id; never reused after its disk was lost.
    pub member_id: u64,
    /// UUID the cluster gets if this member founds it, or that of the cluster it joins.
    pub cluster_id: String,
    /// `host:port` at which others reach this member, and workers find the source trees it stores.
    pub address: String,
    /// How much this program knows: with members that know more it takes part, in a cluster that needs more it does not.
    pub knows: Knows,
    /// Decides everything that would be random. Differs from one life of a member to the next.
    pub seed: u64,
    /// Entries applied between two snapshots.
    pub snapshot_entries: u64,
    /// How long a worker may be out of contact before it is declared lost, in microseconds.
    pub lost_after_us: u64,
    /// Time a program has between the first signal and the kill, in milliseconds.
    pub stop_grace_ms: u64,
    /// What becomes of the attempts of a worker that is out of contact, unless it offers otherwise.
    pub on_disconnect: OnDisconnect,
}

/// A coordinator's mind.
///
/// Call [`Coordinator::handle`] for everything that happened, in order, then [`Coordinator::poll`] once and do what it
/// says. Handling several inputs before one poll is what makes batches.
pub struct Coordinator {
    pub(crate) config: Config,
    pub(crate) group: Group,
    pub(crate) ledger: Ledger,
    pub(crate) members: ConfState,
    pub(crate) applied: u64,
    pub(crate) applied_term: u64,
    pub(crate) ahead: VecDeque<Ahead>,
    /// Commands for the next entry and who waits for them.
    pub(crate) inbox: Vec<Queued>,
    pub(crate) reads: Reads,
    pub(crate) handover: Handover,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    /// What workers said that nobody has decided on yet.
    pub(crate) unheard: Unheard,
    /// When each worker was last in contact, on the monotonic clock.
    pub(crate) contacts: BTreeMap<String, u64>,
    /// Tick at which it was judged last who is lost.
    pub(crate) judged_tick: u64,
    pub(crate) pace: Pace,
    /// Follows the ledger that is ahead.
    pub(crate) scheduler: Scheduler,
    /// Pools of machines that come and go.
    pub(crate) pools: Vec<pools::Standing>,
    /// Tick at which they were followed last.
    pub(crate) pools_tick: u64,
    /// What workers that leave hand over.
    pub(crate) copies: Copies,
    pub(crate) files: Files,
    pub(crate) standing: Standing,
    /// The highest feature level that each other member has said it knows.
    pub(crate) levels: BTreeMap<u64, u32>,
    pub(crate) led_term: u64,
    pub(crate) generation: u64,
    /// Tick at which a leader was known last.
    pub(crate) led_tick: u64,
    /// The newest snapshot that was asked for.
    pub(crate) snapshot: Base,
    pub(crate) snapshot_pending: bool,
    /// Bytes of entries applied since then.
    pub(crate) snapshot_bytes: u64,
    /// Least index of a snapshot that a member needs.
    pub(crate) snapshot_wanted: Option<u64>,
    /// The ledger of a snapshot that raft may take up, with its index.
    pub(crate) incoming: Option<(u64, Ledger)>,
    /// Entries in the log when the ledger was verified last.
    pub(crate) verified: u64,
    pub(crate) published: u64,
    pub(crate) told_members: Vec<MemberView>,
    /// Going on would be wrong.
    pub(crate) halted: bool,
    pub(crate) outputs: Vec<Output>,
}

impl Coordinator {
    /// A coordinator from what was found: the ledger of its newest snapshot and the log after it.
    ///
    /// # Errors
    /// When raft refuses what was found.
    pub fn new(config: Config, recovered: Recovered, ledger: Ledger) -> raft::Result<Self> {
        let base = recovered.base.clone();
        let group = Group::new(config.member_id, config.seed, recovered)?;
        let mut mind = Self {
            reads: Reads::new(config.seed),
            config,
            group,
            published: ledger.revision(),
            ledger,
            members: base.members.clone(),
            applied: base.index,
            applied_term: base.term,
            ahead: VecDeque::new(),
            inbox: Vec::new(),
            handover: Handover::default(),
            sessions: BTreeMap::new(),
            unheard: Unheard::default(),
            contacts: BTreeMap::new(),
            judged_tick: 0,
            pace: Pace::default(),
            scheduler: Scheduler::default(),
            pools: Vec::new(),
            pools_tick: 0,
            copies: Copies::default(),
            files: Files::default(),
            standing: Standing::default(),
            levels: BTreeMap::new(),
            led_term: 0,
            generation: 0,
            led_tick: 0,
            verified: base.index,
            snapshot: base,
            snapshot_pending: false,
            snapshot_bytes: 0,
            snapshot_wanted: None,
            incoming: None,
            told_members: Vec::new(),
            halted: false,
            outputs: Vec::new(),
        };
        mind.check_feature_level();
        Ok(mind)
    }

    /// The ledger as far as it is committed.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether this member leads and has applied everything that was committed before it did.
    pub fn is_ready(&self) -> bool {
        self.group.leads() && self.applied_term == self.group.term()
    }

    /// Whether this member leads.
    pub fn leads(&self) -> bool {
        self.group.leads()
    }

    /// Raft's own state: leader, term, commit index.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// How much this program takes part in.
    pub fn knows(&self) -> &Knows {
        &self.config.knows
    }

    /// Members of the group.
    pub fn members(&self) -> &ConfState {
        &self.members
    }

    /// Whether the ledger says that this member was removed for good: its process has nothing left to do.
    pub fn is_removed(&self) -> bool {
        let known = self.ledger.member(self.config.member_id);
        known.is_some_and(ledger::Member::is_removed)
    }

    /// Index of the last entry applied, also of those that only raft knows.
    pub fn applied_index(&self) -> u64 {
        self.applied
    }

    /// Takes in what happened. Decides nothing yet but what needs no ledger.
    pub fn handle(&mut self, now: Now, input: Input) {
        if self.halted {
            return;
        }
        match input {
            Input::Tick => self.group.tick(),
            Input::Request { token, request } => self.request(now, token, *request),
            Input::Read { token } => self.read(token),
            Input::WorkerState { session, state } => self.worker_state(now, session, state),
            Input::WorkerGone { session } => self.worker_gone(now, session),
            Input::Persisted { number } => self.group.persisted(number),
            Input::SnapshotStored { index } => self.snapshot_stored(index),
            Input::Peer { message } => self.peer(*message),
            Input::Unreachable { member } => self.group.unreachable(member),
            Input::SnapshotSent { member, delivered } => {
                self.group.snapshot_sent(member, delivered);
            }
            Input::PeerKnows {
                member,
                feature_level,
            } => self.peer_knows(member, feature_level),
            Input::StepDown => self.step_down(),
            Input::PoolAnswered { call_id, result } => self.pool_answered(now, &call_id, result),
        }
    }

    /// Decides, and says what to do. Empty when there is nothing.
    pub fn poll(&mut self, now: Now) -> Vec<Output> {
        if !self.halted {
            self.turn(now);
        }
        std::mem::take(&mut self.outputs)
    }

    /// Whatever halts it is the last of its turn: nobody is told of a ledger that it must not go on with.
    fn turn(&mut self, now: Now) {
        self.advance();
        if !self.halted {
            self.follow_leadership(now);
            if self.is_ready() && !self.group.is_transferring() {
                self.hear_workers(now);
                self.found();
                self.raise_feature_level();
                self.declare_lost(now);
                self.verify();
                self.propose_inbox(now);
                self.propose_placements(now);
                self.hand_over_copies(now);
                if std::mem::replace(&mut self.pools_tick, self.group.ticks()) != self.group.ticks()
                {
                    self.follow_pools(now);
                }
                self.arrange_members();
            } else {
                self.wait_or_refuse();
            }
            self.give_up_late();
            self.advance();
        }
        if !self.halted {
            self.publish();
            self.tell_workers();
            self.tell_members();
            self.snapshot();
        }
    }

    /// Lets raft move: stores, sends, commits.
    fn advance(&mut self) {
        let step = self.group.step();
        for message in step.messages {
            self.outputs.push(Output::message(message));
        }
        for batch in step.persist {
            self.outputs.push(Output::Persist(batch));
        }
        for committed in step.committed {
            if self.halted {
                return;
            }
            match committed {
                Committed::Entry(entry) => {
                    self.applied = entry.index;
                    self.applied_term = entry.term;
                    self.commit(entry.index, entry.term, &entry.data);
                }
                Committed::Members {
                    index,
                    term,
                    members,
                } => {
                    self.applied = index;
                    self.applied_term = term;
                    self.drop_overtaken(index, term);
                    self.members = members;
                }
            }
        }
        if let Some(base) = step.installed {
            self.install(base);
        }
        self.move_reads(step.reads);
    }

    fn publish(&mut self) {
        if self.ledger.revision() != self.published {
            self.published = self.ledger.revision();
            // Readers must have the ledger before anybody is told of it.
            let position = self
                .outputs
                .iter()
                .position(|output| {
                    matches!(
                        output,
                        Output::Reply { .. } | Output::Fresh { .. } | Output::SealFeed { .. }
                    )
                })
                .unwrap_or(self.outputs.len());
            self.outputs
                .insert(position, Output::Publish(self.ledger.clone()));
        }
    }

    /// Going on would make this member's ledger another than the others': it stops, and says why.
    pub(crate) fn halt(&mut self, why: String) {
        self.halted = true;
        self.outputs.push(Output::Halt { why });
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
