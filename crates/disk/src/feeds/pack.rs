//! The bytes of an archive: feeds that have ended, compressed in blocks that can be read each by itself.
//!
//! ```text
//! archive = "SHOALFA1", then feeds, then the index, then the trailer
//! feed    = units "BLK1", one after the other, and a unit "END1" that says where they are
//! index   = a unit "IDX1"
//! trailer = "SHOALFE1" | offset of the index u64le | crc32 u32le of both
//!
//! tag     key                    number           count     payload
//! BLK1    execution, attempt     first record     records   length of the frames u32le | the frames, LZ4
//! END1    execution, attempt     records in all   blocks    digest | end time i64le | bytes of frames u64le | bytes of blocks u64le,
//!                                                           and of each block: first record u64le | offset after the first u64le | len u32le
//! IDX1    zeros                  0                feeds     of each feed: key | records u64le | digest | end time i64le |
//!                                                           bytes of frames u64le | offset of its first block u64le | of END1 u64le | len u32le
//! ```
//!
//! Units are those of the segments. A file is written beside its name, synced, read again and compared before it gets the name, and never
//! changed after that. The index is what a start reads; where it is damaged the feeds are found by their "END1".

use super::format::{self, UNIT_LEN, u32_at, u64_at};
use super::{Damage, FeedKey};
use crate::error::{DiskError, During};
use crate::files;
use bytes::Bytes;
use feed::{Batch, Seal, SealHasher};
use rustix::fs::Advice;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SHOALFA1";
const TRAILER_MAGIC: &[u8; 8] = b"SHOALFE1";
const TRAILER_LEN: usize = 20;
const BLOCK_TAG: &[u8; 4] = b"BLK1";
const END_TAG: &[u8; 4] = b"END1";
const INDEX_TAG: &[u8; 4] = b"IDX1";
const END_LEN: usize = 32 + 24;
const PLACE_LEN: usize = 20;
pub(super) const ENTRY_LEN: usize = 96;
/// A block is closed when it has this many bytes of frames: what is decompressed for one record.
const BLOCK_LEN: usize = 128 << 10;
/// No block has more than this when it is decompressed: one frame may lie over the end.
const BLOCK_MAX: usize = 1 << 20;
/// What is written at once.
const WRITE_LEN: usize = 1 << 20;

/// One feed in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: FeedKey,
    pub(super) seal: Seal,
    /// When its attempt ended, as who gave it to the archive said; Unix time in milliseconds.
    pub(super) end_time_ms: i64,
    /// Bytes of its frames.
    pub(super) raw_len: u64,
    start: u64,
    end_at: u64,
    end_len: u32,
}

impl Entry {
    /// Bytes it takes in the archive.
    pub(super) fn packed_len(&self) -> u64 {
        (self.end_at - self.start) + u64::from(self.end_len)
    }

    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_bytes());
        out.extend_from_slice(&self.seal.record_count.to_le_bytes());
        out.extend_from_slice(&self.seal.digest);
        out.extend_from_slice(&self.end_time_ms.to_le_bytes());
        for number in [self.raw_len, self.start, self.end_at] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.end_len.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Entry> {
        let entry = Entry {
            key: FeedKey::from_bytes(bytes.first_chunk()?),
            seal: Seal {
                record_count: u64_at(bytes, 20)?,
                digest: *bytes.get(28..)?.first_chunk()?,
            },
            end_time_ms: u64_at(bytes, 60)?.cast_signed(),
            raw_len: u64_at(bytes, 68)?,
            start: u64_at(bytes, 76)?,
            end_at: u64_at(bytes, 84)?,
            end_len: u32_at(bytes, 92)?,
        };
        (entry.start <= entry.end_at).then_some(entry)
    }
}

/// Where one block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) first: u64,
    /// From the first block of its feed on.
    at: u64,
    len: u32,
}

/// The blocks of one feed, in order.
pub(super) type Directory = Vec<Place>;

/// Takes the feeds of a new archive, each whole before the next.
pub(super) struct PackWriter {
    path: PathBuf,
    tmp: PathBuf,
    file: File,
    /// Bytes before `waiting`.
    written: u64,
    waiting: Vec<u8>,
    entries: Vec<Entry>,
    /// Of the feed that is being written.
    start: u64,
    directory: Directory,
    frames: Vec<u8>,
    first: u64,
    hasher: SealHasher,
    raw_len: u64,
}

impl PackWriter {
    /// Begins the archive that is to be at `path`.
    pub(super) fn begin(path: &Path) -> Result<PackWriter, DiskError> {
        let tmp = files::suffixed(path, "tmp");
        files::point(&tmp)?;
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&tmp)
            .during("creating", &tmp)?;
        Ok(PackWriter {
            path: path.to_owned(),
            tmp,
            file,
            written: 0,
            waiting: MAGIC.to_vec(),
            entries: Vec::new(),
            start: MAGIC.len() as u64,
            directory: Vec::new(),
            frames: Vec::new(),
            first: 0,
            hasher: SealHasher::new(),
            raw_len: 0,
        })
    }

    fn at(&self) -> u64 {
        self.written + self.waiting.len() as u64
    }

    /// Takes the next records of the feed that is being written.
    pub(super) fn push(&mut self, key: FeedKey, batch: &Batch) -> Result<(), DiskError> {
        self.hasher.update_batch(batch);
        self.raw_len += batch.frames.len() as u64;
        self.frames.extend_from_slice(&batch.frames);
        if self.frames.len() >= BLOCK_LEN {
            self.close_block(key)?;
        }
        Ok(())
    }

    fn close_block(&mut self, key: FeedKey) -> Result<(), DiskError> {
        let next = self.hasher.record_count();
        if next == self.first {
            return Ok(());
        }
        let mut payload = (self.frames.len() as u32).to_le_bytes().to_vec();
        payload.extend(lz4_flex::block::compress(&self.frames));
        let at = self.at();
        let count = (next - self.first) as u32;
        format::push_unit(
            &mut self.waiting,
            BLOCK_TAG,
            &key.to_bytes(),
            self.first,
            count,
            &payload,
        );
        self.directory.push(Place {
            first: self.first,
            at: at - self.start,
            len: (self.at() - at) as u32,
        });
        self.first = next;
        self.frames.clear();
        if self.waiting.len() >= WRITE_LEN {
            self.flush()?;
        }
        Ok(())
    }

    /// The feed is whole: `seal` must be what came. Otherwise it is taken out again, and the answer is no.
    pub(super) fn end(
        &mut self,
        key: FeedKey,
        seal: Seal,
        end_time_ms: i64,
    ) -> Result<bool, DiskError> {
        self.close_block(key)?;
        if self.hasher.seal() != seal {
            self.abandon()?;
            return Ok(false);
        }
        let end_at = self.at();
        let mut payload = seal.digest.to_vec();
        payload.extend_from_slice(&end_time_ms.to_le_bytes());
        payload.extend_from_slice(&self.raw_len.to_le_bytes());
        payload.extend_from_slice(&(end_at - self.start).to_le_bytes());
        for place in &self.directory {
            payload.extend_from_slice(&place.first.to_le_bytes());
            payload.extend_from_slice(&place.at.to_le_bytes());
            payload.extend_from_slice(&place.len.to_le_bytes());
        }
        let blocks = self.directory.len() as u32;
        format::push_unit(
            &mut self.waiting,
            END_TAG,
            &key.to_bytes(),
            seal.record_count,
            blocks,
            &payload,
        );
        self.entries.push(Entry {
            key,
            seal,
            end_time_ms,
            raw_len: self.raw_len,
            start: self.start,
            end_at,
            end_len: (self.at() - end_at) as u32,
        });
        self.next_feed();
        Ok(true)
    }

    /// Takes out what came of the feed that is being written.
    pub(super) fn abandon(&mut self) -> Result<(), DiskError> {
        self.flush()?;
        self.written = self.start;
        self.next_feed();
        Ok(())
    }

    fn next_feed(&mut self) {
        self.start = self.at();
        self.directory.clear();
        self.frames.clear();
        self.first = 0;
        self.hasher = SealHasher::new();
        self.raw_len = 0;
    }

    /// Takes a feed over from another archive as it is, whether its blocks are sound or not.
    pub(super) fn copy(
        &mut self,
        from: &File,
        path: &Path,
        entry: &Entry,
    ) -> Result<(), DiskError> {
        let (start, end) = (self.start, self.start + entry.packed_len());
        let mut at = entry.start;
        while self.at() < end {
            let len = (end - self.at()).min(WRITE_LEN as u64) as usize;
            let before = self.waiting.len();
            self.waiting.resize(before + len, 0);
            let part = self.waiting.get_mut(before..).unwrap_or_default();
            from.read_exact_at(part, at).during("reading", path)?;
            at += len as u64;
            self.flush()?;
        }
        self.entries.push(Entry {
            start,
            end_at: start + (entry.end_at - entry.start),
            ..*entry
        });
        self.next_feed();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        if let Err(crash) = files::point(&self.tmp) {
            // As much as a crash may leave of it.
            let part = self.waiting.get(..self.waiting.len() / 2);
            drop(
                self.file
                    .write_all_at(part.unwrap_or_default(), self.written),
            );
            return Err(crash);
        }
        self.file
            .write_all_at(&self.waiting, self.written)
            .during("writing", &self.tmp)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Writes the index, syncs, and compares what can be read with what was meant. The file has not got its name yet.
    pub(super) fn finish(mut self) -> Result<Finished, DiskError> {
        let mut payload = Vec::with_capacity(self.entries.len() * ENTRY_LEN);
        self.entries
            .iter()
            .for_each(|entry| entry.push(&mut payload));
        let index_at = self.at();
        let feeds = self.entries.len() as u32;
        format::push_unit(&mut self.waiting, INDEX_TAG, &[0; 20], 0, feeds, &payload);
        self.waiting.extend_from_slice(&trailer(index_at));
        self.flush()?;
        self.file
            .set_len(self.written)
            .during("cutting", &self.tmp)?;
        files::point(&self.tmp)?;
        self.file.sync_all().during_sync(&self.tmp)?;
        // What is compared comes from the disk, where the system can.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
        let found = read_index(&self.file, &self.tmp)?;
        if found.as_ref() != Some(&self.entries) {
            let place = self.tmp.display().to_string();
            return Err(DiskError::corrupt(
                place,
                "the index is not what was written",
            ));
        }
        Ok(Finished {
            path: self.path,
            tmp: self.tmp,
            file: self.file,
            entries: self.entries,
        })
    }
}

/// An archive that is whole on the disk and has no name yet.
pub(super) struct Finished {
    path: PathBuf,
    tmp: PathBuf,
    file: File,
    pub(super) entries: Vec<Entry>,
}

impl Finished {
    /// Reads everything back and compares it with the seals.
    pub(super) fn verify(&self) -> Result<(), DiskError> {
        for entry in &self.entries {
            let directory = read_directory(&self.file, &self.tmp, entry)?;
            let mut hasher = SealHasher::new();
            for place in &directory {
                hasher.update_batch(&read_block(&self.file, &self.tmp, entry, *place)?);
            }
            if hasher.seal() != entry.seal {
                let why = format!("{} is not what was written", entry.key);
                return Err(DiskError::corrupt(self.tmp.display().to_string(), why));
            }
        }
        Ok(())
    }

    /// Gives it its name; durable on return.
    pub(super) fn publish(self) -> Result<Vec<Entry>, DiskError> {
        files::point(&self.tmp)?;
        std::fs::rename(&self.tmp, &self.path).during("renaming to", &self.path)?;
        files::point(&self.path)?;
        files::sync_parent(&self.path)?;
        Ok(self.entries)
    }

    /// It is not wanted after all.
    pub(super) fn discard(self) -> Result<(), DiskError> {
        files::remove_if_there(&self.tmp)
    }
}

fn trailer(index_at: u64) -> [u8; TRAILER_LEN] {
    let mut trailer = [0; TRAILER_LEN];
    trailer[..8].copy_from_slice(TRAILER_MAGIC);
    trailer[8..16].copy_from_slice(&index_at.to_le_bytes());
    let crc = crc32fast::hash(&trailer[..16]);
    trailer[16..].copy_from_slice(&crc.to_le_bytes());
    trailer
}

/// The feeds of an archive as its index names them; nothing if the index is not sound.
pub(super) fn read_index(file: &File, path: &Path) -> Result<Option<Vec<Entry>>, DiskError> {
    let len = file.metadata().during("looking at", path)?.len();
    let Some(trailer_at) = len.checked_sub(TRAILER_LEN as u64) else {
        return Ok(None);
    };
    let mut found = [0; TRAILER_LEN];
    file.read_exact_at(&mut found, trailer_at)
        .during("reading", path)?;
    let index_at = u64_at(&found, 8).filter(|at| *at < trailer_at && found == trailer(*at));
    let Some(index_at) = index_at else {
        return Ok(None);
    };
    let mut bytes = vec![0; (trailer_at - index_at) as usize];
    file.read_exact_at(&mut bytes, index_at)
        .during("reading", path)?;
    let index = format::raw_unit(&bytes, 0).filter(|unit| &unit.tag == INDEX_TAG);
    Ok(index.and_then(|index| {
        let entries = index.payload.chunks(ENTRY_LEN).map(Entry::read);
        entries.collect::<Option<Vec<Entry>>>()
    }))
}

/// The feeds of an archive whose index is damaged: those whose end is sound.
pub(super) fn find_feeds(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut from = 0;
    while let Some(rest) = bytes.get(from..)
        && let Some(found) = rest
            .windows(END_TAG.len())
            .position(|window| window == END_TAG)
    {
        let at = from + found;
        from = at + 1;
        if let Some(entry) = end_at(bytes, at) {
            from = at + entry.end_len as usize;
            entries.push(entry);
        }
    }
    entries
}

fn end_at(bytes: &[u8], at: usize) -> Option<Entry> {
    let end = format::raw_unit(bytes, at).filter(|unit| &unit.tag == END_TAG)?;
    Some(Entry {
        key: FeedKey::from_bytes(&end.key),
        seal: Seal {
            record_count: end.number,
            digest: *end.payload.first_chunk()?,
        },
        end_time_ms: u64_at(end.payload, 32)?.cast_signed(),
        raw_len: u64_at(end.payload, 40)?,
        start: (at as u64).checked_sub(u64_at(end.payload, 48)?)?,
        end_at: at as u64,
        end_len: u32::try_from(end.end - at).ok()?,
    })
}

/// Damage of an archive.
pub(super) fn damage(path: &Path, offset: u64, why: String) -> Damage {
    Damage {
        path: path.to_owned(),
        offset,
        why,
    }
}

/// Where the blocks of a feed are.
pub(super) fn read_directory(
    file: &File,
    path: &Path,
    entry: &Entry,
) -> Result<Directory, DiskError> {
    let bytes = read_at(file, path, entry.end_at, entry.end_len)?;
    let is_it = format::raw_unit(&bytes, 0).is_some_and(|end| {
        &end.tag == END_TAG
            && end.key == entry.key.to_bytes()
            && end.number == entry.seal.record_count
            && end.payload.starts_with(&entry.seal.digest)
    });
    let payload = is_it
        .then(|| bytes.get(UNIT_LEN + END_LEN..))
        .flatten()
        .ok_or_else(|| corrupt(path, entry.end_at, entry.key))?;
    let places = payload.chunks_exact(PLACE_LEN).map(|place| {
        Some(Place {
            first: u64_at(place, 0)?,
            at: u64_at(place, 8)?,
            len: u32_at(place, 16)?,
        })
    });
    let places = places.collect::<Option<Directory>>();
    places.ok_or_else(|| corrupt(path, entry.end_at, entry.key))
}

/// The records of one block.
pub(super) fn read_block(
    file: &File,
    path: &Path,
    entry: &Entry,
    place: Place,
) -> Result<Batch, DiskError> {
    let at = entry.start + place.at;
    let bytes = read_at(file, path, at, place.len)?;
    let block = || {
        let unit = format::raw_unit(&bytes, 0)?;
        let is_it = &unit.tag == BLOCK_TAG
            && unit.key == entry.key.to_bytes()
            && unit.number == place.first;
        let raw_len = u32_at(unit.payload, 0).filter(|len| *len as usize <= BLOCK_MAX)?;
        let frames = lz4_flex::block::decompress(unit.payload.get(4..)?, raw_len as usize).ok()?;
        (is_it && frames.len() == raw_len as usize).then_some(Batch {
            first_record: unit.number,
            count: unit.count,
            frames: Bytes::from(frames),
        })
    };
    block().ok_or_else(|| corrupt(path, at, entry.key))
}

fn read_at(file: &File, path: &Path, at: u64, len: u32) -> Result<Vec<u8>, DiskError> {
    let mut bytes = vec![0; len as usize];
    match file.read_exact_at(&mut bytes, at) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            let place = format!("{}, byte {at}", path.display());
            Err(DiskError::corrupt(place, "the archive ends before it"))
        }
        other => other.during("reading", path),
    }?;
    Ok(bytes)
}

fn corrupt(path: &Path, at: u64, key: FeedKey) -> DiskError {
    let place = format!("{}, byte {at}", path.display());
    DiskError::corrupt(place, format!("{key}: checksum does not match"))
}
