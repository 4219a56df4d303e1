//! All that can happen in a run.

use contract::link::{SynchronizeRequest, SynchronizeResponse};
use coordinator::{Answer, Refusal};
use feed::Batch;
use worker::{ExitReason, Fence, Input};

use crate::clients::{OpId, SubscriberId};
use crate::swarm::Fault;

/// Number of a connection; never used again.
pub(crate) type ConnectionId = u64;

/// Position of a machine.
pub(crate) type MachineId = usize;

/// Counts the lives of a process or machine: what was planned in an earlier life no longer happens.
pub(crate) type Life = u64;

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// In the coordinator's process, if it is still the same.
    Coordinator(Life, OnCoordinator),
    /// The coordinator's process ends.
    CrashCoordinator,
    /// A worker's daemon ends.
    CrashDaemon(MachineId),
    /// Whoever runs the coordinator starts it again.
    StartCoordinator,
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
    /// The disk has written the records that were given to it.
    FeedsStored,
    /// A snapshot is on the disk.
    SnapshotStored(Box<crate::coordinator::Stored>),
    /// A caller's request arrives.
    Request(OpId),
}

/// What happens in a worker's daemon.
#[derive(Debug)]
pub(crate) enum OnDaemon {
    /// The mind asked to be woken.
    Wake,
    /// It dials the coordinator.
    Dial,
    /// It looks what a program has printed, and whether it ended.
    Look(Fence),
    /// It looks whether an attempt's inputs can be fetched by now.
    Fetch(Fence, u32),
    /// A program is to be started, its mark written.
    Start(Fence),
    /// Outputs are stored.
    Collected(Fence),
    /// Frames were read from a feed's file.
    Input(Box<Input>),
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

/// What travels between a worker and the coordinator.
#[derive(Debug)]
pub(crate) enum Message {
    State(Box<SynchronizeRequest>),
    Desired(Box<SynchronizeResponse>),
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
    /// An answer arrives.
    Answered(OpId, Result<Answer, Refusal>),
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
    /// The coordinator's disk is as fast as ever.
    Disk,
    /// The machine takes work again.
    Drain(MachineId),
}
