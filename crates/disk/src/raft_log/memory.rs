//! The Raft log in memory, for tests and for nodes that are never restarted.

use super::keys::bounds::Bounds;
use super::recovery::check_dense;
use super::snapshots::SnapshotMeta;
use super::{LogStore, Recovered, SnapshotStore};
use crate::error::DiskError;
use raft::eraftpb::{Entry, HardState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A log in memory. A clone is the same log, as a directory opened again would be.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    hard_state: HardState,
    bounds: Bounds,
    entries: Vec<Entry>,
    snapshots: Vec<(SnapshotMeta, Vec<u8>)>,
}

impl Default for MemoryLog {
    fn default() -> MemoryLog {
        let state = State {
            hard_state: HardState::default(),
            bounds: Bounds::new(),
            entries: Vec::new(),
            snapshots: Vec::new(),
        };
        MemoryLog {
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogStore for MemoryLog {
    fn load(&mut self) -> Result<Recovered, DiskError> {
        let state = self.state();
        let snapshot = state.snapshots.last().map(|(meta, _)| meta.clone());
        let after = snapshot.as_ref().map_or(0, |meta| meta.index);
        let entries = state
            .entries
            .iter()
            .filter(|entry| entry.index > after)
            .cloned()
            .collect();
        Ok(Recovered {
            hard_state: state.hard_state.clone(),
            snapshot,
            entries,
            written: state.bounds.writes > 0,
        })
    }

    fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), DiskError> {
        let mut state = self.state();
        check_dense(state.bounds, entries)?;
        if !entries.is_empty() || hard_state.is_some() {
            state.bounds = state.bounds.next(state.bounds.first, state.bounds.last);
        }
        if let Some(hard_state) = hard_state {
            state.hard_state = hard_state.clone();
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            state.entries.retain(|entry| entry.index < first.index);
            state.entries.extend_from_slice(entries);
            state.bounds.last = last.index;
        }
        Ok(())
    }

    fn compact(&mut self, index: u64) -> Result<(), DiskError> {
        let mut state = self.state();
        let Some(oldest_kept) = state.snapshots.first().map(|(meta, _)| meta.index) else {
            return Ok(());
        };
        let index = index.min(oldest_kept).min(state.bounds.last);
        if index >= state.bounds.first {
            state.bounds.first = index + 1;
            state.entries.retain(|entry| entry.index > index);
        }
        Ok(())
    }

    fn store_snapshot(&mut self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), DiskError> {
        let mut state = self.state();
        let newer = state
            .snapshots
            .partition_point(|(kept, _)| kept.index < meta.index);
        state.snapshots.insert(newer, (meta.clone(), data.to_vec()));
        let surplus = state.snapshots.len().saturating_sub(2);
        state.snapshots.drain(..surplus);
        let same = state.entries.iter().find(|entry| entry.index == meta.index);
        let replaced = same.map_or(meta.index > state.bounds.last, |entry| {
            entry.term != meta.term
        });
        if replaced {
            state.entries.clear();
            state.bounds = state.bounds.next(meta.index + 1, meta.index);
        }
        Ok(())
    }

    fn latest_snapshot(&mut self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError> {
        Ok(self.state().snapshots.last().cloned())
    }
    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.clone())
    }
}

impl SnapshotStore for MemoryLog {
    fn store(&self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), DiskError> {
        self.clone().store_snapshot(meta, data)
    }

    fn at(&self, index: u64) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError> {
        let state = self.state();
        let found = state
            .snapshots
            .iter()
            .rfind(|(meta, _)| meta.index == index);
        Ok(found.cloned())
    }
}
