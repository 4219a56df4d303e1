//! Which machine has which bytes, and which machines hand them out.

use std::collections::BTreeMap;

use blob::{Digest, Manifest};

use crate::chance::Chance;
use crate::event::MachineId;

/// The blob stores of all machines. What is in them is durable.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    kept: BTreeMap<(MachineId, Digest), Vec<u8>>,
    parts: BTreeMap<(MachineId, Digest), Parts>,
    serving: BTreeMap<MachineId, Service>,
}

/// What has come of a blob that has no name yet.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) chunks: BTreeMap<u64, Vec<u8>>,
}

/// How a machine answers who asks for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// With what it has.
    Answers,
    /// Not at all: its daemon stands still.
    Silent,
    /// It cannot be reached, and that is seen at once.
    Down,
}

/// The digest that these bytes are; that of nothing at all if they are none.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest(bytes.try_into().unwrap_or_default())
}

impl Blobs {
    pub(crate) fn keep(&mut self, machine: MachineId, digest: Digest, bytes: Vec<u8>) {
        self.kept.insert((machine, digest), bytes);
    }

    pub(crate) fn bytes(&self, machine: MachineId, digest: Digest) -> Option<&[u8]> {
        self.kept.get(&(machine, digest)).map(Vec::as_slice)
    }

    pub(crate) fn has(&self, machine: MachineId, digest: Digest) -> bool {
        self.kept.contains_key(&(machine, digest))
    }

    /// From now on a machine answers like this.
    pub(crate) fn serve(&mut self, machine: MachineId, service: Service) {
        self.serving.insert(machine, service);
    }

    pub(crate) fn service(&self, machine: MachineId) -> Service {
        let known = self.serving.get(&machine);
        known.copied().unwrap_or(Service::Down)
    }

    /// A chunk is on the disk.
    pub(crate) fn write(
        &mut self,
        machine: MachineId,
        digest: Digest,
        manifest: &Manifest,
        (index, data): (u64, &[u8]),
    ) {
        let parts = self.parts.entry((machine, digest));
        let parts = parts.or_insert_with(|| Parts {
            manifest: manifest.clone(),
            chunks: BTreeMap::new(),
        });
        parts.chunks.insert(index, data.to_vec());
    }

    /// What an earlier fetch has left.
    pub(crate) fn parts(&self, machine: MachineId, digest: Digest) -> Option<&Parts> {
        self.parts.get(&(machine, digest))
    }

    pub(crate) fn has_parts(&self, machine: MachineId) -> bool {
        self.parts.keys().any(|(at, _)| *at == machine)
    }

    /// What has come, in order, which from now on is kept as a whole or not at all.
    pub(crate) fn take_parts(&mut self, machine: MachineId, digest: Digest) -> Vec<u8> {
        let parts = self.parts.remove(&(machine, digest));
        let chunks = parts.map(|parts| parts.chunks).unwrap_or_default();
        chunks.into_values().flatten().collect()
    }

    /// All that a machine had is gone.
    pub(crate) fn wipe(&mut self, machine: MachineId) {
        self.kept.retain(|(at, _), _| *at != machine);
        self.parts.retain(|(at, _), _| *at != machine);
    }

    /// The machine went down: of what had no name yet, some chunks are not what was written.
    pub(crate) fn tear(&mut self, machine: MachineId, chance: &mut Chance) {
        let of_machine = self.parts.iter_mut().filter(|((at, _), _)| *at == machine);
        for chunk in of_machine.flat_map(|(_, parts)| parts.chunks.values_mut()) {
            if chance.permille(500) {
                let from = chance.between(0..chunk.len() as u64) as usize;
                chunk[from..].fill(0);
            }
        }
    }
}
