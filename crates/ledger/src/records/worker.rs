//! A worker as the ledger knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::ledger as pb;
use contract::link::{Device, Offer};

use crate::ids::Fence;
use crate::needs::Needs;

/// Processors and memory that are kept for attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// In thousandths of a processor.
    pub cpu_millis: u64,
    /// In bytes.
    pub memory_bytes: u64,
}

impl Taken {
    /// With what one more execution needs.
    pub(crate) fn plus(self, needs: &Needs) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(needs.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(needs.memory_bytes),
        }
    }

    /// Without what one needed.
    pub(crate) fn minus(self, needs: &Needs) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(needs.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(needs.memory_bytes),
        }
    }
}

/// A worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Its name.
    pub name: Arc<str>,
    /// Its newest incarnation.
    pub incarnation: u64,
    /// What its daemon drew at this start, so that a copy of its data directory is not taken for it; empty where it did not say. Nothing in
    /// the ledger depends on it.
    pub instance_id: Arc<[u8]>,
    /// What it offers.
    pub offer: Arc<Offer>,
    /// Whether it was declared lost.
    pub lost: bool,
    /// Whether an operator drained it.
    pub drained: bool,
    /// Fences of its live attempts, in no order that means anything but the same everywhere.
    pub(crate) attempts: Vec<Fence>,
    /// Its devices that are taken, by id, each by the one attempt that has it: one that runs, or one that ended without the
    /// worker's word and may run still.
    pub(crate) holds: BTreeMap<Arc<str>, Fence>,
    /// What is kept for its live attempts in all.
    pub(crate) taken: Taken,
    /// Raft index of its last change: of what it is, of what it has, or of what should stop.
    pub revision: u64,
}

impl Worker {
    /// Fences of its live attempts.
    pub fn attempts(&self) -> &[Fence] {
        &self.attempts
    }

    /// Whether it is there and nobody has said that it is about to go: what it has may be relied on.
    pub fn stays(&self) -> bool {
        !self.lost && !self.is_leaving()
    }

    /// Whether it gets nothing new because it was drained, or drains itself.
    pub fn is_leaving(&self) -> bool {
        self.drained || self.offer.draining
    }

    /// What is kept for its live attempts in all.
    pub fn taken(&self) -> Taken {
        self.taken
    }

    /// Its devices that are taken, by id, with who has each.
    pub fn holds(&self) -> &BTreeMap<Arc<str>, Fence> {
        &self.holds
    }

    /// Its devices that nobody has.
    pub fn free_devices(&self) -> impl Iterator<Item = &Device> {
        let devices = self.offer.devices.iter();
        devices.filter(|device| !self.holds.contains_key(device.device_id.as_str()))
    }

    pub(crate) fn record(&self) -> pb::WorkerRecord {
        pb::WorkerRecord {
            name: self.name.to_string(),
            incarnation: self.incarnation,
            offer: Some((*self.offer).clone()),
            lost: self.lost,
            attempts: self.attempts.iter().map(|fence| (*fence).into()).collect(),
            revision: self.revision,
            holds: self.holds.iter().map(hold).collect(),
            drained: self.drained,
            instance_id: self.instance_id.to_vec().into(),
        }
    }
}

fn hold((device_id, fence): (&Arc<str>, &Fence)) -> pb::DeviceHold {
    pb::DeviceHold {
        device_id: device_id.to_string(),
        fence: Some((*fence).into()),
    }
}
