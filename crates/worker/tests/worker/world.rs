//! A world around one worker: a coordinator that desires, coordinators that hold feeds, and a host with a disk that survives its
//! daemon. Events come in whatever order the test draws; after each one the promises are checked.
//!
//! The coordinator never takes back a stop, and never desires again what it dropped: so does the ledger.

mod coordinators;
mod machine;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::api::{EndReason, State};
use contract::link::{
    Assignment, AttemptPhase, AttemptReport, DesiredAttempt, SynchronizeRequest,
    SynchronizeResponse,
};
use feed::{Batch, HolderId, Record, SealHasher, Stream};
use worker::{
    Adopted, Exit, ExitReason, Fence, Found, Input, Output, PrepareError, Prepared, Stop, Worker,
};

use crate::script::config;

pub(crate) const SLOTS: usize = 2;
const HOLDERS: u64 = 3;

/// A directory on the worker's disk.
#[derive(Debug, Default)]
struct Directory {
    assignment: Assignment,
    /// The mark that it was launched.
    launched: bool,
    program: Program,
    file: Vec<u8>,
    records: u64,
    collected: bool,
}

#[derive(Debug, Default, PartialEq)]
enum Program {
    #[default]
    None,
    Running,
    Ended(ExitReason),
}

/// What the daemon is about to do or to tell; gone when it crashes.
#[derive(Debug, PartialEq)]
enum Task {
    Prepare(Fence, Box<Assignment>),
    Launch(Fence),
    TellLaunched(Fence, Result<u64, String>),
    Collect(Fence),
    Read(Fence, HolderId, u64, u64, usize),
}

impl Task {
    fn fence(&self) -> Fence {
        match self {
            Task::Prepare(fence, _)
            | Task::Launch(fence)
            | Task::TellLaunched(fence, _)
            | Task::Collect(fence)
            | Task::Read(fence, ..) => *fence,
        }
    }
}

/// A coordinator that holds feeds.
#[derive(Debug, Default)]
struct Holder {
    is_up: bool,
    stored: BTreeMap<Fence, u64>,
    pushes: VecDeque<(Fence, Batch)>,
    /// The record to go on with, or a refusal.
    answers: VecDeque<(Fence, Option<u64>)>,
}

/// See the module's words.
pub(crate) struct World {
    worker: Worker,
    now: u64,
    // The machine.
    disk: BTreeMap<Fence, Directory>,
    tasks: Vec<Task>,
    tailed: BTreeMap<Fence, u64>,
    told_ended: BTreeSet<Fence>,
    // The coordinators.
    desired: BTreeMap<Fence, bool>,
    generation: u64,
    known: BTreeSet<Fence>,
    is_connected: bool,
    /// Each with the attempts that it tells the worker not to run.
    to_worker: Vec<(SynchronizeResponse, Vec<Fence>)>,
    to_coordinator: VecDeque<SynchronizeRequest>,
    holders: BTreeMap<HolderId, Holder>,
    // What is remembered for the promises.
    assigned: u8,
    launched: BTreeSet<Fence>,
    /// Attempts that the worker was told to stop or to drop.
    told_off: BTreeSet<Fence>,
    seen_generation: u64,
    pub(crate) accepted: BTreeMap<Fence, State>,
}

impl World {
    pub(crate) fn new() -> World {
        let mut world = World {
            worker: Worker::new(config(SLOTS as u32, HOLDERS)),
            now: 1_000_000,
            disk: BTreeMap::new(),
            tasks: Vec::new(),
            tailed: BTreeMap::new(),
            told_ended: BTreeSet::new(),
            desired: BTreeMap::new(),
            generation: 0,
            known: BTreeSet::new(),
            is_connected: false,
            to_worker: Vec::new(),
            to_coordinator: VecDeque::new(),
            holders: (1..=HOLDERS)
                .map(|id| (HolderId(id), Holder::default()))
                .collect(),
            assigned: 0,
            launched: BTreeSet::new(),
            told_off: BTreeSet::new(),
            seen_generation: 0,
            accepted: BTreeMap::new(),
        };
        world.handle(Input::Adopted(Vec::new()));
        world
    }

    /// One event, drawn by two numbers. Does nothing if there is none of its kind.
    pub(crate) fn event(&mut self, kind: u8, pick: usize) {
        match kind {
            0 => self.assign(),
            1 => self.stop(pick),
            2 if pick.is_multiple_of(3) => self.drop_one(pick),
            2 | 3 => self.deliver_desired(pick, false),
            4 => self.deliver_desired(pick, true),
            5 => drop(take(&mut self.to_worker, pick)),
            6 | 7 => self.deliver_report(),
            8 => drop(self.to_coordinator.pop_front()),
            9 => self.print(pick),
            10 => self.end(pick),
            11 => self.tell_ended(pick),
            12 | 13 => self.run_task(pick),
            14 => self.tail(pick),
            15 => self.holder_event(pick),
            16 => self.toggle_holder(pick),
            17 => self.toggle_link(),
            18 if pick.is_multiple_of(4) => self.crash(pick.is_multiple_of(8)),
            _ => self.pass(pick as u64 * 7_000),
        }
    }

    /// Everything works again and every program ends: brings the world to rest.
    pub(crate) fn rest(&mut self) {
        if !self.is_connected {
            self.toggle_link();
        }
        for id in 0..HOLDERS as usize {
            if !self.holders[&HolderId(id as u64 + 1)].is_up {
                self.toggle_holder(id);
            }
        }
        for _ in 0..2_000 {
            while !self.tasks.is_empty() {
                self.run_task(1);
            }
            for pick in 0..self.disk.len() {
                self.end(pick);
                self.tail(pick);
            }
            (0..self.disk.len()).for_each(|pick| self.tell_ended(pick));
            (0..HOLDERS as usize * 8).for_each(|pick| self.holder_event(pick * 2 + 1));
            while !self.to_worker.is_empty() {
                self.deliver_desired(0, false);
            }
            while !self.to_coordinator.is_empty() {
                self.deliver_report();
            }
            if self.desired.is_empty() && self.disk.is_empty() && self.worker.attempt_count() == 0 {
                return;
            }
            self.pass(10_000);
        }
        panic!(
            "no rest: desired {:?}, disk {:?}, {:?}",
            self.desired, self.disk, self.worker
        );
    }

    fn handle(&mut self, input: Input) {
        for output in self.worker.handle(self.now, input) {
            self.obey(output);
        }
        self.worker.check_invariants().unwrap();
        let running = self.disk.values().filter(|d| d.program == Program::Running);
        assert!(running.count() <= SLOTS, "more run than there are slots");
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Prepare { fence, assignment } => {
                self.tasks.push(Task::Prepare(fence, assignment))
            }
            Output::Abandon { fence } => {
                self.tasks
                    .retain(|task| !matches!(task, Task::Prepare(of, _) if *of == fence));
            }
            Output::Launch { fence } => {
                let is_told_off = self.told_off.contains(&fence);
                assert!(
                    !is_told_off,
                    "I-10: {fence} is launched after it was told off"
                );
                self.tasks.push(Task::Launch(fence));
            }
            Output::Stop { fence, how } => {
                let program = &mut self.disk.get_mut(&fence).unwrap().program;
                // A graceful stop may be ignored for long.
                if how == Stop::Kill && *program == Program::Running {
                    *program = Program::Ended(ExitReason::Stopped);
                }
            }
            Output::Collect { fence } => self.tasks.push(Task::Collect(fence)),
            Output::Push {
                fence,
                holder,
                batch,
            } => {
                batch.check().unwrap();
                let holder = self.holders.get_mut(&holder).unwrap();
                assert!(holder.is_up, "a push to nobody");
                holder.pushes.push_back((fence, batch));
            }
            Output::ReadFeed {
                fence,
                holder,
                first_record,
                offset,
                max_bytes,
            } => {
                self.tasks
                    .push(Task::Read(fence, holder, first_record, offset, max_bytes));
            }
            Output::Report(state) => {
                assert!(self.is_connected, "a report to nobody");
                state
                    .attempts
                    .iter()
                    .for_each(|report| self.check_report(report));
                self.to_coordinator.push_back(*state);
            }
            Output::Cluster(cluster) => panic!("nobody spoke of a cluster: {cluster:?}"),
            Output::KeepCopy { .. } => panic!("nobody asked for a copy"),
            Output::Remove { fence } => {
                self.tasks.retain(|task| task.fence() != fence);
                let removed = self.disk.remove(&fence);
                assert_ne!(
                    removed.map(|d| d.program),
                    Some(Program::Running),
                    "removed under a program"
                );
            }
        }
    }

    /// Finished means: outputs stored, and the whole feed on the disks of a majority.
    fn check_report(&self, report: &AttemptReport) {
        assert_eq!(
            report.result.is_some(),
            report.phase() == AttemptPhase::Finished
        );
        let Some(result) = &report.result else { return };
        let fence = fence_of(report);
        let nothing = Directory::default();
        let directory = self.disk.get(&fence).unwrap_or(&nothing);
        assert_eq!(
            result.record_count, directory.records,
            "I-21: every record counts"
        );
        let mut hasher = SealHasher::new();
        hasher.update(&directory.file, directory.records);
        assert_eq!(result.feed_digest.as_ref(), hasher.seal().digest);
        let stored = self.holders.values().filter(|holder| {
            holder.stored.get(&fence).copied().unwrap_or_default() >= directory.records
        });
        assert!(
            stored.count() as u64 > HOLDERS / 2,
            "finished before its feed was stored"
        );
        if result.state() == State::Complete {
            assert!(
                directory.collected,
                "I-18: complete before its outputs were stored"
            );
        }
    }
}

/// The fence of the `number`-th assignment. Two share an index: they were assigned by one entry.
fn fence(number: u8) -> Fence {
    Fence {
        execution_id: [number; 16],
        attempt: 1,
        index: 100 + u64::from(number / 2),
    }
}

fn fence_of(report: &AttemptReport) -> Fence {
    Fence::try_from(report.fence.as_ref().unwrap()).unwrap()
}

fn take<T>(from: &mut Vec<T>, pick: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.remove(pick % from.len()))
}

fn nth<V>(map: &BTreeMap<Fence, V>, pick: usize) -> Option<Fence> {
    map.keys().nth(pick % map.len().max(1)).copied()
}

fn nth_mut<V>(map: &mut BTreeMap<Fence, V>, pick: usize) -> Option<&mut V> {
    let len = map.len().max(1);
    map.values_mut().nth(pick % len)
}
