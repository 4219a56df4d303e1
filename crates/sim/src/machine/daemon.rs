//! The daemon of a worker: the real mind, and hands that do what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use contract::link::{Offer, ResolvedFile, ResolvedInput, SynchronizeRequest, SynchronizeResponse};
use feed::{HolderId, WriterLimits};
use worker::{Adopted, Config, Exit, ExitReason, Fence, Found, Input, Output, PrepareError, Prepared, Worker};

use super::directory::{Directory, Mark};
use super::{Machine, Program, name};
use crate::Bug;
use crate::checkers::Fact;
use crate::event::{ConnectionId, Event, Life, Message, OnDaemon, OnProgram};
use crate::network::Network;
use crate::stage::Stage;
use crate::swarm::SECOND;

/// The one coordinator that feeds go to.
const HOLDER: HolderId = HolderId(1);
/// How often an input is asked for before the attempt is given up.
const FETCHES: u32 = 4;

/// A daemon that runs.
pub(super) struct Daemon {
    mind: Worker,
    connection: Option<ConnectionId>,
    last_report: Option<SynchronizeRequest>,
    /// Records of each feed that were read from its file.
    read: BTreeMap<Fence, u64>,
    told_ended: BTreeSet<Fence>,
    /// Attempts that are about to be looked at.
    pub(super) looks: BTreeSet<Fence>,
    prepared: BTreeMap<Fence, Prepared>,
    /// When the next wake-up is planned.
    wake_us: Option<u64>,
    /// How often it has dialed since it was connected last.
    dials: u32,
}

impl Daemon {
    pub(super) fn attempt_count(&self) -> usize {
        self.mind.attempt_count()
    }
}

// Its life.
impl Machine {
    /// The daemon starts, as a new incarnation.
    pub(crate) fn start_daemon(&mut self, stage: &mut Stage) {
        if self.daemon.is_some() {
            return;
        }
        self.life += 1;
        let config = Config {
            name: name(self.id),
            incarnation: self.life,
            offer: Offer {
                address: name(self.id),
                slot_count: stage.swarm.slots,
                version: "sim".to_owned(),
                runtime: "sim".to_owned(),
                ..Offer::default()
            },
            holders: vec![HOLDER],
            limits: WriterLimits {
                window_bytes: stage.swarm.feed_bytes,
                batch_bytes: stage.swarm.feed_bytes,
                recent_bytes: stage.swarm.feed_bytes,
            },
        };
        self.daemon = Some(Daemon {
            mind: Worker::new(config),
            connection: None,
            last_report: None,
            read: BTreeMap::new(),
            told_ended: BTreeSet::new(),
            looks: BTreeSet::new(),
            prepared: BTreeMap::new(),
            wake_us: None,
            dials: 0,
        });
        stage.tally.operations += 1;
        stage.show(&Fact::DaemonStarted { machine: self.id });
        stage.blobs.serve(self.id, true);
        if self.life > 1 {
            stage.news(format_args!("{} starts again", name(self.id)));
        }
        let (adopted, launched) = self.adopt(stage);
        self.handle(stage, None, Input::Adopted(adopted));
        for fence in launched {
            self.notify(stage, fence);
        }
        stage.after(0, Event::Daemon(self.id, self.life, OnDaemon::Dial));
    }

    /// The daemon ends, at whatever point it is. Programs go on.
    pub(crate) fn crash_daemon(&mut self, stage: &mut Stage) {
        if self.daemon.take().is_none() {
            return;
        }
        stage.news(format_args!("{} crashes", name(self.id)));
        stage.show(&Fact::DaemonEnded { machine: self.id });
        stage.blobs.serve(self.id, false);
        if stage.has(Bug::ForgetDirectories) {
            self.disk.clear();
        }
    }

    /// What the disk tells of earlier incarnations, and what of it was launched.
    fn adopt(&mut self, stage: &mut Stage) -> (Vec<Adopted>, Vec<Fence>) {
        let mut adopted = Vec::new();
        let mut launched = Vec::new();
        for (fence, directory) in &self.disk {
            let found = match &directory.mark {
                None => {
                    stage.sometimes("an unstarted attempt was adopted");
                    Found::NotLaunched
                }
                Some(mark) => {
                    launched.push(*fence);
                    match (&directory.program, &directory.exit) {
                        (Some(_), _) => stage.sometimes("a running program was adopted"),
                        (None, Some(_)) => stage.sometimes("an ended program was adopted"),
                        (None, None) => stage.sometimes("a launch was cut off"),
                    }
                    Found::Launched {
                        prepared: mark.prepared.clone(),
                        start_time_us: mark.start_time_us,
                        live_outputs: Vec::new(),
                    }
                }
            };
            adopted.push(Adopted { fence: *fence, assignment: directory.assignment.clone(), found });
        }
        (adopted, launched)
    }
}

// What comes from the network.
impl Machine {
    /// Whether this daemon speaks on that connection.
    pub(crate) fn speaks_on(&self, life: Life, connection: ConnectionId) -> bool {
        life == self.life && self.daemon.as_ref().is_some_and(|daemon| daemon.connection == Some(connection))
    }

    /// A connection is open in both directions.
    pub(crate) fn connected(&mut self, stage: &mut Stage, network: &mut Network, connection: ConnectionId) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.connection = Some(connection);
        daemon.dials = 0;
        // What was said last is said again by itself.
        if let Some(last) = &daemon.last_report {
            network.send(stage, connection, Message::State(Box::new(last.clone())));
        }
        self.handle(stage, Some(network), Input::HolderConnected(HOLDER));
        self.handle(stage, Some(network), Input::Connected);
    }

    /// The daemon notices that its connection broke.
    pub(crate) fn disconnected(&mut self, stage: &mut Stage, network: &mut Network) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.connection = None;
        self.handle(stage, Some(network), Input::HolderDisconnected(HOLDER));
        self.handle(stage, Some(network), Input::Disconnected);
        if !stage.has(Bug::NeverDialAgain) {
            self.dial_later(stage);
        }
    }

    /// Dials again, each time a little later.
    pub(crate) fn dial_later(&mut self, stage: &mut Stage) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.dials += 1;
        let longest = (50_000 << daemon.dials.min(6)).min(3 * SECOND);
        let delay = stage.chance.between(longest / 2..longest);
        stage.after(delay, Event::Daemon(self.id, self.life, OnDaemon::Dial));
    }

    /// Whether a daemon of that life wants to dial.
    pub(crate) fn wants_to_dial(&self, life: Life) -> bool {
        life == self.life && self.daemon.as_ref().is_some_and(|daemon| daemon.connection.is_none())
    }

    /// Orders arrive.
    pub(crate) fn desired(&mut self, stage: &mut Stage, network: &mut Network, mut desired: SynchronizeResponse) {
        stage.show(&Fact::Told { machine: self.id, desired: &desired });
        if stage.has(Bug::DropStops) {
            desired.attempts.iter_mut().for_each(|attempt| attempt.stop = false);
        }
        self.handle(stage, Some(network), Input::Desired(desired));
    }

    /// An answer to a push arrives.
    pub(crate) fn stored(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence, next: Option<u64>) {
        let input = match next {
            Some(next_record) => Input::FeedStored { fence, holder: HOLDER, next_record },
            None => Input::FeedRefused { fence, holder: HOLDER },
        };
        self.handle(stage, Some(network), input);
    }

    /// Somebody tells the worker to take no more work, or to take it again.
    pub(crate) fn drain(&mut self, stage: &mut Stage, network: &mut Network, draining: bool) {
        self.handle(stage, Some(network), Input::Drain(draining));
    }
}

// What it does.
impl Machine {
    /// Something happens in the daemon.
    pub(crate) fn on_daemon(&mut self, stage: &mut Stage, network: &mut Network, life: Life, event: OnDaemon) {
        if life != self.life || self.daemon.is_none() {
            return;
        }
        match event {
            OnDaemon::Wake => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.wake_us = None;
                }
                self.handle(stage, Some(network), Input::Tick);
            }
            // The world sees to it: it takes two to connect.
            OnDaemon::Dial => {}
            OnDaemon::Look(fence) => self.look(stage, network, fence),
            OnDaemon::Fetch(fence, attempt) => self.fetch(stage, network, fence, attempt),
            OnDaemon::Start(fence) => self.start_program(stage, network, fence),
            OnDaemon::Collected(fence) => self.collected(stage, network, fence),
            OnDaemon::Input(input) => self.handle(stage, Some(network), *input),
        }
    }

    /// Reads what is new of a feed, then whether the program ended.
    fn look(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence) {
        let (Some(daemon), Some(directory)) = (&mut self.daemon, self.disk.get(&fence)) else { return };
        daemon.looks.remove(&fence);
        if daemon.told_ended.contains(&fence) {
            return;
        }
        let exit = match (&directory.exit, &directory.program) {
            (Some(exit), _) => Some(exit.clone()),
            (None, Some(_)) => None,
            (None, None) => directory.mark.as_ref().map(gone),
        };
        let from = daemon.read.get(&fence).copied().unwrap_or_default();
        let skips = exit.is_some() && stage.has(Bug::EndBeforeTail);
        let batch = directory.read_from(from).filter(|batch| !batch.is_empty() && !skips);
        if batch.is_some() {
            daemon.read.insert(fence, directory.records());
        }
        if exit.is_some() {
            daemon.told_ended.insert(fence);
        }
        if let Some(batch) = batch {
            self.handle(stage, Some(network), Input::FeedGrew { fence, batch });
        }
        if let Some(exit) = exit {
            self.handle(stage, Some(network), Input::Ended { fence, exit });
        }
    }

    /// Brings an attempt's inputs, if they can be had by now.
    fn fetch(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence, attempt: u32) {
        let Some(directory) = self.disk.get(&fence) else { return };
        let mut missing = None;
        for file in directory.assignment.inputs.iter().flat_map(|input| &input.files) {
            if let Err(may_come) = stage.blobs.fetch(self.id, &file.digest, &file.locations) {
                if !may_come {
                    let what = format!("{fence} needs {} from {:?}, where it is not", file.uri, file.locations);
                    stage.checkers.violated("I-18", what);
                }
                missing = Some(file.uri.clone());
            }
        }
        let outcome = match missing {
            None => Ok(Prepared { time_us: stage.unix_us(self.clock_us), inputs: resolved(directory) }),
            Some(_) if attempt < FETCHES => {
                let delay = stage.chance.between(SECOND / 2..2 * SECOND);
                return stage.after(delay, Event::Daemon(self.id, self.life, OnDaemon::Fetch(fence, attempt + 1)));
            }
            Some(uri) => {
                stage.sometimes("an input could not be fetched");
                Err(PrepareError::Fetch { message: format!("{uri} cannot be fetched"), retryable: true })
            }
        };
        if let (Ok(prepared), Some(daemon)) = (&outcome, &mut self.daemon) {
            daemon.prepared.insert(fence, prepared.clone());
        }
        self.handle(stage, Some(network), Input::Prepared { fence, outcome });
    }

    fn start_program(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence) {
        let start_time_us = stage.unix_us(self.clock_us);
        let Some(directory) = self.disk.get_mut(&fence) else { return };
        directory.program = Some(Program::new(&directory.assignment.commands));
        stage.tally.operations += 1;
        let assignment = &directory.assignment;
        stage.news(format_args!("{} {fence} runs {}", name(self.id), assignment.step));
        stage.show(&Fact::Started { machine: self.id, fence, assignment });
        let limit_us = assignment.time_limit_ms * 1_000;
        if limit_us > 0 {
            let event = OnProgram::Kill(ExitReason::TimeLimit);
            stage.after(limit_us, Event::Program(self.id, self.boot, fence, event));
        }
        stage.after(0, Event::Program(self.id, self.boot, fence, OnProgram::Go));
        self.handle(stage, Some(network), Input::Launched { fence, outcome: Ok(start_time_us) });
    }

    fn collected(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence) {
        let Some(directory) = self.disk.get(&fence) else { return };
        let mut outputs = directory.outputs();
        if !stage.has(Bug::OutputsNotStored) {
            for output in &outputs {
                stage.blobs.store(self.id, &output.digest);
            }
        }
        if stage.has(Bug::LoseAnOutput) {
            outputs.pop();
        }
        self.handle(stage, Some(network), Input::Collected { fence, outcome: Ok(outputs) });
    }

    fn handle(&mut self, stage: &mut Stage, network: Option<&mut Network>, input: Input) {
        let now_us = stage.unix_us(self.clock_us);
        let Some(daemon) = &mut self.daemon else { return };
        let outputs = daemon.mind.handle(now_us, input);
        if let Err(error) = daemon.mind.check_invariants() {
            stage.checkers.violated("worker", error);
        }
        if let Some(at) = daemon.mind.poll_wakeup() {
            let delay = at.saturating_sub(now_us);
            let due = stage.now_us() + delay;
            if daemon.wake_us.is_none_or(|planned| due < planned) {
                daemon.wake_us = Some(due);
                stage.after(delay, Event::Daemon(self.id, self.life, OnDaemon::Wake));
            }
        }
        let mut network = network;
        for output in outputs {
            stage.trace(format_args!("{} {output}", name(self.id)));
            self.perform(stage, network.as_deref_mut(), output);
        }
    }

    fn perform(&mut self, stage: &mut Stage, network: Option<&mut Network>, output: Output) {
        let (id, life) = (self.id, self.life);
        let Some(daemon) = &mut self.daemon else { return };
        match output {
            Output::Prepare { fence, assignment } => {
                self.disk.insert(fence, Directory::new(*assignment));
                let delay = stage.chance.delay(50..20_000);
                stage.after(delay, Event::Daemon(id, life, OnDaemon::Fetch(fence, 1)));
            }
            // What comes of it nevertheless is not heeded.
            Output::Abandon { .. } => {}
            Output::Launch { fence } => {
                let prepared = daemon.prepared.get(&fence).cloned().unwrap_or_default();
                let mark = Mark { prepared, start_time_us: stage.unix_us(self.clock_us) };
                if let Some(directory) = self.disk.get_mut(&fence).filter(|_| !stage.has(Bug::ForgetLaunchMark)) {
                    directory.mark = Some(mark);
                }
                let delay = stage.chance.delay(10..5_000);
                stage.after(delay, Event::Daemon(id, life, OnDaemon::Start(fence)));
            }
            Output::Stop { fence, how } => self.signal(stage, fence, how),
            Output::Collect { fence } => {
                let delay = stage.chance.delay(50..100_000);
                stage.after(delay, Event::Daemon(id, life, OnDaemon::Collected(fence)));
            }
            Output::Push { fence, batch, .. } => {
                if let (Some(network), Some(connection)) = (network, daemon.connection) {
                    network.send(stage, connection, Message::Push(fence, batch));
                }
            }
            Output::ReadFeed { fence, holder, first_record, offset, max_bytes } => {
                stage.sometimes("a feed was read from its file again");
                let Some(directory) = self.disk.get(&fence) else { return };
                let Some(batch) = directory.read_at(first_record, offset, max_bytes) else { return };
                let delay = stage.chance.delay(10..2_000);
                let input = Box::new(Input::FeedRead { fence, holder, batch });
                stage.after(delay, Event::Daemon(id, life, OnDaemon::Input(input)));
            }
            Output::Report(state) => {
                daemon.last_report = Some((*state).clone());
                if let (Some(network), Some(connection)) = (network, daemon.connection) {
                    network.send(stage, connection, Message::State(state));
                }
            }
            Output::Remove { fence } => {
                let removed = self.disk.remove(&fence);
                if removed.is_some_and(|directory| directory.program.is_some()) {
                    stage.checkers.violated("I-07", format!("{fence} was removed under its program"));
                }
            }
        }
    }
}

/// The end of a program that left no trace of it.
fn gone(mark: &Mark) -> Exit {
    let start_time_us = mark.start_time_us;
    Exit { reason: ExitReason::Gone, code: None, signal: 0, start_time_us, time_us: 0, record_count: 0 }
}

fn resolved(directory: &Directory) -> Vec<ResolvedInput> {
    let inputs = directory.assignment.inputs.iter();
    let resolved = inputs.map(|input| ResolvedInput {
        name: input.name.clone(),
        files: input
            .files
            .iter()
            .map(|file| ResolvedFile {
                file_name: file.file_name.clone(),
                uri: file.uri.clone(),
                digest: file.digest.clone(),
                size_bytes: file.size_bytes,
            })
            .collect(),
    });
    resolved.collect()
}
