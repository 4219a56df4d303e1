//! A coordinator's disk: what was written survives a crash; of what was on its way, a beginning may.

use std::collections::VecDeque;

use coordinator::{Base, Batch, Recovered};
use raft::eraftpb::{Entry, EntryType};

use crate::Bug;
use crate::stage::Stage;

/// A log, a snapshot, and what is being written.
#[derive(Debug)]
pub(crate) struct Disk {
    stored: Contents,
    /// Handed over and not written.
    pending: VecDeque<Batch>,
    /// How many of the pending ones the write that goes on covers; 0 when none does.
    writing: usize,
    /// Somebody's copy of an earlier state.
    copy: Option<Contents>,
    flipped: Option<Flip>,
}

/// Where a bit is not what was written. It is seen by who looks: a process that starts.
#[derive(Debug, Clone, Copy)]
enum Flip {
    /// In the entry of that index.
    Entry(u64),
    /// In the snapshot of that index.
    Snapshot(u64),
}

/// What is on a disk.
#[derive(Debug, Clone)]
struct Contents {
    log: Recovered,
    /// The ledger of the snapshot that the log begins after; empty for the founding one.
    snapshot: Vec<u8>,
}

/// A snapshot on its way to the disk.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) base: Base,
    pub(crate) ledger: Vec<u8>,
}

impl Disk {
    /// A disk with a log.
    pub(crate) fn new(log: Recovered) -> Self {
        Self {
            stored: Contents {
                log,
                snapshot: Vec::new(),
            },
            pending: VecDeque::new(),
            writing: 0,
            copy: None,
            flipped: None,
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
            write(&mut self.stored, batch);
        }
        (newest, count)
    }

    /// The process is gone. Batches are atomic and written in order, so a beginning of them may be there; one that was torn is told by
    /// its checksum and left out.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        let pending = std::mem::take(&mut self.pending);
        // What was never handed to the write that goes on cannot have been written.
        let survive = stage.chance.between(0..self.writing as u64 + 1) as usize;
        if survive < self.writing && stage.chance.permille(300) {
            stage.sometimes("a torn write was told by its checksum");
        }
        self.writing = 0;
        if survive > 0 {
            stage.sometimes("a batch outlived a crash unacknowledged");
        }
        if pending.len() > survive {
            stage.sometimes("a batch was lost in a crash");
        }
        for batch in pending.into_iter().take(survive) {
            write(&mut self.stored, batch);
        }
        let log = &mut self.stored.log;
        if stage.has(Bug::ForgetLastEntry) {
            log.entries.pop();
        }
        if stage.has(Bug::ForgetLogAfterSnapshot) {
            log.entries.clear();
        }
    }

    /// A snapshot is on the disk; the log is shortened by a separate order.
    pub(crate) fn store_snapshot(&mut self, stored: Stored) {
        // Another's may have come in between.
        if stored.base.index <= self.stored.log.base.index {
            return;
        }
        self.stored.log.base = stored.base;
        self.stored.snapshot = stored.ledger;
    }

    /// The bytes of the snapshot of that index, if it is the newest.
    pub(crate) fn snapshot(&self, index: u64) -> Option<&[u8]> {
        let stored = &self.stored;
        (stored.log.base.index == index && !stored.snapshot.is_empty())
            .then_some(&stored.snapshot[..])
    }

    /// The bytes of the newest snapshot.
    pub(crate) fn newest_snapshot(&self) -> &[u8] {
        &self.stored.snapshot
    }

    pub(crate) fn compact(&mut self, index: u64) {
        let entries = &mut self.stored.log.entries;
        let keep = entries.partition_point(|entry| entry.index <= index);
        entries.drain(..keep);
    }

    /// What a start finds: the log after the newest snapshot, and that snapshot.
    pub(crate) fn recover(&self) -> (Recovered, &[u8]) {
        let mut found = self.stored.log.clone();
        found.entries.retain(|entry| entry.index > found.base.index);
        (found, &self.stored.snapshot)
    }

    pub(crate) fn has_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// Somebody copies the disk.
    pub(crate) fn take_copy(&mut self) {
        self.copy = Some(self.stored.clone());
    }

    /// Somebody puts the copy back in place of what is there. False when there is none.
    pub(crate) fn put_back(&mut self) -> bool {
        let Some(copy) = self.copy.take() else {
            return false;
        };
        self.stored = copy;
        self.flipped = None;
        true
    }

    /// A bit changes. False when there is nothing yet.
    pub(crate) fn flip(&mut self, stage: &mut Stage) -> bool {
        let log = &self.stored.log;
        let entries = log.entries.iter().filter(|entry| !entry.data.is_empty());
        let entries: Vec<u64> = entries.map(|entry| entry.index).collect();
        let entry = stage.chance.pick(&entries).copied().map(Flip::Entry);
        let has_snapshot = !self.stored.snapshot.is_empty();
        let snapshot = has_snapshot.then_some(Flip::Snapshot(log.base.index));
        self.flipped = match stage.chance.permille(300) {
            true => snapshot.or(entry),
            false => entry.or(snapshot),
        };
        self.flipped.is_some()
    }

    /// Whether a bit is wrong in something that is there still.
    pub(crate) fn is_flipped(&self) -> bool {
        let log = &self.stored.log;
        match self.flipped {
            Some(Flip::Entry(index)) => {
                index > log.base.index && log.entries.iter().any(|entry| entry.index == index)
            }
            Some(Flip::Snapshot(index)) => index == log.base.index,
            None => false,
        }
    }

    /// Nobody looks at checksums: what is wrong is read as it is.
    pub(crate) fn read_flipped(&mut self) {
        let wrong = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 4;
            }
            bytes
        };
        match self.flipped.take() {
            Some(Flip::Entry(index)) => {
                let entries = &mut self.stored.log.entries;
                if let Some(entry) = entries.iter_mut().find(|entry| entry.index == index) {
                    entry.data = wrong(&entry.data).into();
                }
            }
            Some(Flip::Snapshot(_)) => self.stored.snapshot = wrong(&self.stored.snapshot),
            None => {}
        }
    }

    /// Every entry with commands that is on the disk after an index: index and data.
    pub(crate) fn entries_after(&self, index: u64) -> impl Iterator<Item = (u64, &[u8])> {
        // While a snapshot is on its way, what is there is of the time before it.
        let is_old = self.pending.iter().any(|batch| batch.snapshot.is_some());
        let entries = &self.stored.log.entries;
        let from = match is_old {
            true => entries.len(),
            false => entries.partition_point(|entry| entry.index <= index),
        };
        entries[from..]
            .iter()
            .filter(|entry| is_normal(entry) && !entry.data.is_empty())
            .map(|entry| (entry.index, &entry.data[..]))
    }
}

fn write(contents: &mut Contents, batch: Batch) {
    let log = &mut contents.log;
    if let Some(snapshot) = batch.snapshot {
        let metadata = snapshot.get_metadata();
        log.base = Base {
            index: metadata.index,
            term: metadata.term,
            members: metadata.get_conf_state().clone(),
        };
        log.entries.clear();
        contents.snapshot = snapshot.data.to_vec();
    }
    if let Some(first) = batch.entries.first() {
        let keep = log
            .entries
            .partition_point(|entry| entry.index < first.index);
        log.entries.truncate(keep);
    }
    log.entries.extend(batch.entries);
    if let Some(hard_state) = batch.hard_state {
        log.hard_state = hard_state;
    }
}

/// Whether it is for the ledger, and not for raft itself.
fn is_normal(entry: &Entry) -> bool {
    entry.get_entry_type() == EntryType::EntryNormal
}
