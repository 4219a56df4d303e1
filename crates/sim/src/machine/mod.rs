//! A worker's machine: programs and directories that outlive the daemon, and the daemon around the real mind.

mod blobs;
mod daemon;
mod directory;
mod hands;
mod program;
mod transfers;

use std::collections::BTreeMap;

use worker::{ExitReason, Fence};

pub(crate) use blobs::{Blobs, digest};
pub(crate) use program::Program;

use crate::chance::Chance;
use crate::checkers::Fact;
use crate::coordinator::GRACE_MS;
use crate::event::{Event, Life, MachineId, OnDaemon, OnProgram};
use crate::stage::Stage;
use crate::swarm::SECOND;
use blobs::Service;
use daemon::Daemon;
use directory::Directory;
use program::Action;

/// See the module's words.
pub(crate) struct Machine {
    id: MachineId,
    disk: BTreeMap<Fence, Directory>,
    daemon: Option<Daemon>,
    /// What it was told of its cluster.
    cluster: worker::Cluster,
    /// Counts the lives of its daemon; also the incarnation, which is durable.
    life: Life,
    /// Counts the lives of the machine.
    boot: Life,
    /// What happens while its daemon stands still, in order; none while it runs.
    parked: Option<Vec<OnDaemon>>,
    /// It has left for good.
    is_gone: bool,
    /// Its daemon crashes when it is given something to do the next time.
    pub(crate) crashes_at_work: bool,
    /// How far its clock is off.
    pub(crate) clock_us: i64,
}

/// What a machine is called, which is also its address.
pub(crate) fn name(id: MachineId) -> String {
    format!("w{}", id + 1)
}

/// The machine of that name.
pub(crate) fn id_of(name: &str) -> Option<MachineId> {
    name.strip_prefix('w')?
        .parse::<MachineId>()
        .ok()?
        .checked_sub(1)
}

impl Machine {
    pub(crate) fn new(id: MachineId) -> Self {
        Self {
            id,
            disk: BTreeMap::new(),
            daemon: None,
            cluster: worker::Cluster::default(),
            life: 0,
            boot: 1,
            parked: None,
            is_gone: false,
            crashes_at_work: false,
            clock_us: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.daemon.is_some()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// The machine, which is down, is taken away with all that is on its disk.
    pub(crate) fn leave(&mut self, stage: &mut Stage) {
        stage.news(format_args!("{} leaves", name(self.id)));
        self.is_gone = true;
        self.disk.clear();
        stage.blobs.wipe(self.id);
    }

    /// What is left on it, in words: nothing when all is done.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let directories = self
            .disk
            .keys()
            .map(|fence| format!("{} has {fence}", name(self.id)));
        let attempts = self.daemon.as_ref().map_or(0, Daemon::attempt_count);
        let known = (attempts > 0).then(|| format!("{} knows {attempts} attempts", name(self.id)));
        directories.chain(known).collect()
    }

    /// The machine goes down with all that runs on it.
    pub(crate) fn reboot(&mut self, stage: &mut Stage) {
        stage.news(format_args!("{} goes down", name(self.id)));
        self.crash_daemon(stage);
        self.boot += 1;
        let mut chance = Chance::new(stage.now_us() ^ self.id as u64);
        stage.blobs.tear(self.id, &mut chance);
        for (fence, directory) in &mut self.disk {
            if directory.program.take().is_some() {
                stage.sometimes("a program died with its machine");
                stage.show(&Fact::Ended {
                    fence: *fence,
                    exit: None,
                });
            }
        }
    }

    /// The daemon stands still: nothing is lost, nothing happens; its programs go on.
    pub(crate) fn pause(&mut self, stage: &mut Stage) -> bool {
        if self.daemon.is_none() || self.parked.is_some() {
            return false;
        }
        stage.news(format_args!("{} stands still", name(self.id)));
        self.parked = Some(Vec::new());
        stage.blobs.serve(self.id, Service::Silent);
        true
    }

    /// The daemon goes on, with all that has come meanwhile.
    pub(crate) fn resume(&mut self, stage: &mut Stage) {
        let Some(parked) = self.parked.take() else {
            return;
        };
        stage.news(format_args!("{} goes on", name(self.id)));
        stage.blobs.serve(self.id, Service::Answers);
        if self
            .disk
            .values()
            .any(|directory| directory.program.is_some())
        {
            stage.sometimes("a daemon slept while its program ran");
        }
        for event in parked {
            stage.after(0, Event::Daemon(self.id, self.life, event));
        }
    }

    /// Keeps what happens to a daemon that stands still for later.
    pub(crate) fn parks(&mut self, life: Life, event: OnDaemon) -> bool {
        match &mut self.parked {
            Some(parked) if life == self.life => {
                parked.push(event);
                true
            }
            _ => false,
        }
    }

    /// Something happens in a program.
    pub(crate) fn on_program(
        &mut self,
        stage: &mut Stage,
        boot: Life,
        fence: Fence,
        event: OnProgram,
    ) {
        let Some(directory) = self
            .disk
            .get_mut(&fence)
            .filter(|directory| boot == self.boot && directory.program.is_some())
        else {
            return;
        };
        match event {
            OnProgram::Go => self.step(stage, fence),
            OnProgram::Terminate(grace_us) => {
                let Some(program) = directory
                    .program
                    .as_mut()
                    .filter(|program| !program.is_ending)
                else {
                    return;
                };
                program.is_ending = true;
                if program.is_stubborn {
                    stage.after(
                        grace_us,
                        Event::Program(self.id, boot, fence, OnProgram::Kill(ExitReason::Stopped)),
                    );
                } else {
                    stage.sometimes("a program was stopped gracefully");
                    self.end(stage, fence, ExitReason::Stopped, None);
                }
            }
            OnProgram::Kill(reason) => {
                let is_stubborn = directory
                    .program
                    .as_ref()
                    .is_some_and(|program| program.is_stubborn && program.is_ending);
                if is_stubborn && reason == ExitReason::Stopped {
                    stage.sometimes("a program had to be killed after its grace");
                }
                if reason == ExitReason::TimeLimit {
                    stage.sometimes("a program ran into its time limit");
                }
                self.end(stage, fence, reason, None);
            }
        }
    }

    /// A program does its next thing.
    fn step(&mut self, stage: &mut Stage, fence: Fence) {
        let now = stage.unix_us(self.clock_us);
        let Some(directory) = self.disk.get_mut(&fence) else {
            return;
        };
        let Some(program) = &mut directory.program else {
            return;
        };
        let mut pause = stage.chance.delay(10..3_000);
        match program.step() {
            Action::Work(us) => pause = us,
            Action::Stubborn => program.is_stubborn = true,
            Action::Heavy => program.is_heavy = true,
            Action::Print(number) => {
                pause = stage.chance.delay(10..50_000);
                self.print(stage, fence, now, format!("line {number} of {fence}\n"));
            }
            Action::Metric(key, value) => {
                self.print(stage, fence, now, format!("{{\"{key}\": {value}}}\n"))
            }
            Action::Write(file) => {
                let output = directory.write(fence, &file, stage.swarm.large_outputs);
                stage.show(&Fact::Wrote {
                    fence,
                    output: &output,
                });
            }
            Action::Flaky(permille) if !stage.chance.permille(permille) => {}
            Action::Flaky(_) => return self.end(stage, fence, ExitReason::Exited, Some(1)),
            Action::Exit(code) => return self.end(stage, fence, ExitReason::Exited, Some(code)),
        }
        stage.after(
            pause,
            Event::Program(self.id, self.boot, fence, OnProgram::Go),
        );
    }

    fn print(&mut self, stage: &mut Stage, fence: Fence, now_us: u64, line: String) {
        let Some(directory) = self.disk.get_mut(&fence) else {
            return;
        };
        let batch = directory.print(now_us, line);
        stage.show(&Fact::Printed {
            fence,
            batch: &batch,
        });
        self.notify(stage, fence);
    }

    fn end(&mut self, stage: &mut Stage, fence: Fence, reason: ExitReason, code: Option<i32>) {
        let now = stage.unix_us(self.clock_us);
        let Some(directory) = self.disk.get_mut(&fence) else {
            return;
        };
        let exit = directory.end(now, reason, code);
        stage.news(format_args!(
            "{} {fence} ended: {:?} {:?}",
            name(self.id),
            exit.reason,
            exit.code
        ));
        stage.show(&Fact::Ended {
            fence,
            exit: Some(&exit),
        });
        if self.daemon.is_none() {
            stage.sometimes("a program ended while its daemon was down");
        }
        self.notify(stage, fence);
    }

    /// The shim lets the daemon know that there is something to look at.
    fn notify(&mut self, stage: &mut Stage, fence: Fence) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        if daemon.looks.insert(fence) {
            let delay = stage.chance.delay(50..20_000);
            stage.after(
                delay,
                Event::Daemon(self.id, self.life, OnDaemon::Look(fence)),
            );
        }
    }

    /// Asks a program to end, or kills it.
    fn signal(&self, stage: &mut Stage, fence: Fence, how: worker::Stop) {
        let is_wanted = matches!(how, worker::Stop::Graceful);
        stage.show(&Fact::Signalled { fence, is_wanted });
        let event = match how {
            worker::Stop::Graceful => OnProgram::Terminate(GRACE_MS * 1_000),
            worker::Stop::Kill => {
                stage.sometimes("a program was killed because nobody wanted it");
                OnProgram::Kill(ExitReason::Stopped)
            }
        };
        let program = self.disk.get(&fence);
        let program = program.and_then(|directory| directory.program.as_ref());
        let delay = match program.is_some_and(|program| program.is_heavy) {
            true => stage.chance.between(SECOND / 4..SECOND / 2),
            false => stage.chance.delay(10..5_000),
        };
        stage.after(delay, Event::Program(self.id, self.boot, fence, event));
    }
}
