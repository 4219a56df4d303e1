//! All that can happen in a run.

use blob::{Ask, Digest};
use contract::link::{AssignedFile, SynchronizeRequest, SynchronizeResponse};
use coordinator::feeds::Copies;
use coordinator::{Answer, Refusal, Token};
use feed::Batch;
use worker::{ExitReason, Fence, Input};

use check::models::Phase;

use crate::clients::{OpId, ReadId, SubscriberId};
use crate::coordinator::{Fetch, Key};
use crate::swarm::Fault;

/// Number of a connection; never used again.
pub(crate) type ConnectionId = u64;

/// Position of a machine.
pub(crate) type MachineId = usize;

/// Position of a coordinator. Its raft id is another one each time its disk was lost.
pub(crate) type CoordinatorId = usize;

/// Counts the lives of a process or machine: what was planned in an earlier life no longer happens.
pub(crate) type Life = u64;

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// In a coordinator's process, if it is still the same.
    Coordinator(CoordinatorId, Life, OnCoordinator),
    /// Something reaches a coordinator, whichever of its lives it is in.
    ToCoordinator(CoordinatorId, OnCoordinator),
    /// A coordinator's process ends.
    CrashCoordinator(CoordinatorId),
    /// A worker's daemon ends.
    CrashDaemon(MachineId),
    /// Whoever runs the coordinator starts it again.
    StartCoordinator(CoordinatorId),
    /// In a worker's daemon, if it is still the same.
    Daemon(MachineId, Life, OnDaemon),
    /// Whoever runs the daemon starts it again.
    StartDaemon(MachineId),
    /// In a program, if its machine was not started again since.
    Program(MachineId, Life, Fence, OnProgram),
    /// A message reaches the other end of its connection.
    Arrive(ConnectionId, Message),
    /// One end of a connection notices that it is broken.
    Notice(ConnectionId, End),
    /// A client does something.
    Client(OnClient),
    /// A fault happens, and plans the next of its kind.
    Fault(Fault),
    /// The clocks of all machines and disks go as they should again.
    Recover(Recovery),
    /// Everything is healed from now on.
    Heal,
    /// A look whether all is done.
    Look,
}

/// What happens in a coordinator's process.
#[derive(Debug)]
pub(crate) enum OnCoordinator {
    /// Raft's clock.
    Tick,
    /// The loop takes a turn.
    Poll,
    /// The disk has written what was given to it.
    Stored,
    /// The disk has written the records that were given to it, or they did not fit.
    FeedsStored(bool),
    /// A snapshot is on the disk.
    SnapshotStored(Box<crate::coordinator::Stored>),
    /// A caller's request arrives.
    Request(OpId),
    /// A caller asks for a fresh ledger.
    Read(ReadId),
    /// A caller should have an answer by now.
    Overdue(Token),
    /// A message of another coordinator arrives.
    Peer(Box<raft::eraftpb::Message>),
    /// It is about to stop and hands leadership over first.
    StepDown,
    /// A snapshot to a member was sent, and arrived or did not.
    SnapshotSent(u64, bool),
    /// A worker's message arrives.
    Arrive(ConnectionId, Box<Message>),
    /// A worker's connection is found to be broken.
    Gone(ConnectionId),
    /// The keeper of feeds looks at the ledger, as it does all the time.
    FeedTick,
    /// The keeper of feeds asked to be woken.
    FeedWake,
    /// Another coordinator asks for records of a feed.
    Asked(Fetch),
    /// What another coordinator was asked for arrives.
    Given(u64, Box<Copies>),
    /// Another coordinator that was asked has not answered for too long, or cannot be reached.
    FetchOver(u64),
    /// Somebody has come upon a record of a feed whose checksum does not match.
    Damaged(Key, u64),
}

/// What happens in a worker's daemon.
#[derive(Debug)]
pub(crate) enum OnDaemon {
    /// The mind asked to be woken.
    Wake,
    /// It dials a coordinator, for the conversation or to push records.
    Dial(CoordinatorId, Purpose),
    /// It looks what a program has printed, and whether it ended.
    Look(Fence),
    /// It brings an attempt's inputs.
    Fetch(Fence, u32),
    /// It brings a copy that is to be kept.
    Keep(Box<AssignedFile>),
    /// Another machine's answer about a blob arrives.
    Served(Digest, Ask<MachineId>),
    /// Time has passed for a blob that is on its way.
    Due(Digest),
    /// A blob that has come whole has its name.
    Named(Digest),
    /// A program is to be started, its mark written.
    Start(Fence),
    /// Outputs are stored.
    Collected(Fence),
    /// Frames were read from a feed's file.
    Input(Box<Input>),
    /// A coordinator's message arrives.
    Arrive(ConnectionId, Box<Message>),
    /// A connection is found to be broken.
    Gone(ConnectionId),
}

/// What happens in a program.
#[derive(Debug)]
pub(crate) enum OnProgram {
    /// It goes on with its next action.
    Go,
    /// It is asked to end; killed after this many microseconds.
    Terminate(u64),
    /// It is killed.
    Kill(ExitReason),
}

/// What a worker dials a coordinator for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The conversation about what it runs and should run: with the leader.
    Session,
    /// Records of feeds: to every coordinator.
    Pipe,
}

/// What travels between a worker and a coordinator.
#[derive(Debug)]
pub(crate) enum Message {
    State(Box<SynchronizeRequest>),
    Desired(Box<SynchronizeResponse>),
    /// The coordinator does not lead; who does, if it knows.
    Refused(Option<CoordinatorId>),
    Push(Fence, Batch),
    /// All before this record is stored; or the feed was refused.
    Stored(Fence, Option<u64>),
}

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Worker,
    Coordinator,
}

/// What clients do.
#[derive(Debug)]
pub(crate) enum OnClient {
    /// A client thinks of something to ask for.
    Think(usize),
    /// A request is sent.
    Send(OpId),
    /// A fresh ledger arrives at who asked for it: its revision and where the execution is in it.
    Fresh(ReadId, u64, Phase),
    /// An answer arrives, with where the execution was when it left.
    Answered(OpId, Result<Answer, Refusal>, Phase),
    /// A client has waited long enough for an answer to this try.
    GiveUp(OpId, u32),
    /// A subscriber asks for more of a log.
    Read(SubscriberId),
    /// A watcher asks what has changed.
    Watch(usize),
}

/// What comes back by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Recovery {
    /// A coordinator's disk is as fast as ever.
    Disk(CoordinatorId),
    /// A coordinator's process goes on.
    Resume(CoordinatorId),
    /// A worker's machine goes on.
    Wake(MachineId),
    /// A connection to something that stands still is given up.
    Keepalive(CoordinatorId),
    /// A coordinator is cut off from the others for so long, again.
    Flap(CoordinatorId, u64),
    /// The machine takes work again.
    Drain(MachineId),
    /// Whoever wants a machine back looks whether it may go.
    Leave(MachineId),
    /// Whoever runs the cluster looks what became of a request.
    Operate,
    /// A coordinator that was removed ends.
    Retire(CoordinatorId),
    /// A coordinator's program was too old for its cluster, and ended: the newest is installed.
    Reinstall(CoordinatorId),
    /// A coordinator does not start, for its disk is damaged: it is replaced.
    Replace(CoordinatorId),
    /// Somebody reads a feed at a coordinator from its beginning.
    Scrub(CoordinatorId, Key),
}
