//! A worker's machine leaves for good: it is drained, and goes with its disk once nothing runs on it and nobody else lacks what it has.

use std::collections::BTreeMap;

use coordinator::Request;
use ledger::COPIES;

use crate::clients::{self, OpId};
use crate::event::{Event, MachineId, Recovery};
use crate::machine::{Machine, name};
use crate::swarm::SECOND;
use crate::world::World;

/// How often is looked whether a machine may go.
const LOOK_US: u64 = SECOND / 5;

/// Machines that are about to leave, with the request that drained each.
pub(crate) type Leaving = BTreeMap<MachineId, OpId>;

impl World {
    /// Somebody wants a machine back. One stays. Before there are copies, nobody can be sure that nothing is lost.
    pub(crate) fn leave(&mut self, id: MachineId) {
        if self.coordinators.newest().feature_level() < COPIES {
            return;
        }
        let staying = (0..self.machines.len()).filter(|other| self.stays(*other));
        if staying.count() > 1 && self.stays(id) {
            self.ask_to_drain(id);
        }
    }

    fn stays(&self, id: MachineId) -> bool {
        let is_gone = self.machines.get(id).is_none_or(Machine::is_gone);
        !is_gone && !self.leaving.contains_key(&id)
    }

    fn ask_to_drain(&mut self, id: MachineId) {
        let op = self.clients.ask(&mut self.stage, |op| {
            Request::DrainWorker(clients::drain(op, &name(id)))
        });
        self.leaving.insert(id, op);
        let look = Event::Recover(Recovery::Leave(id));
        self.stage.after(LOOK_US, look);
    }

    /// Looks whether a machine may go by now.
    pub(crate) fn look_at_leaving(&mut self, id: MachineId) {
        let Some(op) = self.leaving.get(&id).copied() else {
            return;
        };
        if matches!(self.clients.ops.answer(op), Some(Err(_))) {
            return self.ask_to_drain(id);
        }
        let ledger = self.coordinators.newest();
        let name = name(id);
        let may_go = ledger.worker(&name).is_some_and(|worker| {
            worker.drained && worker.attempts().is_empty() && ledger.sole_count(&name, 1) == 0
        });
        if !may_go {
            let look = Event::Recover(Recovery::Leave(id));
            return self.stage.after(LOOK_US, look);
        }
        if ledger.stored_count(&name) > 0 {
            self.stage
                .sometimes("a worker left after it had handed over what it had");
        }
        self.leaving.remove(&id);
        self.reboot(id);
        if let Some(machine) = self.machines.get_mut(id) {
            machine.leave(&mut self.stage);
        }
    }

    /// What is not handed over yet, in words.
    pub(crate) fn still_leaving(&self) -> impl Iterator<Item = String> {
        let ids = self.leaving.keys();
        ids.map(|id| format!("{} is about to leave", name(*id)))
    }
}
