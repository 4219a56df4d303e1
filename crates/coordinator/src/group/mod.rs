//! One member of the Raft group: `RawNode` driven as values in and values out.
//!
//! ```text
//! applied <= committed <= last                 stored <= requested   (batches)
//! ```
//!
//! What leaves in [`Step::persist`] must be on the disk before [`Group::persisted`] is told its number; only then do the
//! messages that promise it come out and can its entries be committed.
//!
//! Reading order: `log` is what raft reads, `check` what a message must be, `timeout` when a member stands for election.

mod check;
mod log;
mod role;
mod timeout;

use std::collections::{BTreeMap, VecDeque};

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
    EntryType, HardState, Message, MessageType, Snapshot,
};
use raft::{Config, ProgressState, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use slog::{Logger, o};

pub use check::Unfit;
pub use log::Base;
pub use role::Role;
pub(crate) use timeout::splitmix;

use check::Standing;
use log::Log;
use timeout::{ELECTION_TICKS, Place};

/// Length of a tick in milliseconds: a host says [`Input::Tick`](crate::Input::Tick) this often. An election starts after
/// 0.6 to 1.2 seconds without a leader; a leader is heard ten times a second.
pub const TICK_MS: u64 = 25;
/// Ticks between two heartbeats of a leader.
const HEARTBEAT_TICKS: usize = 4;
/// A learner that lacks no more entries than this is as good as a voter.
const CAUGHT_UP: u64 = 256;

/// Names a read on its way through raft.
pub(crate) type Context = [u8; check::CONTEXT_LEN];

/// What was found on the disk, or the founding state of a new group. The default is a member that joins: it knows nobody and is
/// sent a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// Where the log begins.
    pub base: Base,
    /// The entries after that.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// The state every founding member starts from.
    pub fn founding(voters: &[u64]) -> Self {
        let mut members = ConfState::default();
        members.set_voters(voters.to_vec());
        let hard_state = HardState {
            term: log::FOUNDING_TERM,
            commit: log::FOUNDING_INDEX,
            ..HardState::default()
        };
        let base = Base {
            index: log::FOUNDING_INDEX,
            term: log::FOUNDING_TERM,
            members,
        };
        Self {
            hard_state,
            base,
            entries: Vec::new(),
        }
    }
}

/// What must be on the disk, in one batch with one sync.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Batches are stored in the order of their numbers; a stored number stands for all before it.
    pub number: u64,
    /// A snapshot of a leader, metadata and data, to be stored before the rest of the batch. It replaces the whole log: entries
    /// that were stored before are forgotten, also later ones. The data is an encoded `shoal.ledger.v1.Snapshot`; feeds that it
    /// knows to be complete are sealed by the host as after a start.
    pub snapshot: Option<Snapshot>,
    /// Entries to append; they replace what they overlap.
    pub entries: Vec<Entry>,
    /// New hard state.
    pub hard_state: Option<HardState>,
}

/// Something that is committed.
#[derive(Debug)]
pub enum Committed {
    /// An entry, possibly an empty one.
    Entry(Entry),
    /// A change of membership, and what it makes.
    Members {
        /// Index of its entry.
        index: u64,
        /// Term of its entry.
        term: u64,
        /// The membership from then on.
        members: ConfState,
    },
}

/// What one step of the group asks for. Entries come before the snapshot, if there is one.
#[derive(Debug, Default)]
pub struct Step {
    /// Messages that may leave at once.
    pub messages: Vec<Message>,
    /// What to store.
    pub persist: Vec<Batch>,
    /// What is committed, in order.
    pub committed: Vec<Committed>,
    /// A leader's snapshot was taken up: the state is this one from now on.
    pub installed: Option<Base>,
    /// Reads that are answered: their contexts, and the index that must be applied first.
    pub reads: Vec<(Vec<u8>, u64)>,
}

/// One member of the group.
pub struct Group {
    node: RawNode<Log>,
    id: u64,
    seed: u64,
    place: Place,
    ticks: u64,
    /// Index of the last change of membership that was applied; 0 if it is within the snapshot, or there was none.
    changed: u64,
    /// Term and index of the first entry that this member, leading, let follow after it had applied the last change.
    after_change: Option<(u64, u64)>,
    /// Tick at which each member was heard last.
    heard: BTreeMap<u64, u64>,
    /// Messages that promise a batch, held until it is stored.
    promises: VecDeque<(u64, Vec<Message>)>,
    /// Highest batch number that is with the disk.
    requested: u64,
    /// Highest batch number that is stored.
    stored: u64,
    /// The batch with a snapshot that is on its way to the disk.
    installing: Option<(u64, Base)>,
    /// Data of a snapshot that raft has and has not passed on; raft itself needs none of it.
    incoming: Option<(u64, bytes::Bytes)>,
}

impl Group {
    /// A member from what was found. A group of one elects itself at once.
    ///
    /// # Errors
    /// When raft refuses the configuration or what was found.
    pub fn new(id: u64, seed: u64, recovered: Recovered) -> raft::Result<Self> {
        let alone =
            recovered.base.members.voters == [id] && recovered.base.members.learners.is_empty();
        let config = Config {
            id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: recovered.base.index,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            max_uncommitted_size: 64 << 20,
            max_committed_size_per_ready: 16 << 20,
            ..Config::default()
        };
        let log = Log::new(recovered.hard_state, recovered.base, recovered.entries);
        let node = RawNode::new(&config, log, &Logger::root(slog::Discard, o!()))?;
        let mut group = Self {
            node,
            id,
            seed,
            place: Place::of(id, Vec::new()),
            ticks: 0,
            changed: 0,
            after_change: None,
            heard: BTreeMap::new(),
            promises: VecDeque::new(),
            requested: 0,
            stored: 0,
            installing: None,
            incoming: None,
        };
        group.take_place();
        if alone {
            group.node.campaign()?;
        }
        group.settle_timeout();
        Ok(group)
    }

    /// Moves raft's clock by one tick.
    pub fn tick(&mut self) {
        self.ticks += 1;
        // raft cannot stand for election before a snapshot is stored; a lone voter would win before its log is.
        let alone = self.is_alone() && !self.leads() && self.stored < self.requested;
        if self.installing.is_none() && !alone {
            self.node.tick();
        }
        self.settle_timeout();
    }

    /// Whether raft may see a message of a peer. Whether one that raft does not know is a member is for the caller to know:
    /// `may_be_new` says that it can be one that was added after all this member knows.
    ///
    /// # Errors
    /// When the message is not one that a member may send us, or not now.
    pub fn check(&self, message: &Message, may_be_new: bool) -> Result<(), Unfit> {
        let standing = Standing {
            storing: self.is_storing(),
            installing: self.installing.is_some() || self.node.snap().is_some(),
        };
        check::check(message, &self.node.raft, &standing)?;
        match check::is_member(message.from, self.node.raft.prs()) {
            true => Ok(()),
            false if !self.may_hear(may_be_new) => Err(Unfit::Bad("the sender is no member")),
            false => check::is_first_word(message),
        }
    }

    /// Takes in a message of a peer.
    ///
    /// # Errors
    /// As [`Group::check`] says; it then changed nothing.
    pub fn receive(&mut self, mut message: Message, may_be_new: bool) -> Result<(), Unfit> {
        self.check(&message, may_be_new)?;
        self.heard.insert(message.from, self.ticks);
        let snapshot = (message.get_msg_type() == MessageType::MsgSnapshot).then(|| {
            let snapshot = message.mut_snapshot();
            let data = std::mem::take(&mut snapshot.data);
            (snapshot.get_metadata().index, data)
        });
        // What raft does not take changes nothing: it is of an earlier term or from an earlier member.
        drop(self.node.step(message));
        let taken = self.incoming_snapshot();
        if snapshot.as_ref().map(|(index, _)| *index) == taken && taken.is_some() {
            self.incoming = snapshot;
        }
        self.settle_timeout();
        Ok(())
    }

    /// Whether a member that raft does not know can be one all the same. A lone voter has agreed to every change there was.
    fn may_hear(&self, may_be_new: bool) -> bool {
        let knows_nobody = self.node.raft.prs().iter().next().is_none();
        knows_nobody || (may_be_new && !self.is_alone())
    }

    /// Index of the snapshot of a leader that raft took up and that was not stepped out yet.
    pub fn incoming_snapshot(&self) -> Option<u64> {
        self.node.snap().map(|taken| taken.get_metadata().index)
    }

    /// Whether something that this member promised, or will, is not on the disk yet.
    fn is_storing(&self) -> bool {
        let now = self.node.raft.hard_state();
        let handed = self.node.store().hard_state();
        self.stored < self.requested
            || (now.term, now.vote) != (handed.term, handed.vote)
            || !self.node.raft.raft_log.unstable_entries().is_empty()
    }

    /// Proposes an entry and says at which index it will stand if it is committed.
    ///
    /// # Errors
    /// When this member does not lead or takes no more for now.
    pub fn propose(&mut self, data: Vec<u8>) -> raft::Result<u64> {
        if !self.leads() {
            return Err(raft::Error::ProposalDropped);
        }
        self.node.propose(Vec::new(), data)?;
        let index = self.last_index();
        if self.after_change().is_none() {
            self.after_change = Some((self.term(), index));
        }
        Ok(index)
    }

    /// Proposes a change of membership; none leaves a joint one. Nothing happens while another is under way.
    pub fn propose_change(&mut self, change: Option<(u64, ConfChangeType)>) {
        if !self.leads() || self.node.raft.has_pending_conf() {
            return;
        }
        let mut proposal = ConfChangeV2::default();
        if let Some((node_id, kind)) = change {
            let mut single = ConfChangeSingle {
                node_id,
                ..ConfChangeSingle::default()
            };
            single.set_change_type(kind);
            proposal.set_changes(vec![single].into());
            if kind != ConfChangeType::AddLearnerNode {
                proposal.set_transition(ConfChangeTransition::Explicit);
            }
        }
        // It is proposed again as long as it is wanted.
        drop(self.node.propose_conf_change(Vec::new(), proposal));
    }

    /// Lets an entry follow the last change of membership, if none does. A member that starts again takes part as its disk knows that it was decided; and
    /// that a change was decided reaches the disks with an entry that was sent by a leader which knew it. Without one, members that all start again could
    /// wait for the vote of one that is gone. An entry that merely stands behind the change may have been sent before it was decided.
    pub fn confirm_change(&mut self) {
        if self.changed != 0 && self.after_change().is_none() {
            // It is proposed again as long as none follows.
            drop(self.propose(Vec::new()));
        }
    }

    /// Whether a majority knows, across restarts, of every change of membership that this member, which leads, knows of.
    pub fn is_change_known(&self) -> bool {
        match self.after_change() {
            Some(index) => self.commit_index() >= index,
            // What a leader begins its term with tells of all that is in its snapshot.
            None => self.changed == 0 && self.node.raft.commit_to_current_term(),
        }
    }

    /// Index of the entry that this leader let follow the last change of membership. What an earlier leader did says nothing.
    fn after_change(&self) -> Option<u64> {
        let (term, index) = self.after_change?;
        (term == self.term() && self.leads()).then_some(index)
    }

    /// Asks for the index that must be applied before a read; the answer comes in the step's `reads` with the context, or never.
    pub fn read_index(&mut self, context: &Context) {
        self.node.read_index(context.to_vec());
    }

    /// Whether a read asked for now has a chance to be answered.
    pub fn can_read(&self) -> bool {
        match self.leads() {
            true => self.node.raft.commit_to_current_term(),
            false => self.leader() != 0,
        }
    }

    /// Hands leadership to another voter; it is done when this member leads no more, and given up by itself after a while.
    pub fn transfer(&mut self, to: u64) {
        if self.leads() && to != self.id {
            self.node.transfer_leader(to);
        }
    }

    /// Whether leadership is being handed over: no proposal is taken meanwhile.
    pub fn is_transferring(&self) -> bool {
        self.node.raft.lead_transferee.is_some()
    }

    /// Leads no more, because it is no voter any more.
    pub fn resign(&mut self) {
        let term = self.term();
        self.node.raft.become_follower(term, 0);
        self.settle_timeout();
    }

    /// Told that messages to a member were lost.
    pub fn unreachable(&mut self, member: u64) {
        self.node.report_unreachable(member);
    }

    /// Told what became of a snapshot that was sent.
    pub fn snapshot_sent(&mut self, member: u64, delivered: bool) {
        let status = match delivered {
            true => SnapshotStatus::Finish,
            false => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(member, status);
    }

    /// Told that a snapshot of this member's own state is on the disk.
    pub fn snapshot_stored(&mut self, stored: Base) {
        self.node.mut_store().snapshot_stored(stored);
    }

    /// Least index of a snapshot that a member needs and that there is none of.
    pub fn take_wanted_snapshot(&mut self) -> Option<u64> {
        self.node.mut_store().take_wanted()
    }

    /// Told that every batch up to `number` is stored.
    pub fn persisted(&mut self, number: u64) {
        self.stored = self.stored.max(number);
        self.node.on_persist_ready(number);
        if self
            .installing
            .as_ref()
            .is_some_and(|(batch, _)| *batch <= number)
            && let Some((_, base)) = self.installing.take()
        {
            self.node.mut_store().snapshot_stored(base);
            self.node.advance_apply();
        }
    }

    /// Takes out everything raft asks for until it asks for nothing more.
    pub fn step(&mut self) -> Step {
        let mut step = Step::default();
        while self
            .promises
            .front()
            .is_some_and(|(number, _)| *number <= self.stored)
        {
            step.messages.extend(
                self.promises
                    .pop_front()
                    .into_iter()
                    .flat_map(|(_, messages)| messages),
            );
        }
        while self.node.has_ready() {
            self.ready(&mut step);
        }
        self.settle_timeout();
        step
    }

    fn ready(&mut self, step: &mut Step) {
        let mut ready = self.node.ready();
        step.messages.append(&mut ready.take_messages());
        let committed = ready.take_committed_entries();
        let reads = ready.take_read_states();
        step.reads
            .extend(reads.into_iter().map(|read| (read.request_ctx, read.index)));
        let number = ready.number();
        let entries = ready.take_entries();
        let hard_state = ready.hs().cloned();
        let promises = ready.take_persisted_messages();
        let snapshot = (!ready.snapshot().is_empty()).then(|| ready.snapshot().clone());
        let store = self.node.mut_store();
        if let Some(snapshot) = &snapshot {
            let base = Base::from(snapshot.get_metadata());
            store.install(base.clone());
            step.installed = Some(base.clone());
            self.installing = Some((number, base));
        }
        store.append(&entries);
        if let Some(hard_state) = hard_state.clone() {
            store.set_hard_state(hard_state);
        }
        // A commit index that moved alone needs no sync: it is found again from the log. It travels with the next batch; see `confirm_change`.
        let needs_disk = ready.must_sync() || !entries.is_empty();
        self.node.advance_append_async(ready);
        if needs_disk {
            let hard_state = Some(hard_state.unwrap_or_else(|| self.node.raft.hard_state()));
            self.requested = number;
            let snapshot = snapshot.map(|snapshot| self.with_data(snapshot));
            step.persist.push(Batch {
                number,
                snapshot,
                entries,
                hard_state,
            });
        }
        if needs_disk || self.requested > self.stored {
            if !promises.is_empty() {
                self.promises.push_back((self.requested, promises));
            }
        } else {
            self.node.on_persist_ready(number);
            step.messages.extend(promises);
        }
        for entry in committed {
            let committed = self.change_members(entry);
            step.committed.push(committed);
        }
        // raft may not take a snapshot for applied before it is stored.
        if self.installing.is_none() {
            self.node.advance_apply();
        } else {
            self.take_place();
        }
    }

    /// Puts the data back that raft was not bothered with.
    fn with_data(&mut self, mut snapshot: Snapshot) -> Snapshot {
        if let Some((index, data)) = self.incoming.take()
            && index == snapshot.get_metadata().index
        {
            snapshot.data = data;
        }
        snapshot
    }

    /// Applies a committed entry as far as it is raft's own. A change that raft does not take is none, on every member alike.
    fn change_members(&mut self, entry: Entry) -> Committed {
        let members = match entry.get_entry_type() {
            EntryType::EntryNormal => return Committed::Entry(entry),
            EntryType::EntryConfChangeV2 => {
                let mut change = ConfChangeV2::default();
                change
                    .merge_from_bytes(&entry.data)
                    .map_err(raft::Error::from)
                    .and_then(|()| self.node.apply_conf_change(&change))
            }
            EntryType::EntryConfChange => {
                let mut change = raft::eraftpb::ConfChange::default();
                change
                    .merge_from_bytes(&entry.data)
                    .map_err(raft::Error::from)
                    .and_then(|()| self.node.apply_conf_change(&change))
            }
        };
        self.take_place();
        self.changed = entry.index;
        self.after_change = None;
        Committed::Members {
            index: entry.index,
            term: entry.term,
            members: members.map_or_else(|_| self.members(), sorted),
        }
    }

    /// Forgets entries up to `index`, which a stored snapshot covers.
    pub fn compact(&mut self, index: u64) {
        self.node.mut_store().compact(index);
    }

    /// The index up to which entries can go: of those up to `index`, at most so many of so many bytes stay.
    pub fn tail(&self, index: u64, entries: u64, bytes: u64) -> u64 {
        self.node.store().tail(index, entries, bytes)
    }

    /// Index of the newest stored snapshot that can be sent; 0 when there is none.
    pub fn stored_snapshot(&self) -> u64 {
        self.node.store().stored_index()
    }

    /// Whether this member leads.
    pub fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// The part that this member plays.
    pub fn role(&self) -> Role {
        Role::of(self.node.raft.state, self.node.raft.promotable())
    }

    /// Whether this member is the only voter: whatever it has stored is committed.
    pub fn is_alone(&self) -> bool {
        let conf = self.node.raft.prs().conf();
        self.node.raft.promotable() && conf.voters().ids().len() == 1
    }

    /// The membership as applied, ids rising.
    pub fn members(&self) -> ConfState {
        sorted(self.node.raft.prs().conf().to_conf_state())
    }

    /// Raft id of this member.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Ticks since this member was born.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Raft id of the leader; 0 when none is known.
    pub fn leader(&self) -> u64 {
        self.node.raft.leader_id
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// Index of the last committed entry.
    pub fn commit_index(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// Index of the last entry, committed or not.
    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// Term of the entry at `index`; 0 when it is not there.
    pub fn term_at(&self, index: u64) -> u64 {
        self.node.raft.raft_log.term(index).unwrap_or(0)
    }

    /// Index up to which a member's log is known to be this one's; none when raft does not know it. Only a leader knows.
    pub fn matched(&self, member: u64) -> Option<u64> {
        let progress = self.node.raft.prs().get(member)?;
        Some(progress.matched)
    }

    /// Whether a member was heard within the time of an election; this member always was.
    pub fn is_heard(&self, member: u64) -> bool {
        let recent = |tick: &u64| self.ticks - tick <= ELECTION_TICKS as u64;
        member == self.id || self.heard.get(&member).is_some_and(recent)
    }

    /// Whether a learner has what a voter must have.
    pub fn is_caught_up(&self, member: u64) -> bool {
        let progress = self.node.raft.prs().get(member);
        progress.is_some_and(|progress| {
            // Not only one that is sent entries as they come: after a snapshot raft waits with those for the next entry, if the
            // member's answer was here before the host's word that it arrived.
            progress.state != ProgressState::Snapshot
                && progress.matched > 0
                && progress.matched + CAUGHT_UP >= self.last_index()
        }) && self.is_heard(member)
    }

    /// The voter that is furthest along and can be heard, other than this member and those left out.
    pub fn successor(&self, left_out: impl Fn(u64) -> bool) -> Option<u64> {
        let voters = self.members().voters;
        voters
            .into_iter()
            .filter(|id| *id != self.id && self.is_heard(*id) && !left_out(*id))
            .max_by_key(|id| (self.matched(*id), std::cmp::Reverse(*id)))
    }

    /// How many entries are held in memory.
    pub fn log_len(&self) -> usize {
        self.node.raft.raft_log.store.len()
    }

    /// Finds this member's place among the voters again.
    fn take_place(&mut self) {
        let members = self.members();
        let voters = members.voters.iter().chain(&members.voters_outgoing);
        self.place = Place::of(self.id, voters.copied().collect());
    }

    /// The one place that overwrites raft's random election timeout.
    fn settle_timeout(&mut self) {
        let timeout = self.place.timeout(self.term(), self.seed);
        self.node.raft.set_randomized_election_timeout(timeout);
    }
}

/// raft lists members in the order of its hash sets.
fn sorted(mut members: ConfState) -> ConfState {
    members.voters.sort_unstable();
    members.learners.sort_unstable();
    members.voters_outgoing.sort_unstable();
    members.learners_next.sort_unstable();
    members
}

#[cfg(test)]
mod tests;
