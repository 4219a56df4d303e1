//! The durable state of one Raft member: entries, hard state, snapshots.
//!
//! `snapshot.index ≤ last index`, entries are dense from `first index ≤ snapshot.index + 1`, and `hard_state.commit` is
//! for the caller to clamp (it is not always synced). One trait, [`LogStore`], one conformance suite, three
//! implementations: [`FileLog`], which is the usual one, [`SledLog`], and [`MemoryLog`] for tests. [`open`] finds out which one a
//! directory holds.

use std::sync::Arc;
use std::time::Duration;

use crate::error::DiskError;
use raft::eraftpb::{ConfState, Entry, HardState};

mod choice;

mod medium;

mod lock;

mod mark;

mod recovery;

mod file_log;

mod value;

mod keys;

mod sled_log;

mod memory;

pub mod snapshots;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod conformance;

pub use choice::{LogKind, open};
pub use file_log::FileLog;
pub use keys::{MAX_VALUE_LEN, PART_LEN};
pub use memory::MemoryLog;
pub use sled_log::SledLog;
pub use snapshots::SnapshotMeta;

/// How a log on a disk behaves.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// What would leave less than this many bytes on the disk is refused with [`DiskError::Full`].
    pub reserve_bytes: u64,
    /// How long to wait for another process to let go of the files.
    pub lock_wait: Duration,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            reserve_bytes: 64 << 20,
            lock_wait: Duration::from_secs(5),
        }
    }
}

/// What was found at the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Term, vote and commit index; the default if none was ever stored.
    pub hard_state: HardState,
    /// The newest sound snapshot: the log goes on after it. None in a log that was never founded.
    pub snapshot: Option<SnapshotMeta>,
    /// The entries after the snapshot, dense.
    pub entries: Vec<Entry>,
    /// Whether the log itself, beside its snapshots, was ever written. A member that has promised something and finds false has lost
    /// it (I-13).
    pub written: bool,
}

impl Recovered {
    /// Nothing was ever stored here.
    pub fn is_empty(&self) -> bool {
        *self == Recovered::default()
    }

    /// Membership at the snapshot.
    pub fn members(&self) -> ConfState {
        self.snapshot
            .as_ref()
            .map(|s| s.members.clone())
            .unwrap_or_default()
    }
}

/// Where a Raft member keeps its state. Every call that stores something is durable when it returns.
///
/// An error that [`is_fatal`](DiskError::is_fatal) ends the process; [`Full`](DiskError::Full) changed nothing.
pub trait LogStore: Send {
    /// Reads all and checks it. Damage is an error that names its place.
    fn load(&mut self) -> Result<Recovered, DiskError>;

    /// Stores entries and hard state in one step, whole or not at all.
    ///
    /// Entries are dense; they replace everything stored at and after the index of the first. The first must follow what
    /// is stored, or replace some of it after the newest snapshot.
    fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), DiskError>;

    /// Forgets entries up to `index`, as far as no kept snapshot needs them. They may come back, whole, after a crash.
    fn compact(&mut self, index: u64) -> Result<(), DiskError>;

    /// Stores a snapshot. The last two are kept. If it goes past the last entry, all entries are forgotten: it came from
    /// the leader and replaces them.
    fn store_snapshot(&mut self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), DiskError>;

    /// The newest sound snapshot.
    fn latest_snapshot(&mut self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError>;

    /// The snapshots by themselves, for threads beside the one that owns the log.
    fn snapshots(&self) -> Arc<dyn SnapshotStore>;
}

/// Where snapshots are, for threads beside the one that owns the log: writing and reading one takes long.
pub trait SnapshotStore: Send + Sync {
    /// Stores a snapshot of this member's own state, up to an entry that its log holds. The last two are kept.
    fn store(&self, meta: &SnapshotMeta, data: &[u8]) -> Result<(), DiskError>;

    /// The snapshot at an index, if it is kept and sound.
    fn at(&self, index: u64) -> Result<Option<(SnapshotMeta, Vec<u8>)>, DiskError>;
}
