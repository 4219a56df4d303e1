//! Connections between workers and the coordinator: in order and whole while they hold, cut at any moment, noticed late.

use std::collections::BTreeMap;

use crate::event::{ConnectionId, End, Event, Life, MachineId, Message};
use crate::stage::Stage;
use crate::swarm::SECOND;

/// A silent connection is noticed by its keepalive after at most this long.
const KEEPALIVE_US: u64 = 10 * SECOND;

/// One connection.
#[derive(Debug)]
struct Connection {
    machine: MachineId,
    /// Of the daemon that dialed.
    life: Life,
    is_cut: bool,
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
    /// Until when a machine cannot reach the coordinator.
    blocked_until: BTreeMap<MachineId, u64>,
    /// The next connection that brings records is cut as it does.
    pub(crate) cuts_at_push: bool,
}

impl Network {
    /// A daemon has dialed, and somebody answered.
    pub(crate) fn connect(&mut self, machine: MachineId, life: Life) -> ConnectionId {
        self.opened += 1;
        let connection = Connection {
            machine,
            life,
            is_cut: false,
            leaves_a_rest: false,
            arrivals: [0; 4],
        };
        self.connections.insert(self.opened, connection);
        self.opened
    }

    pub(crate) fn is_blocked(&self, machine: MachineId, now_us: u64) -> bool {
        self.blocked_until
            .get(&machine)
            .is_some_and(|until| now_us < *until)
    }

    /// Keeps a machine from reaching the coordinator for so long.
    pub(crate) fn block(&mut self, stage: &mut Stage, machine: MachineId, for_us: u64) {
        self.blocked_until.insert(machine, stage.now_us() + for_us);
        self.cut_machine(stage, machine);
    }

    /// Lifts all of that.
    pub(crate) fn unblock(&mut self) {
        self.blocked_until.clear();
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
            Message::Desired(_) => 1,
            Message::Push(..) => 2,
            Message::Stored(..) => 3,
        };
        let arrival = &mut connection.arrivals[stream];
        *arrival = (*arrival).max(now + way);
        let delay = *arrival - now;
        stage.after(delay, Event::Arrive(id, message));
    }

    /// The machine and the life of its daemon at the worker's end, if a message can still come out of the connection at `end`.
    pub(crate) fn leads_to(&self, id: ConnectionId, end: End) -> Option<(MachineId, Life)> {
        let connection = self.connections.get(&id)?;
        let arrives = !connection.is_cut || (connection.leaves_a_rest && end == End::Coordinator);
        arrives.then_some((connection.machine, connection.life))
    }

    /// The coordinator has noticed that a connection is cut: nothing comes out of it any more.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.leaves_a_rest = false;
        }
    }

    /// The same, whether anything can come out of it or not.
    pub(crate) fn ends(&self, id: ConnectionId) -> Option<(MachineId, Life)> {
        self.connections
            .get(&id)
            .map(|connection| (connection.machine, connection.life))
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
        for id in self.of(|connection| connection.machine == machine) {
            self.cut(stage, id);
        }
    }

    /// Cuts every connection there is.
    pub(crate) fn cut_all(&mut self, stage: &mut Stage) {
        for id in self.of(|_| true) {
            self.cut(stage, id);
        }
    }

    fn of(&self, is_meant: impl Fn(&Connection) -> bool) -> Vec<ConnectionId> {
        let meant = self
            .connections
            .iter()
            .filter(|(_, connection)| is_meant(connection));
        meant.map(|(id, _)| *id).collect()
    }
}
