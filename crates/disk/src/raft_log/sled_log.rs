//! The Raft log in sled 0.34, used by the rules under which it was seen to lose nothing at a power cut.
//!
//! 1. sled's `flush` does not sync: after each one we sync its file ourselves, through a handle of our own.
//! 2. Segments of 8 MiB and values of at most 32 KiB, so that no page becomes a separate file that sled never syncs.
//!    Longer entries are cut into parts; snapshots are ordinary files.
//! 3. Removals come in batches of at most 100 keys, each flushed; larger ones make memory and file grow without need.
//! 4. Opening removes what a crash left of sled's own snapshot, waits for the lock of a process that is just ending, and
//!    takes a panic for damage. Damage is never repaired: the member is replaced.
//! 5. No flushing in the background, and a small cache.
//!
//! Nothing else in the workspace touches sled.

use super::keys::bounds::Bounds;
use super::keys::{MAX_VALUE_LEN, Pair, bounds, entry, hard_state};
use super::lock::{lock, retry};
use super::mark::Mark;
use super::recovery::{self, check_dense, corrupt};
use super::snapshots::{SnapshotMeta, Snapshots};
use super::{LogConfig, LogStore, Recovered, SnapshotStore};
use crate::error::{DiskError, During};
use crate::files;
use crate::space::space_of;
use raft::eraftpb::{Entry, HardState};
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tracing::warn;

/// Where sled keeps its files, below the log's directory.
pub(super) const DATABASE: &str = "log";

const SEGMENT_LEN: usize = 8 << 20;
const CACHE_LEN: u64 = 64 << 20;
const MAX_REMOVALS: usize = 100;

// A page holds up to 16 values, briefly one more, and must stay below a quarter of a segment.
const _: () = assert!(17 * MAX_VALUE_LEN < SEGMENT_LEN / 4);

/// A member's Raft state in a directory of its own.
#[derive(Debug)]
pub struct SledLog {
    config: LogConfig,
    dir: PathBuf,
    db: sled::Db,
    /// Our own handle of sled's file, to sync it.
    file: File,
    file_path: PathBuf,
    mark: Mark,
    snapshots: Snapshots,
    bounds: Bounds,
    /// Held as long as the log is open.
    _lock: File,
}

impl SledLog {
    /// Opens the state in `dir`, creating it if there is none. Call [`load`](LogStore::load) next.
    pub fn open(dir: &Path, config: LogConfig) -> Result<SledLog, DiskError> {
        files::own_dir(dir)?;
        let until = Instant::now() + config.lock_wait;
        let lock = lock(dir, until)?;
        let snapshots = Snapshots::open(&dir.join("snapshots"))?;
        let sled_dir = dir.join(DATABASE);
        files::own_dir(&sled_dir)?;
        remove_leftovers(&sled_dir)?;
        let db = open_sled(&sled_dir, until)?;
        let file_path = sled_dir.join("db");
        let file = File::open(&file_path).during("opening", &file_path)?;
        let mark = Mark::open(&dir.join("mark"))?;
        let bounds = Bounds::new();
        let dir = dir.to_owned();
        let log = SledLog {
            config,
            dir,
            db,
            file,
            file_path,
            mark,
            snapshots,
            bounds,
            _lock: lock,
        };
        log.sync()?;
        files::sync_dir(&sled_dir)?;
        files::sync_dir(&log.dir)?;
        Ok(log)
    }

    fn corrupt(&self, place: &str, why: impl std::fmt::Display) -> DiskError {
        corrupt(&self.dir.display().to_string(), place, why)
    }

    /// One flush, one sync: everything applied so far is on the disk.
    fn sync(&self) -> Result<(), DiskError> {
        self.write_sled(|db| db.flush().map(drop))?;
        self.file.sync_data().during_sync(&self.file_path)
    }

    /// Once sled failed to write, its state is unknown, as after a failed sync.
    fn broken(&self, error: sled::Error) -> DiskError {
        let source = match error {
            sled::Error::Io(source) => source,
            other => std::io::Error::other(other),
        };
        DiskError::Sync {
            path: self.file_path.clone(),
            source,
        }
    }

    fn has_room(&self, bytes: usize) -> Result<(), DiskError> {
        let space = space_of(&self.dir)?;
        if space.available_bytes < self.config.reserve_bytes.saturating_add(bytes as u64) {
            return Err(DiskError::Full {
                doing: "appending to",
                path: self.file_path.clone(),
            });
        }
        Ok(())
    }

    fn apply(&self, batch: sled::Batch) -> Result<(), DiskError> {
        self.write_sled(|db| db.apply_batch(batch))
    }

    /// Some failures of the disk make sled panic.
    fn write_sled(
        &self,
        write: impl FnOnce(&sled::Db) -> sled::Result<()>,
    ) -> Result<(), DiskError> {
        catch_unwind(AssertUnwindSafe(|| write(&self.db)))
            .unwrap_or_else(|_| Err(sled::Error::ReportableBug("panicked while writing".into())))
            .map_err(|e| self.broken(e))
    }

    /// Removes keys, which lie outside the bounds that are stored first.
    fn remove(&self, keys: &[sled::IVec]) -> Result<(), DiskError> {
        for some in keys.chunks(MAX_REMOVALS) {
            let mut batch = sled::Batch::default();
            some.iter().for_each(|key| batch.remove(key));
            self.apply(batch)?;
            self.write_sled(|db| db.flush().map(drop))?;
        }
        Ok(())
    }

    /// Applies a batch with what the log's bounds are after it; durable on return.
    fn commit(&mut self, mut batch: sled::Batch, first: u64, last: u64) -> Result<(), DiskError> {
        let after = self.bounds.next(first, last);
        let (key, value) = bounds::encode(after);
        batch.insert(key, value);
        self.apply(batch)?;
        self.sync()?;
        self.bounds = after;
        // It is durable whatever becomes of the mark, which only falls behind.
        if let Err(error) = self.mark.write(after.writes) {
            warn!(%error, "the raft log's mark could not be written");
        }
        Ok(())
    }

    fn set_bounds(&mut self, first: u64, last: u64) -> Result<(), DiskError> {
        self.commit(sled::Batch::default(), first, last)
    }

    /// Keys of the parts of the entries `from .. end`.
    fn entry_keys(&self, from: u64, end: u64) -> Result<Vec<sled::IVec>, DiskError> {
        let range = entry::key(from, 0)..entry::key(end, 0);
        self.db
            .range(range)
            .keys()
            .collect::<Result<_, _>>()
            .map_err(|e| self.read_error(e))
    }

    fn read_error(&self, error: sled::Error) -> DiskError {
        match error {
            sled::Error::Io(source) => DiskError::Io {
                doing: "reading",
                path: self.file_path.clone(),
                source,
            },
            other => self.corrupt("log", other),
        }
    }

    /// Forgets all entries: the log goes on after `index`.
    fn restart_after(&mut self, index: u64) -> Result<(), DiskError> {
        self.set_bounds(index + 1, index)?;
        let stale = self.entry_keys(0, u64::MAX)?;
        self.remove(&stale)?;
        self.sync()
    }

    /// Everything in sled, checked against the bounds; leftovers are removed.
    fn scan(&mut self) -> Result<(HardState, Vec<Entry>), DiskError> {
        let mut hard = HardState::default();
        let mut found_bounds = None;
        let mut entries: Vec<Entry> = Vec::new();
        let mut assembler = entry::Assembler::default();
        let mut leftovers = Vec::new();
        for pair in self.db.iter() {
            let (key, value) = pair.map_err(|e| self.read_error(e))?;
            match &key[..] {
                bounds::KEY => {
                    let decoded = bounds::decode(&value);
                    found_bounds = Some(decoded.map_err(|why| self.corrupt("bounds", why))?);
                }
                hard_state::KEY => {
                    let decoded = hard_state::decode(&value);
                    hard = decoded.map_err(|why| self.corrupt("hard state", why))?;
                }
                other => {
                    let Some((index, part)) = entry::parse_key(other) else {
                        return Err(self.corrupt("log", format!("unknown key {other:02x?}")));
                    };
                    // The bounds sort before all entries.
                    let Bounds { first, last, .. } = found_bounds.ok_or_else(|| {
                        self.corrupt("bounds", "missing, though there are entries")
                    })?;
                    if !(first..=last).contains(&index) {
                        leftovers.push(key);
                        continue;
                    }
                    let place = format!("entry {index}");
                    let expected = first + entries.len() as u64;
                    if index != expected {
                        return Err(
                            self.corrupt(&format!("entry {expected}"), "missing or cut off")
                        );
                    }
                    let done = assembler.push(index, part, &value);
                    entries.extend(done.map_err(|why| self.corrupt(&place, why))?);
                }
            }
        }
        self.bounds = found_bounds.unwrap_or(Bounds::new());
        let marked = self.mark.read()?;
        if self.bounds.writes < marked {
            let why = format!(
                "it went back: it has {} writes of {marked}",
                self.bounds.writes
            );
            return Err(self.corrupt("log", why));
        }
        let end = self.bounds.first + entries.len() as u64;
        if assembler.is_midway() || end != self.bounds.last + 1 {
            return Err(self.corrupt(&format!("entry {end}"), "missing or cut off"));
        }
        self.remove(&leftovers)?;
        Ok((hard, entries))
    }

    fn recover(&mut self) -> Result<Recovered, DiskError> {
        let (hard_state, entries) = self.scan()?;
        let latest = self.snapshots.checked()?;
        let dir = self.dir.display().to_string();
        let (recovered, replaced) =
            recovery::beside(&dir, latest, self.bounds, hard_state, entries)?;
        if let Some(index) = replaced {
            self.restart_after(index)?;
        }
        Ok(recovered)
    }
}

impl LogStore for SledLog {
    fn load(&mut self) -> Result<Recovered, DiskError> {
        // sled panics on some damage rather than say so.
        catch_unwind(AssertUnwindSafe(|| self.recover()))
            .unwrap_or_else(|_| Err(self.corrupt("log", "sled panicked while reading")))
    }

    fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), DiskError> {
        let misuse = |why: String| DiskError::Misuse(why);
        check_dense(self.bounds, entries)?;
        let mut pairs: Vec<Pair> = Vec::new();
        for new in entries {
            pairs.extend(entry::encode(new).map_err(misuse)?);
        }
        if let Some(hard_state) = hard_state {
            pairs.push(hard_state::encode(hard_state).map_err(misuse)?);
        }
        if pairs.is_empty() {
            return Ok(());
        }
        self.has_room(
            pairs
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum(),
        )?;
        let mut batch = sled::Batch::default();
        let mut last = self.bounds.last;
        if let (Some(first), Some(newest)) = (entries.first(), entries.last()) {
            for stale in self.cut_suffix(first.index)? {
                batch.remove(stale);
            }
            last = newest.index;
        }
        for (key, value) in pairs {
            assert!(
                value.len() <= MAX_VALUE_LEN,
                "sled rule 2: no value above 32 KiB"
            );
            batch.insert(key, value);
        }
        self.commit(batch, self.bounds.first, last)
    }

    fn compact(&mut self, index: u64) -> Result<(), DiskError> {
        // The older snapshot stands in if the newer turns out damaged: keep what follows it.
        let Some(oldest_kept) = self.snapshots.indexes()?.first().copied() else {
            return Ok(());
        };
        let index = index.min(oldest_kept).min(self.bounds.last);
        let first = self.bounds.first;
        if index < first {
            return Ok(());
        }
        self.set_bounds(index + 1, self.bounds.last)?;
        let stale = self.entry_keys(first, index + 1)?;
        self.remove(&stale)?;
        self.sync()
    }

    fn store_snapshot(&mut self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), DiskError> {
        self.has_room(data.len())?;
        self.snapshots.store(meta, data)?;
        let first_part = self
            .db
            .get(entry::key(meta.index, 0))
            .map_err(|e| self.read_error(e))?;
        let within = (self.bounds.first..=self.bounds.last).contains(&meta.index);
        let replaced = if within && first_part.is_some() {
            self.term_of(meta.index)? != Some(meta.term)
        } else {
            meta.index > self.bounds.last
        };
        if replaced {
            self.restart_after(meta.index)
        } else {
            Ok(())
        }
    }

    fn latest_snapshot(&mut self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError> {
        self.snapshots.latest()
    }

    fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.snapshots.clone())
    }
}

impl SledLog {
    /// Keys of the entries from `from` on that are to be replaced: few enough for one batch. If there were more, those
    /// at the end are gone already; a log that is cut there is a log from before they were appended.
    fn cut_suffix(&mut self, from: u64) -> Result<Vec<sled::IVec>, DiskError> {
        if from > self.bounds.last {
            return Ok(Vec::new());
        }
        let mut stale = self.entry_keys(from, u64::MAX)?;
        if stale.len() > MAX_REMOVALS {
            let cut = stale.split_off(MAX_REMOVALS);
            let lowest = cut.first().and_then(|key| entry::parse_key(key));
            if let Some((index, _)) = lowest {
                self.set_bounds(self.bounds.first, index - 1)?;
            }
            self.remove(&cut)?;
        }
        Ok(stale)
    }

    fn term_of(&self, index: u64) -> Result<Option<u64>, DiskError> {
        let mut assembler = entry::Assembler::default();
        for pair in self
            .db
            .range(entry::key(index, 0)..entry::key(index + 1, 0))
        {
            let (key, value) = pair.map_err(|e| self.read_error(e))?;
            let part = entry::parse_key(&key).map_or(0, |(_, part)| part);
            let done = assembler.push(index, part, &value);
            if let Some(found) = done.map_err(|why| self.corrupt(&format!("entry {index}"), why))? {
                return Ok(Some(found.term));
            }
        }
        Ok(None)
    }
}

/// Rule 4: sled takes its own unfinished snapshot for damage.
fn remove_leftovers(sled_dir: &Path) -> Result<(), DiskError> {
    for found in fs::read_dir(sled_dir).during("listing", sled_dir)? {
        let path = found.during("listing", sled_dir)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            files::remove_if_there(&path)?;
        }
    }
    Ok(())
}

pub(super) fn open_sled(sled_dir: &Path, until: Instant) -> Result<sled::Db, DiskError> {
    let config = sled::Config::new()
        .path(sled_dir)
        .segment_size(SEGMENT_LEN)
        .cache_capacity(CACHE_LEN)
        .flush_every_ms(None);
    let place = sled_dir.display().to_string();
    let opened = retry(until, || {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => Ok(Some(db)),
            Ok(Err(sled::Error::Io(e))) if e.to_string().contains("could not acquire lock") => {
                Ok(None)
            }
            Ok(Err(sled::Error::Io(source))) => Err(source).during("opening", sled_dir),
            Ok(Err(other)) => Err(corrupt(&place, "log", other)),
            Err(_) => Err(corrupt(&place, "log", "sled panicked while opening")),
        }
    })?;
    opened.ok_or_else(|| DiskError::InUse {
        path: sled_dir.to_owned(),
    })
}
