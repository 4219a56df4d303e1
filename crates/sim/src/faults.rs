//! What goes wrong, and how it comes right again.

use std::collections::BTreeMap;

use crate::Bug;
use crate::checkers::Fact;
use crate::coordinator::{self, Feed, Key};
use crate::event::{CoordinatorId, Event, MachineId, OnCoordinator, Recovery};
use crate::machine::{self, Machine};
use crate::network::KEEPALIVE_US;
use crate::swarm::{Fault, NEWEST_LEVEL, SECOND};
use crate::world::World;

// What happens again and again.
impl World {
    /// A fault happens, and will again.
    pub(crate) fn repeat(&mut self, fault: Fault) {
        let Some(mean_us) = self.stage.swarm.faults.get(&fault).copied() else {
            return;
        };
        let pause = self.stage.chance.between(mean_us / 4..2 * mean_us);
        self.stage.after(pause, Event::Fault(fault));
        *self.stage.tally.faults.entry(fault.name()).or_default() += 1;
        let machine = self.stage.chance.between(0..self.machines.len() as u64) as MachineId;
        let coordinator = self.any_coordinator();
        match fault {
            Fault::CrashCoordinator if self.stage.chance.permille(700) => {
                if let Some(host) = self.coordinators.get_mut(coordinator) {
                    host.crashes_at_write = true;
                }
            }
            Fault::CrashCoordinator => self.crash_coordinator_for_a_while(coordinator),
            Fault::PowerCut => {
                self.stage
                    .sometimes("the power of all coordinators was cut");
                for id in 0..self.coordinators.len() {
                    self.crash_coordinator_for_a_while(id);
                }
            }
            Fault::PauseCoordinator => {
                let length = self.stage.chance.delay(SECOND..300 * SECOND);
                self.pause_coordinator(coordinator, length);
            }
            Fault::Isolate => self.isolate(coordinator),
            Fault::Split => self.split(),
            Fault::Flap => {
                let length = self.stage.chance.between(50_000..2 * SECOND);
                for beat in 0..self.stage.chance.between(3..12) {
                    let flap = Recovery::Flap(coordinator, length / 2);
                    self.stage.after(beat * length, Event::Recover(flap));
                }
            }
            Fault::CrashDaemon if self.stage.chance.permille(500) => {
                if let Some(machine) = self.machines.get_mut(machine) {
                    machine.crashes_at_work = true;
                }
            }
            Fault::CrashDaemon => self.crash_daemon_for_a_while(machine),
            Fault::Reboot => {
                self.reboot(machine);
                let down = self.stage.chance.delay(SECOND..60 * SECOND);
                self.stage.after(down, Event::StartDaemon(machine));
            }
            Fault::PauseMachine => {
                let length = self.stage.chance.delay(SECOND..300 * SECOND);
                self.pause_machine(machine, length);
            }
            Fault::Cut if self.stage.chance.permille(500) => self.wires.network.cuts_at_push = true,
            Fault::Cut => self.wires.network.cut_machine(&mut self.stage, machine),
            Fault::Partition => {
                let length = self.stage.chance.delay(100_000..60 * SECOND);
                if self.stage.chance.permille(500) {
                    self.partition(machine, length);
                } else {
                    let network = &mut self.wires.network;
                    network.block(&mut self.stage, machine, coordinator, length);
                }
            }
            Fault::SlowDisk => {
                if let Some(host) = self.coordinators.get_mut(coordinator) {
                    host.slow_down(200);
                }
                // What comes again while the first copy of it still waits for the disk is worth seeing.
                self.wires.network.cuts_at_push |=
                    self.stage.swarm.faults.contains_key(&Fault::Cut);
                let length = self.stage.chance.between(SECOND..5 * SECOND);
                self.stage
                    .after(length, Event::Recover(Recovery::Disk(coordinator)));
            }
            Fault::FullDisk => {
                let length = self.stage.chance.delay(SECOND..30 * SECOND);
                if let Some(host) = self.coordinators.get_mut(coordinator) {
                    host.fill_disk(&mut self.stage, length);
                }
            }
            Fault::LoseDisk => self.lose_disk(coordinator),
            Fault::ChangeMembers => self.change_members(coordinator),
            Fault::Upgrade => {
                let level = 1 + self.stage.chance.between(0..NEWEST_LEVEL.into()) as u32;
                self.install(coordinator, level);
            }
            Fault::FlipBit => self.flip_bit(coordinator),
            Fault::Leave => self.leave(machine),
            Fault::ClockJump => self.set_clock(machine, coordinator),
            Fault::Drain => {
                self.drain(machine, true);
                let length = self.stage.chance.between(SECOND..20 * SECOND);
                self.stage
                    .after(length, Event::Recover(Recovery::Drain(machine)));
            }
        }
    }

    /// Mostly the leader: that is where it hurts.
    fn any_coordinator(&mut self) -> CoordinatorId {
        let any = self.stage.chance.between(0..self.coordinators.len() as u64) as CoordinatorId;
        let is_leader = self.stage.chance.permille(400);
        self.coordinators
            .leader()
            .filter(|_| is_leader)
            .unwrap_or(any)
    }

    /// Something comes right again, or the next part of a fault happens.
    pub(crate) fn recover(&mut self, recovery: Recovery) {
        match recovery {
            Recovery::Disk(id) => {
                if let Some(host) = self.coordinators.get_mut(id) {
                    host.slow_down(1);
                }
            }
            Recovery::Resume(id) => {
                if let Some(host) = self.coordinators.get_mut(id) {
                    host.resume(&mut self.stage);
                }
            }
            Recovery::Keepalive(id) => {
                if self
                    .coordinators
                    .get(id)
                    .is_some_and(|host| !host.answers())
                {
                    self.wires.network.cut_coordinator(&mut self.stage, id);
                }
            }
            Recovery::Wake(id) => {
                if let Some(machine) = self.machines.get_mut(id) {
                    machine.resume(&mut self.stage);
                }
            }
            Recovery::Flap(id, length) if !self.stage.swarm.faults.is_empty() => {
                self.stage.sometimes("a link between coordinators flapped");
                self.cut_off(id, length, true, true);
            }
            Recovery::Flap(..) => {}
            Recovery::Drain(id) => self.drain(id, false),
            Recovery::Leave(id) => self.look_at_leaving(id),
            Recovery::Operate => self.operate(),
            Recovery::Retire(id) => self.retire(id),
            Recovery::Reinstall(id) => self.install(id, NEWEST_LEVEL),
            Recovery::Replace(id) => self.take_disk(id, false),
            Recovery::Scrub(id, key) => self.scrub(id, key),
        }
    }
}

// Single faults, also for scripts.
impl World {
    pub(crate) fn crash_coordinator_for_a_while(&mut self, id: CoordinatorId) {
        if !self.coordinators.get(id).is_some_and(|host| host.is_up()) {
            return;
        }
        self.crash_coordinator(id);
        let down = self.stage.chance.delay(1_000..15 * SECOND);
        self.stage.after(down, Event::StartCoordinator(id));
    }

    /// A bit on a coordinator's disk changes: of a log, of which another has as much, or of what raft keeps. One at a time, as disks are lost.
    fn flip_bit(&mut self, id: CoordinatorId) {
        if !self.may_lose(id) {
            return;
        }
        let others = self
            .coordinators
            .members()
            .filter(|host| host.name() != coordinator::name(id));
        let others: Vec<_> = others.map(|host| host.feeds()).collect();
        let Some(host) = self.coordinators.get(id) else {
            return;
        };
        let feeds = host.feeds().iter().filter(|(key, feed)| {
            let has_it = |other: &&BTreeMap<Key, Feed>| {
                other
                    .get(key)
                    .is_some_and(|other| other.count() >= feed.count())
            };
            feed.count() > 0 && others.iter().any(has_it)
        });
        let feeds: Vec<Key> = feeds.map(|(key, _)| *key).collect();
        let feed = self.stage.chance.pick(&feeds).copied();
        let of_raft = self.stage.chance.permille(300);
        let Some(host) = self.coordinators.get_mut(id) else {
            return;
        };
        match feed.filter(|_| !of_raft) {
            Some(key) => {
                host.flip_feed(&mut self.stage, key);
                let delay = self.stage.chance.delay(1_000..20 * SECOND);
                let scrub = Event::Recover(Recovery::Scrub(id, key));
                self.stage.after(delay, scrub);
            }
            None if host.flip_log(&mut self.stage) => {
                let delay = self.stage.chance.delay(1_000..20 * SECOND);
                self.stage.after(delay, Event::CrashCoordinator(id));
            }
            None => {}
        }
    }

    /// Whoever reads a log comes upon what is wrong in it, at the latest.
    fn scrub(&mut self, id: CoordinatorId, key: Key) {
        let Some(record) = self.coordinators.get(id).and_then(|host| host.flipped(key)) else {
            return;
        };
        if self.stage.has(Bug::ServeFlippedBits) {
            let host = self.coordinators.get(id).filter(|host| host.answers());
            let feed = host.and_then(|host| host.feeds().get(&key));
            if let Some(batch) = feed.and_then(|feed| feed.read_flipped(record, 400)) {
                self.stage.show(&Fact::Delivered {
                    coordinator: id,
                    key,
                    next: record,
                    batch: &batch,
                });
            }
        }
        let found = OnCoordinator::Damaged(key, record);
        self.stage.after(0, Event::ToCoordinator(id, found));
        let again = Event::Recover(Recovery::Scrub(id, key));
        self.stage.after(5 * SECOND, again);
    }

    /// A coordinator goes on with a program that knows so much.
    fn install(&mut self, id: CoordinatorId, level: u32) {
        if let Some(host) = self.coordinators.get_mut(id) {
            host.level = level;
        }
        self.crash_coordinator_for_a_while(id);
    }

    pub(crate) fn crash_daemon_for_a_while(&mut self, id: MachineId) {
        if !self.machines.get(id).is_some_and(Machine::is_up) {
            return;
        }
        self.crash_daemon(id);
        let down = self.stage.chance.delay(1_000..40 * SECOND);
        self.stage.after(down, Event::StartDaemon(id));
    }

    pub(crate) fn crash_coordinator(&mut self, id: CoordinatorId) {
        if let Some(host) = self.coordinators.get_mut(id) {
            if host.leads() && self.stage.coordinator_count > 1 {
                self.stage.sometimes("a leader crashed");
            }
            host.crash(&mut self.stage);
        }
        self.wires.network.cut_coordinator(&mut self.stage, id);
        self.clients.cut(id);
    }

    pub(crate) fn crash_daemon(&mut self, id: MachineId) {
        if let Some(machine) = self.machines.get_mut(id) {
            machine.crash_daemon(&mut self.stage);
        }
        self.wires.network.cut_machine(&mut self.stage, id);
    }

    pub(crate) fn reboot(&mut self, id: MachineId) {
        if let Some(machine) = self.machines.get_mut(id) {
            machine.reboot(&mut self.stage);
        }
        self.wires.network.cut_machine(&mut self.stage, id);
    }

    /// A worker's machine reaches no coordinator for so long.
    pub(crate) fn partition(&mut self, id: MachineId, length_us: u64) {
        self.stage.news(format_args!(
            "{} is cut off for {} s",
            machine::name(id),
            length_us / SECOND
        ));
        for coordinator in 0..self.coordinators.len() {
            let network = &mut self.wires.network;
            network.block(&mut self.stage, id, coordinator, length_us);
        }
    }

    /// A coordinator's process stands still for so long.
    pub(crate) fn pause_coordinator(&mut self, id: CoordinatorId, length_us: u64) {
        let Some(host) = self.coordinators.get_mut(id) else {
            return;
        };
        if !host.pause(&mut self.stage) {
            return;
        }
        let resume = Event::Recover(Recovery::Resume(id));
        self.stage.after(length_us, resume);
        // Whoever is connected gives up after a while.
        let give_up = Event::Recover(Recovery::Keepalive(id));
        self.stage.after(KEEPALIVE_US, give_up);
        self.clients.cut(id);
    }

    /// A worker's daemon stands still for so long; its programs may go on.
    pub(crate) fn pause_machine(&mut self, id: MachineId, length_us: u64) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        if !machine.pause(&mut self.stage) {
            return;
        }
        self.stage
            .after(length_us, Event::Recover(Recovery::Wake(id)));
        if length_us > KEEPALIVE_US {
            self.wires.network.cut_machine(&mut self.stage, id);
        }
    }

    /// A coordinator is cut off from the others: in both directions or in one, with its clients and workers or without.
    fn isolate(&mut self, id: CoordinatorId) {
        let length = self.stage.chance.delay(500_000..60 * SECOND);
        let (sends, hears) = *self
            .stage
            .chance
            .pick(&[(false, false), (false, true), (true, false)])
            .unwrap_or(&(false, false));
        if sends != hears {
            self.stage
                .sometimes("a coordinator was cut off in one direction");
        }
        self.cut_off(id, length, !sends, !hears);
        if self.stage.chance.permille(500) {
            for machine in 0..self.machines.len() {
                let network = &mut self.wires.network;
                network.block(&mut self.stage, machine, id, length);
            }
            self.wires.network.cut_clients(&self.stage, id, length);
            self.clients.cut(id);
        }
    }

    /// Nothing that a coordinator sends arrives, or nothing arrives at it.
    pub(crate) fn cut_off(&mut self, id: CoordinatorId, length_us: u64, out: bool, r#in: bool) {
        if self.coordinators.leader() == Some(id) && self.coordinators.len() > 1 {
            self.stage.sometimes("a leader was cut off");
        }
        self.stage.news(format_args!(
            "{} is cut off from the others{} for {} s",
            coordinator::name(id),
            match (out, r#in) {
                (true, true) => "",
                (true, false) => ", and hears them,",
                _ => ", and they hear it,",
            },
            length_us / SECOND
        ));
        for other in (0..self.coordinators.len()).filter(|other| *other != id) {
            if out {
                self.wires.peers.block(&self.stage, id, other, length_us);
            }
            if r#in {
                self.wires.peers.block(&self.stage, other, id, length_us);
            }
        }
    }

    /// The coordinators fall into two parts, with one between them that reaches both, or with none.
    fn split(&mut self) {
        let length = self.stage.chance.delay(500_000..60 * SECOND);
        let count = self.coordinators.len();
        let side: Vec<bool> = (0..count)
            .map(|_| self.stage.chance.permille(500))
            .collect();
        let bridge = self.stage.chance.between(0..2 * count as u64) as CoordinatorId;
        if bridge < count {
            self.stage
                .sometimes("one coordinator was the bridge of two parts");
        }
        self.stage
            .news(format_args!("coordinators fall into two parts"));
        for from in 0..count {
            for to in (0..count).filter(|to| side[*to] != side[from]) {
                if from != bridge && to != bridge {
                    self.wires.peers.block(&self.stage, from, to, length);
                }
            }
        }
    }

    pub(crate) fn drain(&mut self, id: MachineId, draining: bool) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        if draining && machine.is_up() {
            self.stage.sometimes("a worker drained");
        }
        machine.drain(&mut self.stage, &mut self.wires.network, draining);
    }

    /// Somebody sets a clock: a machine's, or a coordinator's.
    fn set_clock(&mut self, machine: MachineId, coordinator: CoordinatorId) {
        let far = *self.stage.chance.pick(&[2, 600, 315_576_000]).unwrap_or(&2);
        let to = self.stage.chance.between(0..2 * far * SECOND) as i64 - (far * SECOND) as i64;
        let clock = if self.stage.chance.permille(500) {
            self.machines
                .get_mut(machine)
                .map(|host| &mut host.clock_us)
        } else {
            self.coordinators
                .get_mut(coordinator)
                .map(|host| &mut host.clock_us)
        };
        let Some(clock) = clock else { return };
        if to < *clock {
            self.stage.sometimes("a clock was set back");
        }
        *clock = to;
    }
}
