//! What a message must be before raft sees it. raft ends the process on some bad input, believes an index it is told, and answers
//! whoever asks; so everything a member would never send is refused here, by name, and what only comes too late is dropped.
//!
//! Sites in raft 0.7.0 that a message could reach without this: `RaftLog::{commit_to, maybe_append, append, slice}` and
//! `Unstable::must_check_outofbounds` (indexes past the log, gaps, terms of 0), `Raft::{restore, send}` (a membership that cannot be, a
//! forwarded message with a term), `read_only` (a read without a context), `become_leader` (a vote that comes before it was asked for).

use raft::eraftpb::{ConfState, Message, MessageType};
use raft::{ProgressTracker, Raft};

use super::log::Log;

/// Longest entry that is taken, in bytes: a proposal's limit and some room.
const MAX_ENTRY_BYTES: usize = 9 << 20;
/// Most entries in one message.
const MAX_ENTRIES: usize = 1 << 20;
/// Highest term: generations of what workers are told hold it in 32 bits.
const MAX_TERM: u64 = u32::MAX as u64;
/// How far a message's term may be ahead of ours: more elections than that were never held.
const MAX_TERM_STEP: u64 = 1 << 24;
/// Length of the context of a read.
pub(super) const CONTEXT_LEN: usize = 16;
/// Most reads of other members that wait at a leader.
const MAX_READS: usize = 4_096;

/// Why a message does not reach raft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It came late or out of turn, as happens on a network. It is dropped.
    #[error("out of turn: {0}")]
    Late(&'static str),
    /// No sound member sends this.
    #[error("{0}")]
    Bad(&'static str),
}

use Unfit::{Bad, Late};

/// What of the group's own state matters beside raft's.
pub(super) struct Standing {
    /// Whether something that was promised is still on its way to the disk.
    pub(super) storing: bool,
    /// Whether a snapshot is.
    pub(super) installing: bool,
}

/// Whether raft may see the message.
pub(super) fn check(message: &Message, raft: &Raft<Log>, standing: &Standing) -> Result<(), Unfit> {
    if message.to != raft.id {
        return Err(Bad("the message is for another member"));
    }
    if message.from == 0 || message.from == raft.id {
        return Err(Bad("the message says no sender or this one"));
    }
    if message.term > MAX_TERM || message.term > raft.term.saturating_add(MAX_TERM_STEP) {
        return Err(Bad("the term is higher than any can be"));
    }
    let kind = message.get_msg_type();
    let carries = |kinds: &[MessageType]| kinds.contains(&kind);
    use MessageType as Kind;
    if !message.entries.is_empty()
        && !carries(&[Kind::MsgAppend, Kind::MsgReadIndex, Kind::MsgReadIndexResp])
    {
        return Err(Bad("a message of this type has no entries"));
    }
    if kind != Kind::MsgSnapshot && message.has_snapshot() {
        return Err(Bad("a message of this type has no snapshot"));
    }
    if (message.term == 0) != (kind == Kind::MsgReadIndex) {
        return Err(Bad("the term is missing, or one too many"));
    }
    match kind {
        Kind::MsgAppend => append(message),
        Kind::MsgHeartbeat => heartbeat(message, raft),
        Kind::MsgSnapshot => snapshot(message, raft),
        Kind::MsgAppendResponse => append_response(message, raft),
        Kind::MsgHeartbeatResponse if message.context.len() > CONTEXT_LEN => {
            Err(Bad("the context is longer than any"))
        }
        Kind::MsgHeartbeatResponse => Ok(()),
        Kind::MsgRequestVote | Kind::MsgRequestPreVote => vote_request(message),
        // A vote is asked for once everything is stored; what comes earlier answers something older.
        Kind::MsgRequestVoteResponse | Kind::MsgRequestPreVoteResponse if standing.storing => {
            Err(Late("a vote before it was asked for"))
        }
        Kind::MsgRequestVoteResponse | Kind::MsgRequestPreVoteResponse => Ok(()),
        Kind::MsgTimeoutNow if message.from != raft.leader_id || message.term != raft.term => {
            Err(Late("a handover by somebody who does not lead"))
        }
        Kind::MsgTimeoutNow if standing.installing => {
            Err(Late("a handover before a snapshot is stored"))
        }
        Kind::MsgTimeoutNow => Ok(()),
        Kind::MsgReadIndex => read(message, raft),
        Kind::MsgReadIndexResp => read_response(message, raft),
        // Proposals and handovers are never forwarded; the rest is local to a member.
        Kind::MsgHup
        | Kind::MsgBeat
        | Kind::MsgPropose
        | Kind::MsgUnreachable
        | Kind::MsgSnapStatus
        | Kind::MsgCheckQuorum
        | Kind::MsgTransferLeader => Err(Bad("a message of this type never leaves a member")),
    }
}

fn append(message: &Message) -> Result<(), Unfit> {
    let entries = &message.entries;
    // raft takes an entry past the end of the log for one of term 0.
    if (message.log_term == 0) != (message.index == 0) {
        return Err(Bad(
            "an entry before the first has a term, or another has none",
        ));
    }
    if message.log_term > message.term || entries.len() > MAX_ENTRIES {
        return Err(Bad("more entries or a higher term than can be"));
    }
    if message.index > u64::MAX >> 1 {
        return Err(Bad("the index is higher than any can be"));
    }
    let mut term = message.log_term.max(1);
    for (index, entry) in (message.index + 1..).zip(entries.iter()) {
        if entry.index != index {
            return Err(Bad("the entries are not dense"));
        }
        if entry.term < term || entry.term > message.term {
            return Err(Bad(
                "the terms of the entries fall or are ahead of the sender's",
            ));
        }
        if entry.data.len() > MAX_ENTRY_BYTES {
            return Err(Bad("an entry is larger than any may be"));
        }
        term = entry.term;
    }
    Ok(())
}

fn heartbeat(message: &Message, raft: &Raft<Log>) -> Result<(), Unfit> {
    if message.context.len() > CONTEXT_LEN {
        return Err(Bad("the context is longer than any"));
    }
    if message.term >= raft.term && message.commit > raft.raft_log.last_index() {
        // The leader remembers more of this member than it has: its disk was put back or lost (I-13).
        return Err(Bad("the commit index is past this member's log"));
    }
    Ok(())
}

fn snapshot(message: &Message, raft: &Raft<Log>) -> Result<(), Unfit> {
    let metadata = message.get_snapshot().get_metadata();
    if metadata.index == 0 || metadata.index > u64::MAX >> 1 {
        return Err(Bad("the snapshot has no index that can be"));
    }
    if metadata.term == 0 || metadata.term > message.term {
        return Err(Bad("the snapshot has no term that can be"));
    }
    if !is_possible(metadata.get_conf_state()) {
        return Err(Bad("the snapshot has a membership that cannot be"));
    }
    if metadata.index < raft.raft_log.committed {
        return Err(Late("a snapshot of what is known"));
    }
    Ok(())
}

/// Whether raft can take up this membership and gets the same out of it.
fn is_possible(members: &ConfState) -> bool {
    let ids = || {
        members
            .voters
            .iter()
            .chain(&members.learners)
            .chain(&members.voters_outgoing)
            .chain(&members.learners_next)
    };
    // raft restores step by step and knows no limit of its own.
    if members.voters.is_empty() || ids().count() > 256 || ids().any(|id| *id == 0) {
        return false;
    }
    let distinct = |ids: &[u64]| {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() == ids.len()
    };
    let among = |ids: &[u64], others: &[u64]| ids.iter().any(|id| others.contains(id));
    let joint = !members.voters_outgoing.is_empty();
    distinct(&members.voters)
        && distinct(&members.learners)
        && distinct(&members.voters_outgoing)
        && distinct(&members.learners_next)
        && !among(&members.learners, &members.voters)
        && !among(&members.learners, &members.voters_outgoing)
        && !among(&members.learners_next, &members.voters)
        && members
            .learners_next
            .iter()
            .all(|id| members.voters_outgoing.contains(id))
        && (joint || (!members.auto_leave && members.learners_next.is_empty()))
}

fn append_response(message: &Message, raft: &Raft<Log>) -> Result<(), Unfit> {
    let last = raft.raft_log.last_index();
    if message.term < raft.term {
        return Err(Late("an answer to an earlier leader"));
    }
    // A leader that crashed may have lost entries that others have acknowledged; it hears of them as a follower.
    let leads = raft.state == raft::StateRole::Leader && message.term == raft.term;
    let past = [message.index, message.reject_hint, message.request_snapshot];
    if leads && past.iter().any(|index| *index > last) {
        return Err(Bad("the answer is about entries past this log"));
    }
    Ok(())
}

fn vote_request(message: &Message) -> Result<(), Unfit> {
    if message.index > u64::MAX >> 1 || message.log_term > message.term {
        return Err(Bad("the candidate's log cannot be"));
    }
    if message.context.len() > CONTEXT_LEN || message.priority < 0 {
        return Err(Bad("the candidate's context or priority cannot be"));
    }
    Ok(())
}

fn read(message: &Message, raft: &Raft<Log>) -> Result<(), Unfit> {
    let [entry] = message.get_entries() else {
        return Err(Bad("a read has one context"));
    };
    if entry.data.len() != CONTEXT_LEN {
        return Err(Bad("the context of a read has another length"));
    }
    if raft.state != raft::StateRole::Leader {
        // raft would forward it, and two members that take each other for the leader would do so for ever.
        return Err(Late("a read at a member that does not lead"));
    }
    if raft.pending_read_count() >= MAX_READS {
        return Err(Late("a read too many"));
    }
    Ok(())
}

fn read_response(message: &Message, raft: &Raft<Log>) -> Result<(), Unfit> {
    if message.from != raft.leader_id || message.term != raft.term {
        return Err(Late("a read answered by somebody who does not lead"));
    }
    match message.get_entries() {
        [entry] if entry.data.len() == CONTEXT_LEN => Ok(()),
        _ => Err(Bad("the answer to a read has one context")),
    }
}

/// Whether a member of this raft group sent it, as far as raft knows. While membership changes, raft needs to hear members that it
/// does not know yet: whoever asks decides about those.
pub(super) fn is_member(from: u64, members: &ProgressTracker) -> bool {
    let conf = members.conf();
    conf.voters().contains(from) || conf.learners().contains(&from)
}

/// Whether this is what a member may say to one that does not know it yet: that it leads, or wants to.
pub(super) fn is_first_word(message: &Message) -> Result<(), Unfit> {
    match message.get_msg_type() {
        MessageType::MsgAppend
        | MessageType::MsgHeartbeat
        | MessageType::MsgSnapshot
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestPreVote => Ok(()),
        _ => Err(Late("an answer of somebody who was never asked")),
    }
}
