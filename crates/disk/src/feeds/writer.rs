//! The one that appends: groups, one write and one sync each.
//!
//! Appending in place is much cheaper to sync than growing a file, so room is taken in steps, and small appends go over
//! zeros that an earlier one wrote along with itself.

use super::format::{self, HEADER_LEN, UNIT_LEN};
use crate::error::{DiskError, During, is_full};
use crate::files;
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment is closed when the next group would make it longer.
pub(super) const SEGMENT_LEN: u64 = 64 << 20;
/// Room is taken in steps of this.
const ALLOCATE_LEN: u64 = 8 << 20;
/// Zeros written along with a small group.
const ZEROS_LEN: usize = 128 << 10;
/// A group that is longer writes no zeros: it would not gain.
const SMALL_LEN: usize = 32 << 10;

/// `group end ≤ zeroed`, or nothing is zeroed; `allocated` is the file's length.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    pub(super) number: u64,
    path: PathBuf,
    file: Arc<File>,
    /// Where the next group goes.
    at: u64,
    zeroed: u64,
    allocated: u64,
    /// Number of the next group.
    seq: u64,
    /// A sync failed: nothing is known any more.
    failed: bool,
}

/// A segment that was just begun.
pub(super) struct Begun {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
}

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.seg"))
}

impl Writer {
    /// Goes on after the last sound group, at `at`, in a segment that has been cut there.
    pub(super) fn resume(dir: &Path, number: u64, file: Arc<File>, at: u64, seq: u64) -> Writer {
        let path = segment_path(dir, number);
        Writer {
            dir: dir.to_owned(),
            number,
            path,
            file,
            at,
            zeroed: at,
            allocated: at,
            seq,
            failed: false,
        }
    }

    /// Begins segment `number`.
    pub(super) fn begin(dir: &Path, number: u64, seq: u64) -> Result<(Writer, Begun), DiskError> {
        let path = segment_path(dir, number);
        let mut options = File::options();
        let file = options
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path);
        let file = Arc::new(file.during("creating", &path)?);
        file.write_all_at(&format::encode_header(number, seq), 0)
            .during("writing", &path)?;
        file.sync_all().during_sync(&path)?;
        files::sync_dir(dir)?;
        let writer = Writer::resume(dir, number, file.clone(), HEADER_LEN as u64, seq);
        Ok((writer, Begun { number, path, file }))
    }

    /// Where the sound groups end.
    pub(super) fn end(&self) -> u64 {
        self.at
    }

    /// Begins the next segment if a group of `body_len` does not fit in this one.
    pub(super) fn roll_for(&mut self, body_len: usize) -> Result<Option<Begun>, DiskError> {
        let fits = self.at + (UNIT_LEN + body_len) as u64 <= SEGMENT_LEN;
        if fits || self.at == HEADER_LEN as u64 {
            return Ok(None);
        }
        self.roll().map(Some)
    }

    /// Begins the next segment.
    pub(super) fn roll(&mut self) -> Result<Begun, DiskError> {
        let (next, begun) = Writer::begin(&self.dir, self.number + 1, self.seq)?;
        // The room that was taken and not used; if this fails, it only stays taken.
        let _ = self.file.set_len(self.at);
        *self = next;
        Ok(begun)
    }

    /// Writes one group of `units` units; durable on return. Gives the offset of its first unit.
    pub(super) fn write(&mut self, units: u32, body: &[u8]) -> Result<u64, DiskError> {
        if self.failed {
            let source = io::Error::other("an earlier sync failed");
            return Err(DiskError::Sync {
                path: self.path.clone(),
                source,
            });
        }
        let mut group = format::encode_group(self.seq, units, body.len());
        group.extend_from_slice(body);
        let end = self.at + group.len() as u64;
        self.allocate(end)?;
        let mut zeroed = self.zeroed;
        if end > zeroed {
            zeroed = end;
            if group.len() <= SMALL_LEN {
                group.resize(group.len() + ZEROS_LEN, 0);
                zeroed += ZEROS_LEN as u64;
            }
        }
        files::point(&self.path)?;
        self.file
            .write_all_at(&group, self.at)
            .during("appending to", &self.path)?;
        if let Err(error) = self.file.sync_data().during_sync(&self.path) {
            self.failed = true;
            return Err(error);
        }
        let first_unit = self.at + UNIT_LEN as u64;
        self.at = end;
        self.zeroed = zeroed;
        self.allocated = self.allocated.max(zeroed);
        self.seq += 1;
        Ok(first_unit)
    }

    /// Takes room up to `end`, where the file system can.
    fn allocate(&mut self, end: u64) -> Result<(), DiskError> {
        if end <= self.allocated {
            return Ok(());
        }
        let wanted = end.next_multiple_of(ALLOCATE_LEN);
        let taken = rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, wanted);
        match taken.map_err(io::Error::from) {
            Ok(()) => self.allocated = wanted,
            Err(e) if is_full(&e) => return Err(e).during("taking room for", &self.path),
            // Not every file system can; then the file grows as it is written.
            Err(_) => {}
        }
        Ok(())
    }
}
