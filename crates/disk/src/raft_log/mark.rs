//! A number beside a log that says how far it had come, so that a log which went back is not taken for a good one.
//!
//! Damage at the end of a log looks like a write that was cut off: what remains would be a sound, older log, and a member
//! with a forgotten vote must not vote (I-13). So the count of batches is in the log *and* here; here it is written after the
//! log has synced and never synced itself, hence `mark ≤ log` always holds of an undamaged pair, whatever was cut off by a
//! kill or a power cut.
//!
//! Two slots are written in turn, each `writes u64le | crc32 u32le`, so that a torn one leaves the other.

use super::medium::{DiskFile, Medium};
use crate::error::DiskError;
use crate::files;
use std::fs::File;
use std::path::Path;

const SLOT_LEN: u64 = 512;
const LEN: usize = 12;

#[derive(Debug)]
pub(super) struct Mark<F = DiskFile> {
    file: F,
}

impl Mark {
    /// Opens the mark at `path`, creating it if there is none.
    pub(super) fn open(path: &Path) -> Result<Mark, DiskError> {
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        let file = DiskFile::open(path, options)?;
        files::sync_parent(path)?;
        Ok(Mark::over(file))
    }
}

impl<F: Medium> Mark<F> {
    /// The mark in a file.
    pub(super) fn over(file: F) -> Mark<F> {
        Mark { file }
    }

    /// The highest count that was ever written and is still legible; 0 if none is.
    pub(super) fn read(&self) -> Result<u64, DiskError> {
        let mut highest = 0;
        for slot in 0..2 {
            let bytes = self.file.read(slot * SLOT_LEN, LEN)?;
            let Ok([writes @ .., c0, c1, c2, c3]) = <[u8; LEN]>::try_from(bytes) else {
                continue;
            };
            if crc32fast::hash(&writes) == u32::from_le_bytes([c0, c1, c2, c3]) {
                highest = highest.max(u64::from_le_bytes(writes));
            }
        }
        Ok(highest)
    }

    /// The log has synced batch number `writes`.
    pub(super) fn write(&self, writes: u64) -> Result<(), DiskError> {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&writes.to_le_bytes());
        bytes[8..].copy_from_slice(&crc32fast::hash(&writes.to_le_bytes()).to_le_bytes());
        self.file.write(writes % 2 * SLOT_LEN, &bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_legible_count_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        let open = || Mark::open(&path).unwrap();
        assert_eq!(open().read().unwrap(), 0);
        (1..=7).for_each(|writes| open().write(writes).unwrap());
        assert_eq!(open().read().unwrap(), 7);
        open().file.write(SLOT_LEN, b"torn").unwrap();
        assert_eq!(open().read().unwrap(), 6);
        File::create(&path).unwrap();
        assert_eq!(open().read().unwrap(), 0);
    }
}
