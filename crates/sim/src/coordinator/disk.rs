//! The coordinator's disk: what was written survives a crash; of what was on its way, a beginning may.

use std::collections::VecDeque;

use coordinator::{Base, Batch, Recovered};

use crate::Bug;
use crate::stage::Stage;

/// A log, a snapshot, and what is being written.
#[derive(Debug)]
pub(crate) struct Disk {
    log: Recovered,
    /// The ledger of the snapshot that the log begins after; empty for the founding one.
    snapshot: Vec<u8>,
    /// Handed over and not written.
    pending: VecDeque<Batch>,
    /// How many of the pending ones the write that goes on covers; 0 when none does.
    writing: usize,
}

/// A snapshot on its way to the disk.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) base: Base,
    pub(crate) ledger: Vec<u8>,
}

impl Disk {
    /// The disk of a member that founds a cluster by itself.
    pub(crate) fn founding() -> Self {
        Self {
            log: Recovered::founding(&[1]),
            snapshot: Vec::new(),
            pending: VecDeque::new(),
            writing: 0,
        }
    }

    /// Takes a batch; true when a write must be begun.
    pub(crate) fn hand_over(&mut self, batch: Batch) -> bool {
        self.pending.push_back(batch);
        self.begin()
    }

    /// Begins a write of all that waits, if none goes on and something does.
    pub(crate) fn begin(&mut self) -> bool {
        if self.writing > 0 || self.pending.is_empty() {
            return false;
        }
        self.writing = self.pending.len();
        true
    }

    /// The write has ended: the number of the newest batch in it, and how many there were.
    pub(crate) fn written(&mut self) -> (u64, usize) {
        let count = std::mem::take(&mut self.writing);
        let mut newest = 0;
        for batch in self.pending.drain(..count) {
            newest = batch.number;
            write(&mut self.log, batch);
        }
        (newest, count)
    }

    /// The process is gone. Batches are atomic and written in order, so a beginning of them may be there.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        let pending = std::mem::take(&mut self.pending);
        // What was never handed to the write that goes on cannot have been written.
        let survive = stage.chance.between(0..self.writing as u64 + 1) as usize;
        self.writing = 0;
        if survive > 0 {
            stage.sometimes("a batch outlived a crash unacknowledged");
        }
        if pending.len() > survive {
            stage.sometimes("a batch was lost in a crash");
        }
        for batch in pending.into_iter().take(survive) {
            write(&mut self.log, batch);
        }
        if stage.has(Bug::ForgetLastEntry) {
            self.log.entries.pop();
        }
        if stage.has(Bug::ForgetLogAfterSnapshot) {
            self.log.entries.clear();
        }
    }

    /// A snapshot is on the disk; the log is shortened by a separate order.
    pub(crate) fn store_snapshot(&mut self, stored: Stored) {
        self.log.base = stored.base;
        self.snapshot = stored.ledger;
    }

    pub(crate) fn compact(&mut self, index: u64) {
        self.log.entries.retain(|entry| entry.index > index);
    }

    /// What a start finds: the log after the newest snapshot, and that snapshot.
    pub(crate) fn recover(&self) -> (Recovered, &[u8]) {
        let mut found = self.log.clone();
        found.entries.retain(|entry| entry.index > found.base.index);
        (found, &self.snapshot)
    }

    /// Every entry with data that is on the disk: index and data.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.log
            .entries
            .iter()
            .filter(|entry| !entry.data.is_empty())
            .map(|entry| (entry.index, &entry.data[..]))
    }
}

fn write(log: &mut Recovered, batch: Batch) {
    if let Some(first) = batch.entries.first() {
        log.entries.retain(|entry| entry.index < first.index);
    }
    log.entries.extend(batch.entries);
    if let Some(hard_state) = batch.hard_state {
        log.hard_state = hard_state;
    }
}
