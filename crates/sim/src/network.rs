//! Connections between workers and coordinators: in order and whole while they hold, cut at any moment, noticed late.

use std::collections::BTreeMap;

use crate::event::{ConnectionId, CoordinatorId, End, Event, Life, MachineId, Message};
use crate::stage::Stage;
use crate::swarm::SECOND;

/// A silent connection is noticed by its keepalive after at most this long.
pub(crate) const KEEPALIVE_US: u64 = 10 * SECOND;

/// One connection.
#[derive(Debug)]
struct Connection {
    machine: MachineId,
    /// Of the daemon that dialed.
    life: Life,
    coordinator: CoordinatorId,
    /// Of the process that answered.
    coordinator_life: Life,
    is_cut: bool,
    /// How many of its ends have noticed that.
    noticed: u32,
    /// What the worker had sent before still arrives, as long as the coordinator has not noticed: it may come after what the worker
    /// says on its next connection.
    leaves_a_rest: bool,
    /// When the last message of each stream arrives: none overtakes another.
    arrivals: [u64; 4],
}

/// All connections there were that somebody still speaks of.
#[derive(Debug, Default)]
pub(crate) struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    opened: ConnectionId,
    /// Until when a machine cannot reach a coordinator.
    blocked_until: BTreeMap<(MachineId, CoordinatorId), u64>,
    /// Until when clients cannot reach a coordinator.
    clients_blocked_until: BTreeMap<CoordinatorId, u64>,
    /// The next connection that brings records is cut as it does.
    pub(crate) cuts_at_push: bool,
}

impl Network {
    /// A daemon has dialed, and somebody answered.
    pub(crate) fn connect(
        &mut self,
        (machine, life): (MachineId, Life),
        (coordinator, coordinator_life): (CoordinatorId, Life),
    ) -> ConnectionId {
        self.opened += 1;
        let connection = Connection {
            machine,
            life,
            coordinator,
            coordinator_life,
            is_cut: false,
            noticed: 0,
            leaves_a_rest: false,
            arrivals: [0; 4],
        };
        self.connections.insert(self.opened, connection);
        self.opened
    }

    pub(crate) fn is_blocked(
        &self,
        machine: MachineId,
        coordinator: CoordinatorId,
        now_us: u64,
    ) -> bool {
        self.blocked_until
            .get(&(machine, coordinator))
            .is_some_and(|until| now_us < *until)
    }

    /// Keeps a machine from reaching a coordinator for so long.
    pub(crate) fn block(
        &mut self,
        stage: &mut Stage,
        machine: MachineId,
        coordinator: CoordinatorId,
        for_us: u64,
    ) {
        let until = stage.now_us() + for_us;
        self.blocked_until.insert((machine, coordinator), until);
        let between = |connection: &Connection| {
            connection.machine == machine && connection.coordinator == coordinator
        };
        self.cut_all_that(stage, between);
    }

    /// Lifts all of that.
    pub(crate) fn unblock(&mut self) {
        self.blocked_until.clear();
        self.clients_blocked_until.clear();
    }

    /// Keeps all clients from a coordinator for so long.
    pub(crate) fn cut_clients(&mut self, stage: &Stage, coordinator: CoordinatorId, for_us: u64) {
        let until = stage.now_us() + for_us;
        self.clients_blocked_until.insert(coordinator, until);
    }

    pub(crate) fn is_clients_way_cut(&self, coordinator: CoordinatorId, now_us: u64) -> bool {
        self.clients_blocked_until
            .get(&coordinator)
            .is_some_and(|until| now_us < *until)
    }

    /// Sends a message; on a connection that was cut it goes nowhere.
    pub(crate) fn send(&mut self, stage: &mut Stage, id: ConnectionId, message: Message) {
        let way = stage.way_us();
        let now = stage.now_us();
        let Some(connection) = self
            .connections
            .get_mut(&id)
            .filter(|connection| !connection.is_cut)
        else {
            return;
        };
        let stream = match message {
            Message::State(_) => 0,
            Message::Desired(_) | Message::Refused(_) => 1,
            Message::Push(..) => 2,
            Message::Stored(..) => 3,
        };
        let arrival = &mut connection.arrivals[stream];
        *arrival = (*arrival).max(now + way);
        let delay = *arrival - now;
        stage.after(delay, Event::Arrive(id, message));
    }

    /// Who gets a message that comes out of the connection at `end`, if one still can.
    pub(crate) fn leads_to(&self, id: ConnectionId, end: End) -> Option<Ends> {
        let connection = self.connections.get(&id)?;
        let arrives = !connection.is_cut || (connection.leaves_a_rest && end == End::Coordinator);
        arrives.then(|| self.ends(id)).flatten()
    }

    /// The coordinator has noticed that a connection is cut: nothing comes out of it any more.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.leaves_a_rest = false;
        }
    }

    /// Who is at the ends, whether anything can come out of it or not.
    pub(crate) fn ends(&self, id: ConnectionId) -> Option<Ends> {
        self.connections.get(&id).map(|connection| Ends {
            machine: connection.machine,
            life: connection.life,
            coordinator: connection.coordinator,
            coordinator_life: connection.coordinator_life,
        })
    }

    /// Cuts a connection. Each end notices by itself: soon, or by its keepalive.
    pub(crate) fn cut(&mut self, stage: &mut Stage, id: ConnectionId) {
        let Some(connection) = self
            .connections
            .get_mut(&id)
            .filter(|connection| !connection.is_cut)
        else {
            return;
        };
        connection.is_cut = true;
        connection.leaves_a_rest = stage.chance.permille(500);
        for end in [End::Worker, End::Coordinator] {
            let is_silent = stage.swarm.chaos_us > 0 && stage.chance.permille(250);
            let delay = match is_silent {
                true => stage.chance.between(SECOND..KEEPALIVE_US),
                false => stage.way_us(),
            };
            if is_silent {
                stage.sometimes("a link broke in silence");
            }
            stage.after(delay, Event::Notice(id, end));
        }
    }

    /// Cuts every connection of a machine.
    pub(crate) fn cut_machine(&mut self, stage: &mut Stage, machine: MachineId) {
        self.cut_all_that(stage, |connection| connection.machine == machine);
    }

    /// Cuts every connection to a coordinator.
    pub(crate) fn cut_coordinator(&mut self, stage: &mut Stage, coordinator: CoordinatorId) {
        self.cut_all_that(stage, |connection| connection.coordinator == coordinator);
    }

    fn cut_all_that(&mut self, stage: &mut Stage, is_meant: impl Fn(&Connection) -> bool) {
        let meant = self
            .connections
            .iter()
            .filter(|(_, connection)| !connection.is_cut && is_meant(connection));
        let meant: Vec<ConnectionId> = meant.map(|(id, _)| *id).collect();
        for id in meant {
            self.cut(stage, id);
        }
    }

    /// Forgets connections that both ends have noticed to be cut.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.noticed += 1;
            if connection.noticed == 2 {
                self.connections.remove(&id);
            }
        }
    }
}

/// Who is at the two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) machine: MachineId,
    /// Of the daemon that dialed.
    pub(crate) life: Life,
    pub(crate) coordinator: CoordinatorId,
    /// Of the process that answered.
    pub(crate) coordinator_life: Life,
}
