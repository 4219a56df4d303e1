//! All that can happen to a coordinator, and all it can ask for.

use std::fmt;

use contract::link::{Fence, SynchronizeRequest, SynchronizeResponse};
use feed::Seal;
use ledger::Ledger;
use raft::eraftpb::{ConfState, Message, MessageType};

use crate::group::Batch;
use crate::pools::PoolCall;
use crate::{Answer, Refusal, Request};

/// The time at which something happened: an argument, because a mind has no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Unix time in milliseconds; goes into entries as the leader's time, decides nothing else.
    pub unix_ms: i64,
    /// Microseconds on a clock that never jumps; decides when a worker counts as lost.
    pub monotonic_us: u64,
}

/// Names one connection of a worker; chosen by the host, never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Names one waiting caller; chosen by the host, never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// One tick of raft's clock passed.
    Tick,
    /// Somebody asked for a mutation and waits for a [`Output::Reply`] with this token.
    Request {
        /// Who waits.
        token: Token,
        /// What is asked, boxed for its size.
        request: Box<Request>,
    },
    /// A worker said the whole of its state.
    WorkerState {
        /// On which connection.
        session: SessionId,
        /// What it said.
        state: Box<SynchronizeRequest>,
    },
    /// A worker's connection ended.
    WorkerGone {
        /// Which connection.
        session: SessionId,
    },
    /// Every batch up to this number is on the disk.
    Persisted {
        /// Number of the newest of them.
        number: u64,
    },
    /// A snapshot is on the disk.
    SnapshotStored {
        /// Index of the last entry in it.
        index: u64,
    },
    /// A member of the group sent a message.
    Peer {
        /// The message; checked before raft sees it. A snapshot's data, which travels beside the messages, is in it again.
        message: Box<Message>,
    },
    /// Somebody waits for a ledger that is at least as new as everything that was answered before now (I-03): an
    /// [`Output::Fresh`] with this token. Any member may be asked.
    Read {
        /// Who waits. Requests and reads share one space of tokens.
        token: Token,
    },
    /// A member has connected, and said how much it knows.
    PeerKnows {
        /// Its raft id.
        member: u64,
        /// The highest feature level that it knows.
        feature_level: u32,
    },
    /// Messages to a member were lost or could not be sent.
    Unreachable {
        /// Its raft id.
        member: u64,
    },
    /// The end of an [`Output::SendSnapshot`], whatever became of it: without it, raft waits for ever.
    SnapshotSent {
        /// To whom it was sent.
        member: u64,
        /// Whether it arrived whole. False for a failure or a time-out.
        delivered: bool,
    },
    /// This node is about to stop: hand leadership to the voter that is furthest along. The host waits until
    /// [`Coordinator::leads`](crate::Coordinator::leads) is false, or until it has waited enough.
    StepDown,
    /// What became of an [`Output::CallPool`].
    PoolAnswered {
        /// Id of the call.
        call_id: String,
        /// What was wrong, for people, if something was.
        result: Result<(), String>,
    },
}

/// A member of the group as a host needs it to keep its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Raft id.
    pub member_id: u64,
    /// `host:port` of its services; empty when nobody has said it yet.
    pub address: String,
    /// Whether it has no vote.
    pub learner: bool,
}

/// What a coordinator asks for. Outputs are to be done in the order they come; only [`Output::Persist`] and
/// [`Output::StoreSnapshot`] take long and may be done beside the loop, each answered by its input.
pub enum Output {
    /// Store a batch, then say [`Input::Persisted`]. Batches are stored in order.
    Persist(Batch),
    /// Send a message to a member. May be lost.
    Send(Box<Message>),
    /// Send a snapshot to `message.to`: the message holds its metadata and no data. The host streams the data of the stored
    /// snapshot of that index beside it, and always says [`Input::SnapshotSent`] in the end. The receiving host hands the
    /// message to its mind as [`Input::Peer`] with the data in `message.snapshot.data`.
    SendSnapshot {
        /// A `MsgSnapshot`, boxed for its size.
        message: Box<Message>,
    },
    /// Answer a caller that asked for a fresh ledger.
    Fresh {
        /// Who waits.
        token: Token,
        /// The ledger, or `NO_QUORUM`.
        result: Result<Ledger, Refusal>,
    },
    /// The membership or an address moved: keep connections to these. The member itself is among them while it is one.
    Members(Vec<MemberView>),
    /// The ledger moved: serve reads and watches from this one from now on.
    Publish(Ledger),
    /// Answer a caller. What it was told is committed.
    Reply {
        /// Who waits.
        token: Token,
        /// What to say.
        result: Result<Answer, Refusal>,
    },
    /// Tell a worker what it should run. What it says is committed.
    Desired {
        /// On which connection.
        session: SessionId,
        /// What to say.
        desired: SynchronizeResponse,
    },
    /// End a worker's connection.
    EndSession {
        /// Which.
        session: SessionId,
        /// Why.
        refusal: Refusal,
    },
    /// A feed is complete: seal it. All its records are stored.
    SealFeed {
        /// Whose feed.
        fence: Fence,
        /// Its count and digest.
        seal: Seal,
    },
    /// Write a snapshot of this ledger, then say [`Input::SnapshotStored`].
    StoreSnapshot {
        /// Index of the last entry in it.
        index: u64,
        /// Term of that entry.
        term: u64,
        /// Membership at that index.
        members: ConfState,
        /// The ledger at that index.
        ledger: Ledger,
    },
    /// A member sent something that no sound member sends; raft did not see it. The host closes the connection it came by.
    PeerRefused {
        /// Raft id that the message said.
        member: u64,
        /// What was wrong with it.
        why: &'static str,
    },
    /// Stop the process: going on would make this member's ledger another than the others' (I-04), or would need a newer version.
    /// Nothing is done from here on.
    Halt {
        /// Why, for people.
        why: String,
    },
    /// Ask who makes machines for more or fewer, and say [`Input::PoolAnswered`] in the end.
    CallPool(Box<PoolCall>),
    /// Entries up to this index may be removed from the disk.
    CompactLog {
        /// The last entry to remove.
        index: u64,
    },
}

impl Output {
    /// Sends a message of raft's; a snapshot goes its own way.
    pub(crate) fn message(message: Message) -> Self {
        let message = Box::new(message);
        match message.get_msg_type() {
            MessageType::MsgSnapshot => Self::SendSnapshot { message },
            _ => Self::Send(message),
        }
    }
}

impl fmt::Display for Output {
    /// One line for transcripts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Persist(batch) => write!(
                f,
                "persist {} ({} entries)",
                batch.number,
                batch.entries.len()
            ),
            Self::Send(message) => write!(f, "send {:?} to {}", message.get_msg_type(), message.to),
            Self::SendSnapshot { message } => write!(
                f,
                "send snapshot {} to {}",
                message.get_snapshot().get_metadata().index,
                message.to
            ),
            Self::Fresh {
                token,
                result: Ok(ledger),
            } => write!(f, "fresh {}: {}", token.0, ledger.revision()),
            Self::Fresh {
                token,
                result: Err(refusal),
            } => write!(f, "not fresh {}: {refusal}", token.0),
            Self::Members(members) => {
                write!(f, "members")?;
                for member in members {
                    let learner = if member.learner { " (learner)" } else { "" };
                    write!(f, " {}@{}{learner}", member.member_id, member.address)?;
                }
                Ok(())
            }
            Self::Publish(ledger) => write!(f, "publish {}", ledger.revision()),
            Self::Reply {
                token,
                result: Ok(answer),
            } => write!(f, "reply {}: {answer:?}", token.0),
            Self::Reply {
                token,
                result: Err(refusal),
            } => write!(f, "refuse {}: {refusal}", token.0),
            Self::Desired { session, desired } => {
                write!(f, "desired {}:", session.0)?;
                for attempt in &desired.attempts {
                    let fence = attempt.fence.clone().unwrap_or_default();
                    let known = if attempt.assignment.is_some() {
                        ""
                    } else {
                        " (known)"
                    };
                    let stop = if attempt.stop { " stop" } else { "" };
                    write!(
                        f,
                        " {}.{}{known}{stop}",
                        hex(&fence.execution_id),
                        fence.attempt
                    )?;
                }
                for copy in &desired.copies {
                    write!(
                        f,
                        " keep {} of {}",
                        hex(&copy.digest),
                        copy.locations.join(", ")
                    )?;
                }
                Ok(())
            }
            Self::EndSession { session, refusal } => {
                write!(f, "end session {}: {refusal}", session.0)
            }
            Self::SealFeed { fence, seal } => {
                write!(
                    f,
                    "seal {}.{} at {}",
                    hex(&fence.execution_id),
                    fence.attempt,
                    seal.record_count
                )
            }
            Self::StoreSnapshot { index, .. } => write!(f, "store snapshot {index}"),
            Self::PeerRefused { member, why } => write!(f, "refuse member {member}: {why}"),
            Self::Halt { why } => write!(f, "halt: {why}"),
            Self::CallPool(call) => write!(
                f,
                "ask for {} machines of {} instead of {}, without {}",
                call.wanted,
                call.environment,
                call.present,
                call.release.join(", ")
            ),
            Self::CompactLog { index } => write!(f, "compact log to {index}"),
        }
    }
}

/// The first bytes of an id, enough for a transcript.
fn hex(id: &[u8]) -> String {
    id.iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
