//! Which machine has which bytes, and which machines hand them out.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::MachineId;

/// The blob stores of all machines. What is in them is durable.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    holders: BTreeMap<Vec<u8>, BTreeSet<MachineId>>,
    serving: BTreeSet<MachineId>,
}

impl Blobs {
    pub(crate) fn store(&mut self, machine: MachineId, digest: &[u8]) {
        self.holders
            .entry(digest.to_vec())
            .or_default()
            .insert(machine);
    }

    pub(crate) fn has(&self, machine: MachineId, digest: &[u8]) -> bool {
        self.holders
            .get(digest)
            .is_some_and(|holders| holders.contains(&machine))
    }

    /// The daemon of a machine hands its blobs out, or no longer does.
    pub(crate) fn serve(&mut self, machine: MachineId, serves: bool) {
        if serves {
            self.serving.insert(machine);
        } else {
            self.serving.remove(&machine);
        }
    }

    /// Fetches a blob to a machine from those that are said to have it. Fails with whether it makes sense to try again:
    /// one that answers and does not have it never will.
    pub(crate) fn fetch(
        &mut self,
        to: MachineId,
        digest: &[u8],
        locations: &[String],
    ) -> Result<(), bool> {
        if self.has(to, digest) {
            return Ok(());
        }
        let named: Vec<MachineId> = locations
            .iter()
            .filter_map(|address| super::id_of(address))
            .collect();
        let found = named
            .iter()
            .any(|from| self.serving.contains(from) && self.has(*from, digest));
        if found {
            self.store(to, digest);
            return Ok(());
        }
        Err(named.iter().any(|from| !self.serving.contains(from)))
    }
}
