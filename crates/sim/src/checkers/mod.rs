//! Who watches whether promises are kept. A checker sees everything that happens, knows nothing of how the minds work, and says in
//! words what was broken. Each stands for one invariant of the project's list.

mod acked;
mod attempts;
mod bytes;
mod cancel;
mod copies;
mod devices;
mod features;
mod holders;
mod linear;
mod lives;
mod logs;
mod metadata;
mod order;
mod outputs;
mod replay;
mod requests;
mod restarts;
mod sound;
mod stale;
mod stuck;
mod votes;

use std::collections::BTreeMap;
use std::fmt;

use ::coordinator::{Answer, Refusal, Request};
use blob::Digest;
use contract::link::{Assignment, OutputFile, SynchronizeResponse};
use feed::{Batch, Seal};
use ledger::Ledger;
use worker::{Exit, Fence};

pub(crate) use copies::COPY_ID;

use crate::clients::{History, OpId};
use crate::coordinator::{Coordinators, Disk, Key};
use crate::event::{CoordinatorId, MachineId};
use crate::machine::Blobs;

/// Something that happened, as somebody who sees everything sees it.
#[derive(Debug)]
pub(crate) enum Fact<'a> {
    /// An answer left the coordinator, whether it arrives or not.
    Answered {
        op: OpId,
        request: &'a Request,
        result: &'a Result<Answer, Refusal>,
        ledger: &'a Ledger,
    },
    /// A coordinator publishes a ledger; `replay` is its disk.
    Published {
        coordinator: CoordinatorId,
        ledger: &'a Ledger,
        replay: &'a Disk,
        /// Nobody has published this revision before, nor a later one.
        is_newest: bool,
    },
    /// A worker's daemon started.
    DaemonStarted { machine: MachineId },
    /// A worker's daemon ended.
    DaemonEnded { machine: MachineId },
    /// Orders arrived at a daemon.
    Told {
        machine: MachineId,
        desired: &'a SynchronizeResponse,
    },
    /// A program started.
    Started {
        machine: MachineId,
        fence: Fence,
        assignment: &'a Assignment,
    },
    /// A program was asked to end, or killed.
    Signalled {
        fence: Fence,
        /// A coordinator wants the attempt, to stop.
        is_wanted: bool,
    },
    /// A program ended, or died with its machine.
    Ended {
        fence: Fence,
        exit: Option<&'a Exit>,
    },
    /// A program printed.
    Printed { fence: Fence, batch: &'a Batch },
    /// A program wrote an output.
    Wrote {
        fence: Fence,
        output: &'a OutputFile,
    },
    /// A machine has fetched a blob from others, and gives it its name.
    Fetched {
        machine: MachineId,
        digest: Digest,
        bytes: &'a [u8],
    },
    /// Records are on a coordinator's disk.
    Stored {
        coordinator: CoordinatorId,
        key: Key,
        batch: &'a Batch,
    },
    /// Records from this one on are forgotten by a coordinator.
    Cut {
        coordinator: CoordinatorId,
        key: Key,
        from: u64,
    },
    /// A bit of a feed is not what was written any more.
    Flipped {
        coordinator: CoordinatorId,
        key: Key,
    },
    /// A coordinator tells a worker that it has stored all records before `next`.
    Promised {
        coordinator: CoordinatorId,
        key: Key,
        next: u64,
    },
    /// A member tells for whom it votes.
    Voted {
        member: u64,
        term: u64,
        candidate: u64,
    },
    /// A coordinator starts with a program that knows so much.
    Installed {
        coordinator: CoordinatorId,
        level: u32,
    },
    /// All that was on a coordinator's disk is gone.
    DiskLost { coordinator: CoordinatorId },
    /// A feed is sealed at a coordinator.
    Sealed { key: Key, seal: Seal },
    /// A subscriber that has had all before `next` gets records.
    Delivered {
        coordinator: CoordinatorId,
        key: Key,
        next: u64,
        batch: &'a Batch,
    },
}

impl Fact<'_> {
    /// The ledger, where one was published that is newer than all before.
    fn newest_ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Published {
                ledger,
                is_newest: true,
                ..
            } => Some(ledger),
            _ => None,
        }
    }
}

/// What goes with every fact.
#[derive(Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now_us: u64,
    pub(crate) blobs: &'a Blobs,
    /// The coordinators of now, by their raft ids.
    pub(crate) members: &'a BTreeMap<u64, CoordinatorId>,
}

/// How everything stands after it was healed and given time.
pub(crate) struct Outcome<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) coordinators: &'a Coordinators,
    pub(crate) history: &'a History,
    pub(crate) blobs: &'a Blobs,
    /// What is not done, in words.
    pub(crate) unfinished: Vec<String>,
}

/// One promise under watch.
trait Checker: fmt::Debug {
    /// Code of the invariant.
    fn code(&self) -> &'static str;

    /// Looks at what happened.
    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String>;

    /// Looks at how it ended.
    fn end(&mut self, _outcome: &Outcome<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Code of the invariant.
    pub code: &'static str,
    /// What happened, in words.
    pub what: String,
    /// When, in microseconds since the run began.
    pub time_us: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {:.6} s: {}",
            self.code,
            self.time_us as f64 / 1e6,
            self.what
        )
    }
}

/// All of them, and the first promise that was broken.
#[derive(Debug)]
pub(crate) struct Checkers {
    list: Vec<Box<dyn Checker>>,
    now_us: u64,
    violation: Option<Violation>,
}

impl Checkers {
    pub(crate) fn new() -> Self {
        let list: Vec<Box<dyn Checker>> = vec![
            Box::new(acked::Acked::default()),
            Box::new(requests::Requests::default()),
            Box::new(linear::Linear),
            Box::new(replay::Replay::default()),
            Box::new(lives::Lives::default()),
            Box::new(attempts::Attempts::default()),
            Box::new(stale::Stale::default()),
            Box::new(stuck::Stuck),
            Box::new(restarts::Restarts::default()),
            Box::new(order::Order::default()),
            Box::new(cancel::Cancel::default()),
            Box::new(outputs::Outputs::default()),
            Box::new(bytes::Bytes),
            Box::new(holders::Holders::default()),
            Box::new(logs::Logs::default()),
            Box::new(devices::Devices::default()),
            Box::new(metadata::Metadata::default()),
            Box::new(copies::Copies),
            Box::new(votes::Votes::default()),
            Box::new(features::Features::default()),
            Box::new(sound::Sound),
        ];
        Self {
            list,
            now_us: 0,
            violation: None,
        }
    }

    pub(crate) fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) {
        self.now_us = moment.now_us;
        for at in 0..self.list.len() {
            if let Err(what) = self.list[at].see(moment, fact) {
                self.violated(self.list[at].code(), what);
            }
        }
    }

    pub(crate) fn end(&mut self, outcome: &Outcome<'_>) {
        for at in 0..self.list.len() {
            if let Err(what) = self.list[at].end(outcome) {
                self.violated(self.list[at].code(), what);
            }
        }
    }

    /// Somebody else found something broken. The first one counts: what follows is often its consequence.
    pub(crate) fn violated(&mut self, code: &'static str, what: String) {
        let time_us = self.now_us;
        self.violation.get_or_insert(Violation {
            code,
            what,
            time_us,
        });
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }
}
