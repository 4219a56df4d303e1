//! The Raft log as `RawNode` reads it: a copy in memory of what the disk holds or is about to hold.
//!
//! `snapshot.index < first_index <= last_index + 1`, entries are dense, terms never fall.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
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

impl Base {
    /// The same as raft says it.
    pub fn metadata(&self) -> SnapshotMetadata {
        let mut metadata = SnapshotMetadata {
            index: self.index,
            term: self.term,
            ..SnapshotMetadata::default()
        };
        metadata.set_conf_state(self.members.clone());
        metadata
    }
}

impl From<&SnapshotMetadata> for Base {
    fn from(metadata: &SnapshotMetadata) -> Self {
        Self {
            index: metadata.index,
            term: metadata.term,
            members: metadata.get_conf_state().clone(),
        }
    }
}

/// The log in memory.
#[derive(Debug)]
pub struct Log {
    hard_state: HardState,
    base: Base,
    entries: VecDeque<Entry>,
    /// The newest snapshot that is on the disk and holds something; what a member that lags too far is sent.
    stored: Option<Base>,
    /// Least index of a snapshot that raft asked for and did not get.
    wanted: Cell<Option<u64>>,
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
            stored: (base.index > FOUNDING_INDEX).then(|| base.clone()),
            base,
            entries: entries.into(),
            wanted: Cell::new(None),
        }
    }

    /// Begins again after a leader's snapshot, which is on its way to the disk. Everything else is forgotten.
    pub fn install(&mut self, base: Base) {
        self.entries.clear();
        self.base = base;
    }

    /// Told that a snapshot is on the disk: from now on it may be sent.
    pub fn snapshot_stored(&mut self, stored: Base) {
        if self
            .stored
            .as_ref()
            .is_none_or(|older| older.index < stored.index)
        {
            self.stored = Some(stored);
        }
    }

    /// Index of the newest stored snapshot; 0 when there is none to send.
    pub fn stored_index(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| stored.index)
    }

    /// Least index of a snapshot that was asked for in vain since the last call.
    pub fn take_wanted(&mut self) -> Option<u64> {
        self.wanted.take()
    }

    /// The index up to which entries can go so that of those up to `index` at most so many, of so many bytes, stay.
    pub fn tail(&self, index: u64, entries: u64, bytes: u64) -> u64 {
        let mut at = index;
        let mut size = 0;
        while at > self.base.index && index - at < entries {
            let entry = self
                .position(at)
                .and_then(|position| self.entries.get(position));
            size += entry.map_or(0, |entry| entry.data.len() as u64);
            if size > bytes {
                break;
            }
            at -= 1;
        }
        at
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

    /// The hard state that was handed over last.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
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

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // A member takes no snapshot that does not know it: one that is newer than its admission is needed.
        let least = match &self.stored {
            Some(stored) if !knows(&stored.members, to) => request_index.max(stored.index + 1),
            _ => request_index,
        };
        // The log goes on after the snapshot, or whoever got it could not be sent what follows.
        let usable = |stored: &&Base| {
            stored.index >= least.max(self.base.index) && stored.index <= self.last()
        };
        let Some(stored) = self.stored.as_ref().filter(usable) else {
            // It is made beside the loop; raft asks again.
            let wanted = self.wanted.get().unwrap_or_default();
            self.wanted.set(Some(wanted.max(least)));
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        let mut snapshot = Snapshot::default();
        snapshot.set_metadata(stored.metadata());
        Ok(snapshot)
    }
}

/// Whether a membership has a member, in any part.
fn knows(members: &ConfState, member: u64) -> bool {
    [
        &members.voters,
        &members.learners,
        &members.voters_outgoing,
        &members.learners_next,
    ]
    .iter()
    .any(|part| part.contains(&member))
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

    #[test]
    fn a_snapshot_is_handed_out_once_it_is_stored_and_asked_for_until_then() {
        let mut log = log(&[(2, 1), (3, 1), (4, 2)]);
        let unavailable = Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        assert_eq!(log.snapshot(0, 2), unavailable, "the founding one is empty");
        assert_eq!(log.snapshot(3, 2), unavailable);
        assert_eq!((log.take_wanted(), log.take_wanted()), (Some(3), None));
        let stored = Base {
            index: 3,
            term: 1,
            members: ConfState {
                learners: vec![2],
                ..ConfState::default()
            },
        };
        log.snapshot_stored(stored);
        let snapshot = log.snapshot(3, 2).unwrap();
        assert_eq!((snapshot.get_metadata().index, snapshot.data.len()), (3, 0));
        assert_eq!(log.snapshot(4, 2), unavailable, "a newer one is asked for");
        assert_eq!(log.take_wanted(), Some(4));
        assert_eq!(log.snapshot(0, 7), unavailable, "it does not know member 7");
        assert_eq!(log.take_wanted(), Some(4), "one that is newer is asked for");
        log.compact(4);
        assert_eq!(log.snapshot(0, 2), unavailable, "nothing could follow it");
    }

    #[test]
    fn a_tail_is_bounded_by_count_and_by_bytes() {
        let mut log = log(&[]);
        let large = |index| Entry {
            data: vec![0; 10].into(),
            ..entry(index, 1)
        };
        log.append(&(2..=11).map(large).collect::<Vec<_>>());
        assert_eq!(log.tail(9, 3, 1_000), 6);
        assert_eq!(log.tail(9, 100, 25), 7);
        assert_eq!(log.tail(9, 100, 1_000), 1);
    }
}
