//! The Raft log as `RawNode` reads it: a copy in memory of what the disk holds or is about to hold.
//!
//! `snapshot.index < first_index <= last_index + 1`, entries are dense, terms never fall.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

/// Index of the snapshot that every founding member starts from, so that the membership has a place in the log's history.
pub const FOUNDING_INDEX: u64 = 1;
/// Term of that snapshot.
pub const FOUNDING_TERM: u64 = 1;

/// Where the log begins: everything up to here is in a snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Base {
    /// Index of the last entry in the snapshot.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Membership at that index.
    pub members: ConfState,
}

/// The log in memory.
#[derive(Debug)]
pub struct Log {
    hard_state: HardState,
    base: Base,
    entries: VecDeque<Entry>,
}

impl Log {
    /// A log as it was found: `entries` must follow `base` without a gap.
    ///
    /// The commit index is clamped to what is there, because a commit index alone is never synced.
    pub fn new(mut hard_state: HardState, base: Base, entries: Vec<Entry>) -> Self {
        let last = entries.last().map_or(base.index, |entry| entry.index);
        hard_state.commit = hard_state.commit.clamp(base.index, last);
        hard_state.term = hard_state.term.max(base.term);
        Self {
            hard_state,
            base,
            entries: entries.into(),
        }
    }

    /// Takes in entries that are on their way to the disk; they replace what they overlap.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self
            .entries
            .back()
            .is_some_and(|last| last.index >= first.index)
        {
            self.entries.pop_back();
        }
        self.entries.extend(entries.iter().cloned());
    }

    /// Takes in a new hard state.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Forgets everything up to and including `index`, which a stored snapshot covers.
    pub fn compact(&mut self, index: u64) {
        let Ok(term) = Storage::term(self, index) else {
            return;
        };
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.index <= index)
        {
            self.entries.pop_front();
        }
        self.base.index = index;
        self.base.term = term;
    }

    /// How many entries are held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn last(&self) -> u64 {
        self.entries
            .back()
            .map_or(self.base.index, |entry| entry.index)
    }

    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.base.index + 1)?).ok()
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.base.members.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let (Some(from), Some(to)) = (self.position(low), self.position(high)) else {
            return Err(Error::Store(StorageError::Compacted));
        };
        if to > self.entries.len() {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let mut entries: Vec<Entry> = self.entries.range(from..to).cloned().collect();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        let position = self
            .position(index)
            .ok_or(Error::Store(StorageError::Compacted))?;
        self.entries
            .get(position)
            .map(|entry| entry.term)
            .ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // Snapshots are built beside the loop and shipped on their own stream; raft asks again later.
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            index,
            term,
            ..Entry::default()
        }
    }

    fn log(entries: &[(u64, u64)]) -> Log {
        let base = Base {
            index: 1,
            term: 1,
            members: ConfState::default(),
        };
        Log::new(
            HardState::default(),
            base,
            entries.iter().map(|&(i, t)| entry(i, t)).collect(),
        )
    }

    fn indexes(log: &Log, low: u64, high: u64) -> raft::Result<Vec<(u64, u64)>> {
        log.entries(low, high, None, GetEntriesContext::empty(false))
            .map(|entries| {
                entries
                    .iter()
                    .map(|entry| (entry.index, entry.term))
                    .collect()
            })
    }

    #[test]
    fn a_later_append_replaces_what_it_overlaps() {
        let mut log = log(&[(2, 1), (3, 1), (4, 1)]);
        log.append(&[entry(3, 2)]);
        assert_eq!(indexes(&log, 2, 4).unwrap(), [(2, 1), (3, 2)]);
        assert_eq!(log.last_index().unwrap(), 3);
    }

    #[test]
    fn reads_outside_say_on_which_side() {
        let mut log = log(&[(2, 1), (3, 1), (4, 2)]);
        log.compact(3);
        assert_eq!(log.first_index().unwrap(), 4);
        assert_eq!(log.term(3).unwrap(), 1);
        assert_eq!(log.term(2), Err(Error::Store(StorageError::Compacted)));
        assert_eq!(log.term(5), Err(Error::Store(StorageError::Unavailable)));
        assert_eq!(
            indexes(&log, 3, 5),
            Err(Error::Store(StorageError::Compacted))
        );
        assert_eq!(indexes(&log, 4, 5).unwrap(), [(4, 2)]);
        assert_eq!(log.len(), 1);
    }

    #[test]
    fn the_commit_index_is_clamped_to_what_was_found() {
        let hard_state = HardState {
            commit: 99,
            ..HardState::default()
        };
        let base = Base {
            index: 5,
            term: 3,
            members: ConfState::default(),
        };
        let log = Log::new(hard_state, base, vec![entry(6, 3)]);
        let state = log.initial_state().unwrap();
        assert_eq!((state.hard_state.commit, state.hard_state.term), (6, 3));
    }
}
