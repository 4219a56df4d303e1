//! What a daemon does: it hands the mind what happens, and carries out what the mind asks for.

use contract::link::{AssignedFile, ResolvedFile, ResolvedInput};
use worker::{CollectError, Exit, ExitReason, Fence, Input, Output};

use super::blobs::digest;
use super::directory::{Directory, Mark, contents};
use super::{Machine, Program, name};
use crate::Bug;
use crate::checkers::Fact;
use crate::event::{ConnectionId, Event, Life, Message, OnDaemon, OnProgram};
use crate::network::Network;
use crate::stage::Stage;

impl Machine {
    /// Something happens in the daemon.
    pub(crate) fn on_daemon(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        life: Life,
        event: OnDaemon,
    ) {
        if life != self.life || self.daemon.is_none() {
            return;
        }
        if let Some(parked) = &mut self.parked {
            return parked.push(event);
        }
        match event {
            OnDaemon::Wake => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.wake_us = None;
                }
                self.handle(stage, Some(network), Input::Tick);
            }
            // The world sees to it: it takes two to connect.
            OnDaemon::Dial(..) => {}
            OnDaemon::Arrive(connection, message) if self.speaks_on(life, connection) => {
                self.arrive(stage, network, connection, *message);
            }
            OnDaemon::Arrive(..) => {}
            OnDaemon::Gone(connection) => self.disconnected(stage, network, connection),
            OnDaemon::Look(fence) => self.look(stage, network, fence),
            OnDaemon::Fetch(fence, attempt) => self.fetch(stage, network, fence, attempt),
            OnDaemon::Keep(file) => self.keep_copy(stage, network, &file),
            OnDaemon::Served(digest, ask) => self.served(stage, network, digest, ask),
            OnDaemon::Due(digest) => self.due(stage, network, digest),
            OnDaemon::Named(digest) => self.named(stage, network, digest),
            OnDaemon::Start(fence) => self.start_program(stage, network, fence),
            OnDaemon::Collected(fence) => self.collected(stage, network, fence),
            OnDaemon::Input(input) => self.handle(stage, Some(network), *input),
        }
    }

    /// A coordinator says something.
    fn arrive(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        connection: ConnectionId,
        message: Message,
    ) {
        match message {
            Message::Desired(desired) => self.desired(stage, network, *desired),
            Message::Stored(fence, next) => self.stored(stage, network, connection, (fence, next)),
            Message::Refused(leader) => self.refused(stage, network, connection, leader),
            Message::State(_) | Message::Push(..) => {}
        }
    }

    /// Reads what is new of a feed, then whether the program ended.
    fn look(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence) {
        let (Some(daemon), Some(directory)) = (&mut self.daemon, self.disk.get(&fence)) else {
            return;
        };
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
        let batch = directory
            .read_from(from)
            .filter(|batch| !batch.is_empty() && !skips);
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

    fn start_program(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence) {
        let start_time_us = stage.unix_us(self.clock_us);
        let Some(directory) = self.disk.get_mut(&fence) else {
            return;
        };
        if stage.has_trouble() {
            let outcome = Err("no process is to be had".to_owned());
            return self.handle(stage, Some(network), Input::Launched { fence, outcome });
        }
        directory.program = Some(Program::new(&directory.assignment.commands));
        stage.tally.operations += 1;
        let assignment = &directory.assignment;
        stage.news(format_args!(
            "{} {fence} runs {}",
            name(self.id),
            assignment.step
        ));
        stage.show(&Fact::Started {
            machine: self.id,
            fence,
            assignment,
        });
        let limit_us = assignment.time_limit_ms * 1_000;
        if limit_us > 0 {
            let event = OnProgram::Kill(ExitReason::TimeLimit);
            stage.after(limit_us, Event::Program(self.id, self.boot, fence, event));
        }
        stage.after(0, Event::Program(self.id, self.boot, fence, OnProgram::Go));
        self.handle(
            stage,
            Some(network),
            Input::Launched {
                fence,
                outcome: Ok(start_time_us),
            },
        );
    }

    fn collected(&mut self, stage: &mut Stage, network: &mut Network, fence: Fence) {
        let Some(directory) = self.disk.get(&fence) else {
            return;
        };
        if stage.has_trouble() {
            let outcome = match stage.chance.permille(500) {
                true => Err(CollectError::DiskFull("the disk is full".to_owned())),
                false => Err(CollectError::Failed("the disk gave an error".to_owned())),
            };
            return self.handle(stage, Some(network), Input::Collected { fence, outcome });
        }
        let mut outputs = directory.outputs();
        if !stage.has(Bug::OutputsNotStored) {
            for output in &outputs {
                let bytes = contents(fence, &output.file_name, stage.swarm.large_outputs);
                stage.blobs.keep(self.id, digest(&output.digest), bytes);
            }
        }
        if stage.has(Bug::LoseAnOutput) {
            outputs.pop();
        }
        self.handle(
            stage,
            Some(network),
            Input::Collected {
                fence,
                outcome: Ok(outputs),
            },
        );
    }

    /// Hands an input to the mind and does what it asks for. Without a network there is no connection to speak on.
    pub(super) fn handle(
        &mut self,
        stage: &mut Stage,
        network: Option<&mut Network>,
        input: Input,
    ) {
        let now_us = stage.unix_us(self.clock_us);
        let Some(daemon) = &mut self.daemon else {
            return;
        };
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
        let is_work = matches!(
            output,
            Output::Prepare { .. } | Output::Launch { .. } | Output::Collect { .. }
        );
        if is_work && std::mem::take(&mut self.crashes_at_work) {
            let delay = stage.chance.delay(0..10_000);
            stage.after(delay, Event::CrashDaemon(id));
        }
        let Some(daemon) = &mut self.daemon else {
            return;
        };
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
                let mark = Mark {
                    prepared,
                    start_time_us: stage.unix_us(self.clock_us),
                };
                if let Some(directory) = self
                    .disk
                    .get_mut(&fence)
                    .filter(|_| !stage.has(Bug::ForgetLaunchMark))
                {
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
            Output::Push {
                fence,
                batch,
                holder,
            } => {
                let pipe = daemon.pipes.get(&holder).map(|(_, pipe)| *pipe);
                if let (Some(network), Some(pipe)) = (network, pipe) {
                    network.send(stage, pipe, Message::Push(fence, batch));
                }
            }
            Output::ReadFeed {
                fence,
                holder,
                first_record,
                offset,
                max_bytes,
            } => {
                stage.sometimes("a feed was read from its file again");
                let Some(directory) = self.disk.get(&fence) else {
                    return;
                };
                let Some(batch) = directory.read_at(first_record, offset, max_bytes) else {
                    return;
                };
                let delay = stage.chance.delay(10..2_000);
                let input = Box::new(Input::FeedRead {
                    fence,
                    holder,
                    batch,
                });
                stage.after(delay, Event::Daemon(id, life, OnDaemon::Input(input)));
            }
            Output::KeepCopy {
                digest,
                size_bytes,
                locations,
            } => {
                if stage.has(Bug::CopyTooEarly) {
                    let kept = Input::CopyKept {
                        digest,
                        outcome: Ok(()),
                    };
                    let kept = OnDaemon::Input(Box::new(kept));
                    return stage.after(0, Event::Daemon(id, life, kept));
                }
                let file = AssignedFile {
                    digest: digest.as_bytes().to_vec().into(),
                    size_bytes,
                    locations,
                    ..AssignedFile::default()
                };
                let delay = stage.chance.delay(50..20_000);
                let keep = OnDaemon::Keep(Box::new(file));
                stage.after(delay, Event::Daemon(id, life, keep));
            }
            Output::Report(state) => {
                daemon.last_report = Some((*state).clone());
                if let (Some(network), Some(connection)) = (network, daemon.session) {
                    network.send(stage, connection, Message::State(state));
                }
            }
            Output::Cluster(cluster) => self.set_cluster(stage, network, cluster),
            Output::Remove { fence } => {
                let removed = self.disk.remove(&fence);
                if removed.is_some_and(|directory| directory.program.is_some()) {
                    stage
                        .checkers
                        .violated("I-07", format!("{fence} was removed under its program"));
                }
            }
        }
    }
}

/// The end of a program that left no trace of it.
fn gone(mark: &Mark) -> Exit {
    let start_time_us = mark.start_time_us;
    Exit {
        reason: ExitReason::Gone,
        code: None,
        signal: 0,
        start_time_us,
        time_us: 0,
        record_count: 0,
    }
}

pub(super) fn resolved(directory: &Directory) -> Vec<ResolvedInput> {
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
