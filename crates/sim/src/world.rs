//! A whole system in one thread: hosts around the real minds, networks, clients, faults. Everything that happens is an event; the
//! next one is taken when the one before has been handled to its end.

use std::collections::BTreeMap;

use crate::Bug;
use crate::chance::Chance;
use crate::checkers::{Outcome, Violation};
use crate::clients::Clients;
use crate::coordinator::Coordinators;
use crate::event::{
    ConnectionId, CoordinatorId, End, Event, Life, MachineId, Message, OnClient, OnCoordinator,
    OnDaemon, Purpose,
};
use crate::leave::Leaving;
use crate::machine::Machine;
use crate::operator::Task;
use crate::stage::Stage;
use crate::swarm::{Fault, NEWEST_LEVEL, SECOND, Swarm};
use crate::transcript::Detail;
use crate::wires::Wires;

/// How long a healed system may take to bring everything to its end.
const LIVENESS_US: u64 = 600 * SECOND;
/// How often is looked whether it has.
const LOOK_US: u64 = SECOND / 2;
/// More than that never happens at one moment, but where something wakes itself for nothing.
const AT_ONCE: u32 = 100_000;

/// See the module's words.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) coordinators: Coordinators,
    pub(crate) machines: Vec<Machine>,
    pub(crate) wires: Wires,
    pub(crate) clients: Clients,
    /// What the operator waits for.
    pub(crate) tasks: Vec<Task>,
    /// How many of the coordinators of the beginning were added.
    pub(crate) grown: usize,
    /// Machines that are about to leave.
    pub(crate) leaving: Leaving,
    /// How much has happened since time moved last.
    at_once: u32,
    is_over: bool,
}

impl World {
    /// A system that has just been started.
    pub(crate) fn new(chance: Chance, swarm: Swarm, bug: Option<Bug>, detail: Detail) -> Self {
        let machines = (0..swarm.machines).map(Machine::new).collect();
        let coordinators = Coordinators::founding(swarm.coordinators);
        let mut world = Self {
            stage: Stage::new(chance, swarm, bug, detail),
            coordinators,
            machines,
            wires: Wires::default(),
            clients: Clients::default(),
            tasks: Vec::new(),
            grown: 1,
            leaving: Leaving::new(),
            at_once: 0,
            is_over: false,
        };
        for host in world.coordinators.iter_mut() {
            host.rate = world.stage.swarm.rate(&mut world.stage.chance);
            host.start(&mut world.stage);
        }
        world.grow();
        for machine in &mut world.machines {
            machine.start_daemon(&mut world.stage);
        }
        world.clients.start(&mut world.stage);
        world
    }

    /// Runs to the end: faults and requests for a while, then healing, then everything to its end.
    pub(crate) fn run(&mut self) {
        let faults: BTreeMap<Fault, u64> = self.stage.swarm.faults.clone();
        for (fault, mean_us) in faults {
            let first = self.stage.chance.between(0..2 * mean_us);
            self.stage.after(first, Event::Fault(fault));
        }
        self.stage.after(self.stage.swarm.chaos_us, Event::Heal);
        let end = self.stage.swarm.chaos_us + LIVENESS_US;
        self.run_until(end);
        self.finish();
    }

    /// Lets time pass, to `until_us` or to the end.
    pub(crate) fn run_until(&mut self, until_us: u64) {
        while !self.is_over && self.stage.checkers.violation().is_none() {
            let before_us = self.stage.queue.now_us();
            let Some(event) = self.stage.queue.next(until_us) else {
                return;
            };
            self.at_once = match self.stage.queue.now_us() == before_us {
                true => self.at_once + 1,
                false => 0,
            };
            if self.at_once > AT_ONCE {
                let what = format!("something goes on for ever and takes no time: {event:?}");
                return self.stage.checkers.violated("I-08", what);
            }
            let stage = &mut self.stage;
            stage
                .transcript
                .mark(stage.queue.now_us(), stage.chance.state());
            self.take(event);
        }
    }

    /// Lets time pass until nothing is left to do, or for as long as that may take.
    pub(crate) fn run_until_idle(&mut self) {
        let end = self.stage.now_us() + LIVENESS_US;
        while self.stage.now_us() < end && self.stage.checkers.violation().is_none() {
            self.run_until(self.stage.now_us() + LOOK_US);
            if self.unfinished().is_empty() {
                return;
            }
        }
    }

    /// Lets time pass until a machine has a part of a blob and nothing that has its name yet, or as long as it may take to come to that.
    pub(crate) fn run_until_parts(&mut self, id: MachineId) {
        let end = self.stage.now_us() + LIVENESS_US;
        while self.stage.now_us() < end && !self.stage.blobs.has_parts(id) {
            self.run_until(self.stage.now_us() + 100);
        }
    }

    /// Lets every checker look at how it ended.
    pub(crate) fn finish(&mut self) {
        if self.stage.checkers.violation().is_some() {
            return;
        }
        let unfinished = self.unfinished();
        let ledger = self.coordinators.newest();
        self.stage.census.end(&mut self.stage.tally, ledger);
        self.stage.checkers.end(&Outcome {
            ledger,
            coordinators: &self.coordinators,
            history: &self.clients.history,
            blobs: &self.stage.blobs,
            unfinished,
        });
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.stage.checkers.violation()
    }

    /// What is not done, in words.
    fn unfinished(&self) -> Vec<String> {
        let mut unfinished = self.clients.unfinished();
        if !self.tasks.is_empty() {
            unfinished.push(format!("the operator waits: {:?}", self.tasks));
        }
        unfinished.extend(self.coordinators.unfinished());
        let ledger = self.coordinators.newest();
        let level = ledger.feature_level();
        if self.stage.swarm.has_levels() && level < NEWEST_LEVEL {
            unfinished.push(format!("the feature level is {level}"));
        }
        for project in ledger.projects() {
            let open = ledger
                .executions(&project.name)
                .filter(|execution| !execution.is_final());
            unfinished.extend(
                open.map(|execution| format!("#{} is {:?}", execution.number, execution.state())),
            );
            let open = ledger
                .pipelines(&project.name)
                .filter(|pipeline| !pipeline.is_final());
            unfinished.extend(
                open.map(|pipeline| {
                    format!("pipeline {} is {:?}", pipeline.number, pipeline.state)
                }),
            );
        }
        unfinished.extend(self.still_leaving());
        unfinished.extend(self.machines.iter().flat_map(Machine::leftovers));
        unfinished.extend(self.clients.check_watchers(ledger).err());
        unfinished
    }

    fn take(&mut self, event: Event) {
        let Self {
            stage,
            coordinators,
            machines,
            wires,
            clients,
            ..
        } = self;
        match event {
            Event::Coordinator(id, life, event) => {
                if let Some(host) = coordinators.get_mut(id) {
                    host.on(stage, wires, clients, life, event);
                }
            }
            Event::ToCoordinator(id, event) => {
                if let Some(host) = coordinators.get_mut(id) {
                    let life = host.life();
                    host.on(stage, wires, clients, life, event);
                }
            }
            Event::CrashCoordinator(id) => self.crash_coordinator_for_a_while(id),
            Event::CrashDaemon(id) => self.crash_daemon_for_a_while(id),
            Event::StartCoordinator(id) => {
                if let Some(host) = coordinators.get_mut(id) {
                    host.start(stage);
                }
            }
            Event::Daemon(id, life, OnDaemon::Dial(to, purpose)) => {
                self.dial((id, life), to, purpose)
            }
            Event::Daemon(id, life, event) => {
                if let Some(machine) = machines.get_mut(id) {
                    machine.on_daemon(stage, &mut wires.network, life, event);
                }
            }
            Event::StartDaemon(id) => {
                if let Some(machine) = machines.get_mut(id) {
                    machine.start_daemon(stage);
                }
            }
            Event::Program(id, boot, fence, event) => {
                if let Some(machine) = machines.get_mut(id) {
                    machine.on_program(stage, boot, fence, event);
                }
            }
            Event::Arrive(id, message) => self.arrive(id, message),
            Event::Notice(id, end) => self.notice(id, end),
            Event::Client(OnClient::Send(op)) => {
                let (copies, to) = clients.send(stage, op);
                for _ in 0..copies {
                    let way = stage.way_us();
                    let request = OnCoordinator::Request(op);
                    if !wires.network.is_clients_way_cut(to, stage.now_us()) {
                        stage.after(way, Event::ToCoordinator(to, request));
                    }
                }
            }
            Event::Client(event) => clients.on(stage, coordinators, event),
            Event::Fault(fault) => self.repeat(fault),
            Event::Recover(recovery) => self.recover(recovery),
            Event::Heal => self.heal(),
            Event::Look => {
                if self.unfinished().is_empty() {
                    self.is_over = true;
                } else {
                    self.stage.after(LOOK_US, Event::Look);
                }
            }
        }
    }

    /// A daemon dials a coordinator.
    fn dial(&mut self, (id, life): (MachineId, Life), to: CoordinatorId, purpose: Purpose) {
        let Self {
            stage,
            coordinators,
            machines,
            wires,
            ..
        } = self;
        let Some(machine) = machines.get_mut(id) else {
            return;
        };
        if machine.parks(life, OnDaemon::Dial(to, purpose))
            || !machine.wants_to_dial(stage, life, to, purpose)
        {
            return;
        }
        let network = &mut wires.network;
        let host = coordinators
            .get_mut(to)
            .filter(|host| host.answers() && !network.is_blocked(id, to, stage.now_us()));
        let Some(host) = host else {
            return machine.dial_later(stage, to, purpose);
        };
        let connection = network.connect((id, life), (to, host.life()));
        host.open(connection, purpose == Purpose::Session);
        machine.connected(stage, network, (connection, to), purpose);
    }

    fn arrive(&mut self, id: ConnectionId, message: Message) {
        let Self {
            stage,
            coordinators,
            machines,
            wires,
            clients,
            ..
        } = self;
        let end = match message {
            Message::State(_) | Message::Push(..) => End::Coordinator,
            Message::Desired(_) | Message::Stored(..) | Message::Refused(_) => End::Worker,
        };
        let Some(ends) = wires.network.leads_to(id, end) else {
            return;
        };
        match end {
            End::Coordinator => {
                let arrives = OnCoordinator::Arrive(id, Box::new(message));
                if let Some(host) = coordinators.get_mut(ends.coordinator) {
                    host.on(stage, wires, clients, ends.coordinator_life, arrives);
                }
            }
            End::Worker => {
                if let Some(machine) = machines.get_mut(ends.machine) {
                    let arrives = OnDaemon::Arrive(id, Box::new(message));
                    machine.on_daemon(stage, &mut wires.network, ends.life, arrives);
                }
            }
        }
    }

    fn notice(&mut self, id: ConnectionId, end: End) {
        let Self {
            stage,
            coordinators,
            machines,
            wires,
            clients,
            ..
        } = self;
        let Some(ends) = wires.network.ends(id) else {
            return;
        };
        match end {
            End::Coordinator => {
                wires.network.close(id);
                if let Some(host) = coordinators.get_mut(ends.coordinator) {
                    let gone = OnCoordinator::Gone(id);
                    host.on(stage, wires, clients, ends.coordinator_life, gone);
                }
            }
            End::Worker => {
                if let Some(machine) = machines.get_mut(ends.machine) {
                    let gone = OnDaemon::Gone(id);
                    machine.on_daemon(stage, &mut wires.network, ends.life, gone);
                }
            }
        }
        wires.network.forget(id);
    }

    /// Everything works again.
    fn heal(&mut self) {
        self.stage.news(format_args!("everything is healed"));
        self.stage.swarm.heal();
        self.wires.network.unblock();
        self.wires.network.cuts_at_push = false;
        self.wires.peers.unblock();
        self.clients.is_quiet = true;
        for id in 0..self.coordinators.len() {
            // Whoever began to upgrade comes to the end of it.
            let host = self.coordinators.get_mut(id);
            let is_old = host.is_some_and(|host| {
                std::mem::replace(&mut host.level, NEWEST_LEVEL) < NEWEST_LEVEL
            });
            if is_old && self.stage.swarm.upgrades {
                self.crash_coordinator(id);
            }
        }
        for host in self.coordinators.iter_mut() {
            host.heal(&mut self.stage);
        }
        for id in 0..self.machines.len() {
            if let Some(machine) = self.machines.get_mut(id) {
                machine.crashes_at_work = false;
                machine.resume(&mut self.stage);
                machine.start_daemon(&mut self.stage);
            }
            self.drain(id, false);
        }
        self.stage.after(LOOK_US, Event::Look);
    }
}
