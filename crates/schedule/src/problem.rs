//! The world, reduced to what a decision needs.

use std::sync::Arc;

use ledger::{Lane, Ledger, Worker};

use crate::facts::{Facts, WorkerFact};

/// What waits and what there is to run it. It borrows the queue; nothing of it is copied.
#[derive(Debug)]
pub struct Problem<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) machines: Vec<Machine<'a>>,
    pub(crate) lanes: Vec<Lane<'a>>,
}

/// A worker as it counts here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine<'a> {
    pub worker: &'a Worker,
    pub connected: bool,
    pub draining: bool,
    pub disk_full: bool,
    pub slots: u32,
    pub backlog: u32,
    /// Attempts it has.
    pub used: u32,
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
            draining: fact.draining,
            disk_full: fact.disk_full,
            slots: fact.slots,
            backlog: fact.backlog,
            used: worker.attempts().len() as u32,
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

    /// How loaded it is, for comparison: 1,024 when every slot is taken.
    pub(crate) fn load(&self) -> u64 {
        u64::from(self.used) * 1_024 / u64::from(self.slots.max(1))
    }
}
