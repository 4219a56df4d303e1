//! One member of the Raft group: `RawNode` driven as values in and values out.
//!
//! What leaves in [`Step::persist`] must be on the disk before [`Group::persisted`] is told its number; only then do the
//! messages that promise it come out and can its entries be committed.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Message, Snapshot};
use raft::{Config, RawNode, StateRole, Storage as _};
use slog::{Logger, o};

use crate::log::{Base, Log};

/// Length of a tick in milliseconds: a host says [`Input::Tick`](crate::Input::Tick) this often. An election starts after
/// half a second to a second without a leader; a leader is heard ten times a second.
pub const TICK_MS: u64 = 25;
/// Ticks without a leader after which an election starts, at least; at most twice as many.
const ELECTION_TICKS: usize = 20;
/// Ticks between two heartbeats of a leader.
const HEARTBEAT_TICKS: usize = 4;

/// What was found on the disk, or the founding state of a new group.
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
            term: crate::log::FOUNDING_TERM,
            commit: crate::log::FOUNDING_INDEX,
            ..HardState::default()
        };
        let base = Base {
            index: crate::log::FOUNDING_INDEX,
            term: crate::log::FOUNDING_TERM,
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
    /// that were stored before are forgotten. The data is an encoded `shoal.ledger.v1.Snapshot`; feeds that it
    /// knows to be complete are sealed by the host as after a start.
    pub snapshot: Option<Snapshot>,
    /// Entries to append; they replace what they overlap.
    pub entries: Vec<Entry>,
    /// New hard state.
    pub hard_state: Option<HardState>,
}

/// What one step of the group asks for.
#[derive(Debug, Default)]
pub struct Step {
    /// Messages that may leave at once.
    pub messages: Vec<Message>,
    /// What to store.
    pub persist: Vec<Batch>,
    /// Entries that are committed, in order.
    pub committed: Vec<Entry>,
}

/// One member of the group.
pub struct Group {
    node: RawNode<Log>,
    id: u64,
    seed: u64,
    /// Messages that promise a batch, held until it is stored.
    promises: VecDeque<(u64, Vec<Message>)>,
    /// Highest batch number that is with the disk.
    requested: u64,
    /// Highest batch number that is stored.
    stored: u64,
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
            promises: VecDeque::new(),
            requested: 0,
            stored: 0,
        };
        if alone {
            group.node.campaign()?;
        }
        group.settle_timeout();
        Ok(group)
    }

    /// Moves raft's clock by one tick.
    pub fn tick(&mut self) {
        self.node.tick();
        self.settle_timeout();
    }

    /// Takes in a message of a peer.
    ///
    /// # Errors
    /// When the message is not one that a member may send us; it then changed nothing.
    pub fn receive(&mut self, message: Message) -> raft::Result<()> {
        check(&message, self.id, &self.node)?;
        let result = self.node.step(message);
        self.settle_timeout();
        result
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
        Ok(self.node.raft.raft_log.last_index())
    }

    /// Told that every batch up to `number` is stored.
    pub fn persisted(&mut self, number: u64) {
        self.stored = self.stored.max(number);
        self.node.on_persist_ready(number);
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
            let mut ready = self.node.ready();
            step.messages.append(&mut ready.take_messages());
            step.committed.append(&mut ready.take_committed_entries());
            let number = ready.number();
            let entries = ready.take_entries();
            let hard_state = ready.hs().cloned();
            let promises = ready.take_persisted_messages();
            let store = self.node.mut_store();
            store.append(&entries);
            if let Some(hard_state) = hard_state.clone() {
                store.set_hard_state(hard_state);
            }
            // A commit index that moved alone needs no sync: it is found again from the log. It travels with the next batch.
            let needs_disk = ready.must_sync() || !entries.is_empty();
            self.node.advance_append_async(ready);
            if needs_disk {
                let hard_state = Some(hard_state.unwrap_or_else(|| self.node.raft.hard_state()));
                self.requested = number;
                step.persist.push(Batch {
                    number,
                    snapshot: None,
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
            self.node.advance_apply();
        }
        self.settle_timeout();
        step
    }

    /// Forgets entries up to `index`, which a stored snapshot covers.
    pub fn compact(&mut self, index: u64) {
        self.node.mut_store().compact(index);
    }

    /// Applies a change of membership that was committed.
    ///
    /// # Errors
    /// When the entry holds no change or raft refuses it.
    pub fn change_members(&mut self, entry: &Entry) -> raft::Result<ConfState> {
        use protobuf::Message as _;
        if entry.get_entry_type() == EntryType::EntryConfChangeV2 {
            let mut change = raft::eraftpb::ConfChangeV2::default();
            change.merge_from_bytes(&entry.data)?;
            self.node.apply_conf_change(&change)
        } else {
            let mut change = raft::eraftpb::ConfChange::default();
            change.merge_from_bytes(&entry.data)?;
            self.node.apply_conf_change(&change)
        }
    }

    /// Whether this member leads.
    pub fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Raft id of this member.
    pub fn id(&self) -> u64 {
        self.id
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
        self.node.raft.raft_log.store.term(index).unwrap_or(0)
    }

    /// How many entries are held in memory.
    pub fn log_len(&self) -> usize {
        self.node.raft.raft_log.store.len()
    }

    /// raft draws its election timeout from the thread's random numbers; this is the one place that overwrites it, so
    /// that a seed decides everything.
    fn settle_timeout(&mut self) {
        let spread = splitmix(self.seed ^ self.id.rotate_left(32) ^ self.node.raft.term)
            % ELECTION_TICKS as u64;
        self.node
            .raft
            .set_randomized_election_timeout(ELECTION_TICKS + spread as usize);
    }
}

/// Refuses a message that a member would not send us, because raft ends the process on some of them.
fn check(message: &Message, id: u64, node: &RawNode<Log>) -> raft::Result<()> {
    let raft = &node.raft;
    let known = raft.prs().conf().to_conf_state();
    let member = known.voters.contains(&message.from)
        || known.learners.contains(&message.from)
        || known.voters_outgoing.contains(&message.from);
    let local = raft::raw_node::is_local_msg(message.get_msg_type());
    let commits_too_far = message.get_msg_type() == raft::eraftpb::MessageType::MsgHeartbeat
        && message.commit > raft.raft_log.last_index();
    if message.to != id || !member || local || commits_too_far {
        return Err(raft::Error::StepPeerNotFound);
    }
    Ok(())
}

/// A well-mixed function of its argument (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn single() -> Group {
        Group::new(1, 7, Recovered::founding(&[1])).unwrap()
    }

    /// Stores what is asked for until nothing more is, and gives the committed data.
    fn settle(group: &mut Group, disk: &mut Recovered) -> Vec<Vec<u8>> {
        let mut committed = Vec::new();
        loop {
            let step = group.step();
            committed.extend(
                step.committed
                    .iter()
                    .filter(|entry| !entry.data.is_empty())
                    .map(|entry| entry.data.to_vec()),
            );
            if step.persist.is_empty() {
                return committed;
            }
            for batch in step.persist {
                if let Some(first) = batch.entries.first() {
                    disk.entries.retain(|entry| entry.index < first.index);
                }
                disk.entries.extend(batch.entries);
                disk.hard_state = batch.hard_state.unwrap();
                group.persisted(batch.number);
            }
        }
    }

    #[test]
    fn a_group_of_one_leads_and_commits_only_what_is_stored() {
        let mut group = single();
        let mut disk = Recovered::founding(&[1]);
        settle(&mut group, &mut disk);
        assert!(group.leads());
        let index = group.propose(b"a".to_vec()).unwrap();
        let step = group.step();
        assert!(
            step.committed.is_empty(),
            "nothing is committed before it is stored"
        );
        assert_eq!(step.persist.len(), 1);
        group.persisted(step.persist[0].number);
        let step = group.step();
        assert_eq!(
            step.committed
                .iter()
                .map(|entry| entry.index)
                .collect::<Vec<_>>(),
            [index]
        );
    }

    #[test]
    fn a_restart_commits_again_what_was_stored() {
        let mut group = single();
        let mut disk = Recovered::founding(&[1]);
        settle(&mut group, &mut disk);
        for data in [b"a", b"b", b"c"] {
            group.propose(data.to_vec()).unwrap();
        }
        assert_eq!(settle(&mut group, &mut disk), [b"a", b"b", b"c"]);
        let term = group.term();
        let mut again = Group::new(1, 7, disk.clone()).unwrap();
        assert_eq!(settle(&mut again, &mut disk), [b"a", b"b", b"c"]);
        assert!(again.leads() && again.term() > term);
    }

    #[test]
    fn messages_of_strangers_are_refused() {
        let mut group = single();
        let mut message = Message {
            from: 9,
            to: 1,
            ..Message::default()
        };
        message.set_msg_type(raft::eraftpb::MessageType::MsgAppend);
        assert!(group.receive(message).is_err());
    }

    #[test]
    fn a_follower_takes_no_proposals() {
        let mut group = Group::new(1, 7, Recovered::founding(&[1, 2, 3])).unwrap();
        assert!(group.propose(b"a".to_vec()).is_err());
    }
}
