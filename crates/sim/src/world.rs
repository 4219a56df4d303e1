//! A whole system in one thread: hosts around the real minds, a network, clients, faults. Everything that happens is an event; the
//! next one is taken when the one before has been handled to its end.

use std::collections::BTreeMap;

use crate::Bug;
use crate::census::Census;
use crate::chance::Chance;
use crate::checkers::{Checkers, Outcome, Violation};
use crate::clients::Clients;
use crate::coordinator::CoordinatorHost;
use crate::event::{
    ConnectionId, End, Event, MachineId, Message, OnClient, OnCoordinator, OnDaemon, Recovery,
};
use crate::machine::{Blobs, Machine};
use crate::network::Network;
use crate::queue::Queue;
use crate::stage::Stage;
use crate::swarm::{Fault, SECOND, Swarm};
use crate::tally::Tally;
use crate::transcript::{Detail, Transcript};

/// How long a healed system may take to bring everything to its end.
const LIVENESS_US: u64 = 600 * SECOND;
/// How often is looked whether it has.
const LOOK_US: u64 = SECOND / 2;

/// See the module's words.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) coordinator: CoordinatorHost,
    pub(crate) machines: Vec<Machine>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    is_over: bool,
}

impl World {
    /// A system that has just been started.
    pub(crate) fn new(chance: Chance, swarm: Swarm, bug: Option<Bug>, detail: Detail) -> Self {
        let machines = (0..swarm.machines).map(Machine::new).collect();
        let stage = Stage {
            queue: Queue::new(),
            chance,
            swarm,
            bug,
            transcript: Transcript::new(detail),
            tally: Tally::default(),
            checkers: Checkers::new(),
            census: Census::default(),
            blobs: Blobs::default(),
        };
        let mut world = Self {
            stage,
            coordinator: CoordinatorHost::new(),
            machines,
            network: Network::default(),
            clients: Clients::default(),
            is_over: false,
        };
        world.coordinator.start(&mut world.stage);
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
            let Some(event) = self.stage.queue.next(until_us) else {
                return;
            };
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

    /// Lets every checker look at how it ended.
    pub(crate) fn finish(&mut self) {
        if self.stage.checkers.violation().is_some() {
            return;
        }
        let unfinished = self.unfinished();
        let ledger = self.coordinator.published();
        self.stage.census.end(&mut self.stage.tally, ledger);
        self.stage.checkers.end(&Outcome {
            ledger,
            feeds: self.coordinator.feeds(),
            unfinished,
        });
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.stage.checkers.violation()
    }

    /// What is not done, in words.
    fn unfinished(&self) -> Vec<String> {
        let mut unfinished = self.clients.unfinished();
        let Some(ledger) = self.coordinator.readable() else {
            unfinished.push("the coordinator is not ready".to_owned());
            return unfinished;
        };
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
        unfinished.extend(self.machines.iter().flat_map(Machine::leftovers));
        unfinished.extend(self.clients.check_watchers(ledger).err());
        unfinished
    }

    fn take(&mut self, event: Event) {
        let Self {
            stage,
            coordinator,
            machines,
            network,
            clients,
            ..
        } = self;
        match event {
            Event::Coordinator(life, event) => {
                coordinator.on(stage, network, &clients.ops, life, event)
            }
            Event::CrashCoordinator => self.crash_coordinator_for_a_while(),
            Event::CrashDaemon(id) => self.crash_daemon_for_a_while(id),
            Event::StartCoordinator => coordinator.start(stage),
            Event::Daemon(id, life, OnDaemon::Dial) => self.dial(id, life),
            Event::Daemon(id, life, event) => {
                if let Some(machine) = machines.get_mut(id) {
                    machine.on_daemon(stage, network, life, event);
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
                for _ in 0..clients.send(stage, op) {
                    let way = stage.way_us();
                    coordinator.expect_request(stage, way, op);
                }
            }
            Event::Client(event) => clients.on(stage, coordinator, event),
            Event::Fault(fault) => self.repeat(fault),
            Event::Recover(Recovery::Disk) => coordinator.slow_down(1),
            Event::Recover(Recovery::Drain(id)) => self.drain(id, false),
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

    /// A daemon dials the coordinator.
    fn dial(&mut self, id: MachineId, life: u64) {
        let Some(machine) = self
            .machines
            .get_mut(id)
            .filter(|machine| machine.wants_to_dial(life))
        else {
            return;
        };
        if !self.coordinator.is_up() || self.network.is_blocked(id, self.stage.now_us()) {
            return machine.dial_later(&mut self.stage);
        }
        let connection = self.network.connect(id, life);
        self.coordinator.open(connection);
        machine.connected(&mut self.stage, &mut self.network, connection);
    }

    fn arrive(&mut self, id: ConnectionId, message: Message) {
        let Self {
            stage,
            coordinator,
            machines,
            network,
            ..
        } = self;
        let end = match message {
            Message::State(_) | Message::Push(..) => End::Coordinator,
            Message::Desired(_) | Message::Stored(..) => End::Worker,
        };
        let Some((machine, life)) = network.leads_to(id, end) else {
            return;
        };
        let Some(machine) = machines.get_mut(machine) else {
            return;
        };
        match message {
            Message::State(state) => coordinator.state(stage, id, state),
            Message::Push(fence, batch) => coordinator.push(stage, network, (id, fence), batch),
            Message::Desired(desired) if machine.speaks_on(life, id) => {
                machine.desired(stage, network, *desired)
            }
            Message::Stored(fence, next) if machine.speaks_on(life, id) => {
                machine.stored(stage, network, fence, next)
            }
            Message::Desired(_) | Message::Stored(..) => {}
        }
    }

    fn notice(&mut self, id: ConnectionId, end: End) {
        let Some((machine, life)) = self.network.ends(id) else {
            return;
        };
        match end {
            End::Coordinator => {
                self.network.close(id);
                self.coordinator.gone(&mut self.stage, id);
            }
            End::Worker => {
                if let Some(machine) = self
                    .machines
                    .get_mut(machine)
                    .filter(|machine| machine.speaks_on(life, id))
                {
                    machine.disconnected(&mut self.stage, &mut self.network);
                }
            }
        }
    }

    /// A fault happens, and will again.
    fn repeat(&mut self, fault: Fault) {
        let Some(mean_us) = self.stage.swarm.faults.get(&fault).copied() else {
            return;
        };
        let pause = self.stage.chance.between(mean_us / 4..2 * mean_us);
        self.stage.after(pause, Event::Fault(fault));
        *self.stage.tally.faults.entry(fault.name()).or_default() += 1;
        let machine = self.stage.chance.between(0..self.machines.len() as u64) as MachineId;
        match fault {
            Fault::CrashCoordinator if self.stage.chance.permille(700) => {
                self.coordinator.crashes_at_write = true
            }
            Fault::CrashCoordinator => self.crash_coordinator_for_a_while(),
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
            Fault::Cut if self.stage.chance.permille(500) => self.network.cuts_at_push = true,
            Fault::Cut => self.network.cut_machine(&mut self.stage, machine),
            Fault::Partition => {
                let length = self.stage.chance.delay(100_000..60 * SECOND);
                self.partition(machine, length);
            }
            Fault::SlowDisk => {
                self.coordinator.slow_down(200);
                // What comes again while the first copy of it still waits for the disk is worth seeing.
                self.network.cuts_at_push |= self.stage.swarm.faults.contains_key(&Fault::Cut);
                let length = self.stage.chance.between(SECOND..5 * SECOND);
                self.stage.after(length, Event::Recover(Recovery::Disk));
            }
            Fault::ClockJump => self.set_clock(machine),
            Fault::Drain => {
                self.drain(machine, true);
                let length = self.stage.chance.between(SECOND..20 * SECOND);
                self.stage
                    .after(length, Event::Recover(Recovery::Drain(machine)));
            }
        }
    }

    fn crash_coordinator_for_a_while(&mut self) {
        if !self.coordinator.is_up() {
            return;
        }
        self.crash_coordinator();
        let down = self.stage.chance.delay(1_000..15 * SECOND);
        self.stage.after(down, Event::StartCoordinator);
    }

    fn crash_daemon_for_a_while(&mut self, id: MachineId) {
        if !self.machines.get(id).is_some_and(Machine::is_up) {
            return;
        }
        self.crash_daemon(id);
        let down = self.stage.chance.delay(1_000..40 * SECOND);
        self.stage.after(down, Event::StartDaemon(id));
    }

    pub(crate) fn crash_coordinator(&mut self) {
        self.coordinator.crash(&mut self.stage);
        self.network.cut_all(&mut self.stage);
        self.clients.cut_all();
    }

    pub(crate) fn crash_daemon(&mut self, id: MachineId) {
        if let Some(machine) = self.machines.get_mut(id) {
            machine.crash_daemon(&mut self.stage);
        }
        self.network.cut_machine(&mut self.stage, id);
    }

    pub(crate) fn reboot(&mut self, id: MachineId) {
        if let Some(machine) = self.machines.get_mut(id) {
            machine.reboot(&mut self.stage);
        }
        self.network.cut_machine(&mut self.stage, id);
    }

    pub(crate) fn partition(&mut self, id: MachineId, length_us: u64) {
        self.stage.news(format_args!(
            "{} is cut off for {} s",
            crate::machine::name(id),
            length_us / SECOND
        ));
        self.network.block(&mut self.stage, id, length_us);
    }

    pub(crate) fn drain(&mut self, id: MachineId, draining: bool) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        if draining && machine.is_up() {
            self.stage.sometimes("a worker drained");
        }
        machine.drain(&mut self.stage, &mut self.network, draining);
    }

    /// Somebody sets a clock: a machine's, or the coordinator's.
    fn set_clock(&mut self, id: MachineId) {
        let far = *self.stage.chance.pick(&[2, 600, 315_576_000]).unwrap_or(&2);
        let to = self.stage.chance.between(0..2 * far * SECOND) as i64 - (far * SECOND) as i64;
        let clock = match self.machines.get_mut(id) {
            Some(machine) if self.stage.chance.permille(700) => &mut machine.clock_us,
            _ => &mut self.coordinator.clock_us,
        };
        if to < *clock {
            self.stage.sometimes("a clock was set back");
        }
        *clock = to;
    }

    /// Everything works again.
    fn heal(&mut self) {
        self.stage.news(format_args!("everything is healed"));
        self.stage.swarm.heal();
        self.network.unblock();
        self.network.cuts_at_push = false;
        self.clients.is_quiet = true;
        self.coordinator.slow_down(1);
        self.coordinator.crashes_at_write = false;
        self.machines
            .iter_mut()
            .for_each(|machine| machine.crashes_at_work = false);
        self.coordinator.start(&mut self.stage);
        for id in 0..self.machines.len() {
            if let Some(machine) = self.machines.get_mut(id) {
                machine.start_daemon(&mut self.stage);
            }
            self.drain(id, false);
        }
        self.stage.after(LOOK_US, Event::Look);
    }
}

impl CoordinatorHost {
    /// A request is on its way to the process that runs now; if that one ends before, nobody gets it.
    fn expect_request(&self, stage: &mut Stage, way_us: u64, op: crate::clients::OpId) {
        stage.after(
            way_us,
            Event::Coordinator(self.life(), OnCoordinator::Request(op)),
        );
    }
}
