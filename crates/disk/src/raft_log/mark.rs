//! A number beside sled that says how far sled had come, so that a log which went back is not taken for a good one.
//!
//! sled takes damage at the end of its file for a write that was cut off and goes back to the state before it: to us that
//! would look like a sound, older log, and a member with a forgotten vote must not vote (I-13). So the count of batches
//! is in sled *and* here; here it is written after sled has synced and never synced itself, hence `mark ≤ sled` always
//! holds of an undamaged pair, whatever was cut off by a kill or a power cut.
//!
//! Two slots are written in turn, each `writes u64le | crc32 u32le`, so that a torn one leaves the other.

use crate::error::{DiskError, During};
use crate::files;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const SLOT_LEN: u64 = 512;

#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    path: PathBuf,
}

impl Mark {
    /// Opens the mark at `path`, creating it if there is none.
    pub(super) fn open(path: &Path) -> Result<Mark, DiskError> {
        let mut options = File::options();
        let file = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path);
        let mark = Mark {
            file: file.during("opening", path)?,
            path: path.to_owned(),
        };
        files::sync_parent(path)?;
        Ok(mark)
    }

    /// The highest count that was ever written and is still legible; 0 if none is.
    pub(super) fn read(&self) -> Result<u64, DiskError> {
        let mut highest = 0;
        for slot in 0..2 {
            let mut bytes = [0; 12];
            match self.file.read_exact_at(&mut bytes, slot * SLOT_LEN) {
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => continue,
                other => other.during("reading", &self.path)?,
            }
            let [writes @ .., c0, c1, c2, c3] = bytes;
            if crc32fast::hash(&writes) == u32::from_le_bytes([c0, c1, c2, c3]) {
                highest = highest.max(u64::from_le_bytes(writes));
            }
        }
        Ok(highest)
    }

    /// Sled has synced batch number `writes`.
    pub(super) fn write(&self, writes: u64) -> Result<(), DiskError> {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&writes.to_le_bytes());
        bytes[8..].copy_from_slice(&crc32fast::hash(&writes.to_le_bytes()).to_le_bytes());
        self.file
            .write_all_at(&bytes, writes % 2 * SLOT_LEN)
            .during("writing", &self.path)
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
        open().file.write_all_at(b"torn", SLOT_LEN).unwrap();
        assert_eq!(open().read().unwrap(), 6);
        open().file.set_len(0).unwrap();
        assert_eq!(open().read().unwrap(), 0);
    }
}
