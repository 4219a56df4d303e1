//! The world, reduced to what a decision needs.

use std::sync::Arc;

use ledger::{Device, Lane, Ledger, Needs, Taken, Worker};

use crate::facts::{Facts, WorkerFact};

/// What waits and what there is to run it. It borrows the queue; nothing of it is copied.
#[derive(Debug)]
pub struct Problem<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) machines: Vec<Machine<'a>>,
    pub(crate) lanes: Vec<Lane<'a>>,
}

/// A worker as it counts here.
#[derive(Clone, Debug)]
pub(crate) struct Machine<'a> {
    pub worker: &'a Worker,
    pub connected: bool,
    pub draining: bool,
    pub disk_full: bool,
    pub slots: u32,
    pub backlog: u32,
    /// Attempts it has.
    pub used: u32,
    /// What is kept for them.
    pub taken: Taken,
    /// Devices that nobody has.
    pub free: Vec<&'a Device>,
}

impl<'a> Problem<'a> {
    /// Reduces the world. Workers that the ledger does not know are left out.
    pub fn reduce(ledger: &'a Ledger, facts: &Facts) -> Self {
        let lanes: Vec<Lane<'a>> = ledger.lanes().collect();
        let machines = facts
            .workers
            .iter()
            .filter_map(|fact| Machine::new(ledger, fact));
        Self {
            ledger,
            machines: machines.collect(),
            lanes,
        }
    }
}

impl<'a> Machine<'a> {
    fn new(ledger: &'a Ledger, fact: &WorkerFact) -> Option<Self> {
        let worker = ledger.worker(&fact.name)?;
        Some(Self {
            worker,
            connected: fact.connected,
            draining: fact.draining || worker.drained,
            disk_full: fact.disk_full,
            slots: fact.slots,
            backlog: fact.backlog,
            used: worker.attempts().len() as u32,
            taken: worker.taken(),
            free: worker.free_devices().collect(),
        })
    }

    pub(crate) fn name(&self) -> &'a Arc<str> {
        &self.worker.name
    }

    /// Whether anything new may be assigned to it.
    pub(crate) fn takes_work(&self) -> bool {
        self.connected && !self.draining && !self.disk_full && !self.worker.lost && self.slots > 0
    }

    /// Whether it serves an environment. An execution that names none may run anywhere.
    pub(crate) fn serves(&self, environment: &str) -> bool {
        environment.is_empty() || self.environments().any(|served| served == environment)
    }

    pub(crate) fn environments(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.worker.offer.environments.iter().map(String::as_str)
    }

    /// Whether a slot is free.
    pub(crate) fn has_slot(&self) -> bool {
        self.used < self.slots
    }

    /// Whether it may be given more, ahead of time if need be.
    pub(crate) fn has_room(&self) -> bool {
        self.used < self.slots.saturating_add(self.backlog)
    }

    /// Whether it can take one more with these needs now. What needs more than a slot is not assigned ahead of time: it would keep
    /// from others what it does not use yet.
    pub(crate) fn fits(&self, needs: &Needs) -> bool {
        let slot = match is_plain(needs) {
            true => self.has_room(),
            false => self.has_slot(),
        };
        slot && self.serves(&needs.environment)
            && self.has_processors(needs)
            && self.has_memory(needs)
            && needs.choose(&self.free).is_some()
    }

    /// Whether it can take one with these needs when it has nothing else.
    pub(crate) fn could_fit(&self, needs: &Needs) -> bool {
        let all: Vec<&Device> = self.worker.offer.devices.iter().collect();
        self.serves(&needs.environment)
            && needs.cpu_millis <= self.worker.offer.cpu_millis
            && needs.memory_bytes <= self.worker.offer.memory_bytes
            && needs.choose(&all).is_some()
    }

    /// Whether as many processors are left as are needed.
    pub(crate) fn has_processors(&self, needs: &Needs) -> bool {
        let taken = self.taken.cpu_millis.saturating_add(needs.cpu_millis);
        needs.cpu_millis == 0 || taken <= self.worker.offer.cpu_millis
    }

    /// Whether as much memory is left as is needed.
    pub(crate) fn has_memory(&self, needs: &Needs) -> bool {
        let taken = self.taken.memory_bytes.saturating_add(needs.memory_bytes);
        needs.memory_bytes == 0 || taken <= self.worker.offer.memory_bytes
    }

    /// How many of its free devices answer one of the needs.
    pub(crate) fn useful_devices(&self, needs: &Needs) -> usize {
        let answers = |device: &&&Device| needs.devices.iter().any(|n| n.is_answered_by(device));
        self.free.iter().filter(answers).count()
    }

    /// Takes one more; the devices it gets.
    pub(crate) fn take(&mut self, needs: &Needs) -> Vec<&'a Device> {
        let devices = needs.choose(&self.free).unwrap_or_default();
        self.free
            .retain(|free| !devices.iter().any(|device| std::ptr::eq(*free, *device)));
        self.used += 1;
        self.taken.cpu_millis += needs.cpu_millis;
        self.taken.memory_bytes += needs.memory_bytes;
        devices
    }

    /// How loaded it is, for comparison: 1,024 when every slot is taken.
    pub(crate) fn load(&self) -> u64 {
        u64::from(self.used) * 1_024 / u64::from(self.slots.max(1))
    }
}

/// Whether a slot is all that is needed.
pub(crate) fn is_plain(needs: &Needs) -> bool {
    needs.cpu_millis == 0 && needs.memory_bytes == 0 && needs.devices.is_empty()
}
