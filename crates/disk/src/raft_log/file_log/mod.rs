//! The Raft log in plain files: segments of their full length from the beginning, one write and one sync for each batch.
//!
//! | module | what |
//! | --- | --- |
//! | [`format`] | what the bytes of a segment mean |
//! | [`replay`] | from the files to the state, or to what is missing |
//! | [`segments`] | writing: records into segments, one after the other |
//!
//! A power cut may take the last batch, if nobody was told that it is durable, and nothing else. What else is missing is damage: it
//! is named, and the member does not start.

mod format;

mod replay;

mod segments;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use self::segments::{Segments, Sizes};
use super::lock::lock;
use super::mark::Mark;
use super::medium::DiskDirectory;
use super::recovery::{self, check_dense};
use super::snapshots::{SnapshotMeta, Snapshots};
use super::{LogConfig, LogStore, Recovered, SnapshotStore};
use crate::error::DiskError;
use crate::files;
use crate::space::space_of;
use raft::eraftpb::{Entry, HardState};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Where the segments are, below the log's directory.
pub(super) const SEGMENTS: &str = "segments";

/// A member's Raft state in a directory of its own.
pub struct FileLog {
    config: LogConfig,
    dir: PathBuf,
    segments: Segments<DiskDirectory>,
    snapshots: Snapshots,
    /// Where terms begin, by the index of their first entry.
    terms: BTreeMap<u64, u64>,
    /// What was found when it was opened, until somebody asks for it or it changes.
    found: Option<BTreeMap<u64, Entry>>,
    /// Held as long as the log is open.
    _lock: File,
}

impl FileLog {
    /// Opens the state in `dir`, creating it if there is none. Call [`load`](LogStore::load) next.
    pub fn open(dir: &Path, config: LogConfig) -> Result<FileLog, DiskError> {
        files::own_dir(dir)?;
        let lock = lock(dir, Instant::now() + config.lock_wait)?;
        let snapshots = Snapshots::open(&dir.join("snapshots"))?;
        files::own_dir(&dir.join(SEGMENTS))?;
        let (segments, entries) = open_segments(dir, config)?;
        Ok(FileLog {
            config,
            dir: dir.to_owned(),
            segments,
            snapshots,
            terms: terms_of(entries.values()),
            found: Some(entries),
            _lock: lock,
        })
    }

    fn has_room(&self, bytes: usize) -> Result<(), DiskError> {
        let space = space_of(&self.dir)?;
        if space.available_bytes < self.config.reserve_bytes.saturating_add(bytes as u64) {
            return Err(DiskError::Full {
                doing: "storing a snapshot in",
                path: self.dir.clone(),
            });
        }
        Ok(())
    }

    /// The term of an entry that the log holds.
    fn term_of(&self, index: u64) -> Option<u64> {
        let bounds = self.segments.bounds();
        if !(bounds.first..=bounds.last).contains(&index) {
            return None;
        }
        self.terms
            .range(..=index)
            .next_back()
            .map(|(_, term)| *term)
    }

    fn restart_after(&mut self, index: u64) -> Result<(), DiskError> {
        self.found = None;
        self.segments.restart_after(index)?;
        self.terms.clear();
        Ok(())
    }

    /// Forgets entries that no kept snapshot needs: the older one stands in if the newer turns out damaged.
    fn forget_up_to(&mut self, index: u64) -> Result<(), DiskError> {
        let Some(oldest_kept) = self.snapshots.indexes()?.first().copied() else {
            return Ok(());
        };
        let bounds = self.segments.bounds();
        let first = index.min(oldest_kept).min(bounds.last) + 1;
        if first > bounds.first {
            self.segments.forget_before(first)?;
            if let Some((_, term)) = self.terms.range(..=first).next_back() {
                let term = *term;
                self.terms = self.terms.split_off(&first);
                self.terms.insert(first, term);
            }
        }
        Ok(())
    }
}

impl LogStore for FileLog {
    fn load(&mut self) -> Result<Recovered, DiskError> {
        let entries = match self.found.take() {
            Some(entries) => entries,
            None => {
                let (segments, entries) = open_segments(&self.dir, self.config)?;
                self.segments = segments;
                self.terms = terms_of(entries.values());
                entries
            }
        };
        let latest = self.snapshots.checked()?;
        let (recovered, replaced) = recovery::beside(
            &self.dir.display().to_string(),
            latest,
            self.segments.bounds(),
            self.segments.hard_state().clone(),
            entries.into_values().collect(),
        )?;
        match replaced {
            Some(index) => self.restart_after(index)?,
            // Not all that was forgotten is durable.
            None => self.forget_up_to(u64::MAX)?,
        }
        Ok(recovered)
    }

    fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), DiskError> {
        check_dense(self.segments.bounds(), entries)?;
        if entries.is_empty() && hard_state.is_none() {
            return Ok(());
        }
        self.found = None;
        self.segments.append(entries, hard_state)?;
        if let Some(first) = entries.first() {
            self.terms.split_off(&first.index);
        }
        note_terms(&mut self.terms, entries);
        Ok(())
    }

    fn compact(&mut self, index: u64) -> Result<(), DiskError> {
        self.forget_up_to(index)
    }

    fn store_snapshot(&mut self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), DiskError> {
        self.has_room(data.len())?;
        self.snapshots.store(meta, data)?;
        let replaced = match self.term_of(meta.index) {
            Some(term) => term != meta.term,
            None => meta.index > self.segments.bounds().last,
        };
        match replaced {
            true => self.restart_after(meta.index),
            false => Ok(()),
        }
    }

    fn latest_snapshot(&mut self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError> {
        self.snapshots.latest()
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.snapshots.clone())
    }
}

fn open_segments(
    dir: &Path,
    config: LogConfig,
) -> Result<(Segments<DiskDirectory>, BTreeMap<u64, Entry>), DiskError> {
    let directory = DiskDirectory(dir.join(SEGMENTS));
    let mark = Mark::open(&dir.join("mark"))?;
    Segments::open(directory, mark, Sizes::usual(config.reserve_bytes))
}

fn terms_of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeMap<u64, u64> {
    let mut terms = BTreeMap::new();
    note_terms(&mut terms, entries);
    terms
}

/// Notes where terms begin in entries that follow those that were noted.
fn note_terms<'a>(terms: &mut BTreeMap<u64, u64>, entries: impl IntoIterator<Item = &'a Entry>) {
    let mut last = terms.last_key_value().map(|(_, term)| *term);
    for entry in entries {
        if last != Some(entry.term) {
            terms.insert(entry.index, entry.term);
            last = Some(entry.term);
        }
    }
}
