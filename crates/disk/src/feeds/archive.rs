//! Feeds that have ended: compressed into archives, and removed when their time is over.
//!
//! A feed is in its archive before it is taken out of the segments, and where both have it the archive counts: a crash between any two moves leaves
//! it whole in one of them. What is removed is first said to be gone ([`Horizon`]), then taken away.

use super::format::{self, Content};
use super::horizon::{self, Horizon};
use super::index::Archived;
use super::pack::{self, Directory, Entry, PackWriter};
use super::writer::SEGMENT_LEN;
use super::{FeedKey, Feeds};
use crate::error::{DiskError, During};
use crate::files;
use feed::{Batch, Seal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a feed that are read at once on the way into an archive.
const READ_LEN: usize = 128 << 10;
/// Archives that are kept open, and directories of feeds that are kept of each.
const OPEN_PACKS: usize = 16;
const OPEN_DIRECTORIES: usize = 16;
/// Segments may be this much longer than twice what is needed of them, before what is needed is moved together.
const SLACK: u64 = if cfg!(test) { 256 << 10 } else { 16 << 20 };
/// Units of records that are moved together are about this long.
const MOVE_LEN: usize = 1 << 20;

pub(super) fn pack_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}.arc"))
}

/// What became of feeds that were to be archived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archiving {
    /// Feeds that are in the archive now.
    pub feeds: usize,
    /// Bytes of their frames.
    pub raw_bytes: u64,
    /// Bytes they take now.
    pub packed_bytes: u64,
    /// Feeds that are not what their seals say. They stay as they are.
    pub damaged: Vec<FeedKey>,
}

/// A feed that has ended, as far as the disk knows, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose.
    pub key: FeedKey,
    /// When its attempt ended, Unix time in milliseconds; only an archive knows.
    pub end_time_ms: Option<i64>,
    /// Its seal, if it has one.
    pub seal: Option<Seal>,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// An archive that is being read.
#[derive(Debug)]
struct OpenPack {
    number: u64,
    path: PathBuf,
    file: File,
    directories: Mutex<Vec<(FeedKey, Arc<Directory>)>>,
}

/// Archives that were read last.
#[derive(Debug, Default)]
pub(super) struct OpenPacks(Mutex<Vec<Arc<OpenPack>>>);

impl OpenPacks {
    fn get(&self, dir: &Path, number: u64) -> Result<Arc<OpenPack>, DiskError> {
        let mut open = lock(&self.0);
        if let Some(at) = open.iter().position(|pack| pack.number == number) {
            let pack = open.remove(at);
            open.push(pack.clone());
            return Ok(pack);
        }
        let path = pack_path(dir, number);
        let file = File::open(&path).during("opening", &path)?;
        let pack = Arc::new(OpenPack {
            number,
            path,
            file,
            directories: Mutex::default(),
        });
        if open.len() >= OPEN_PACKS {
            open.remove(0);
        }
        open.push(pack.clone());
        Ok(pack)
    }

    fn close(&self, number: u64) {
        lock(&self.0).retain(|pack| pack.number != number);
    }
}

impl OpenPack {
    fn directory(&self, entry: &Entry) -> Result<Arc<Directory>, DiskError> {
        let known = lock(&self.directories);
        if let Some((_, directory)) = known.iter().find(|(key, _)| *key == entry.key) {
            return Ok(directory.clone());
        }
        drop(known);
        let read = Arc::new(pack::read_directory(&self.file, &self.path, entry)?);
        let mut known = lock(&self.directories);
        if known.len() >= OPEN_DIRECTORIES {
            known.remove(0);
        }
        known.push((entry.key, read.clone()));
        Ok(read)
    }

    fn read(&self, entry: &Entry, from: u64, max_bytes: usize) -> Result<Vec<Batch>, DiskError> {
        let directory = self.directory(entry)?;
        let at = directory.partition_point(|place| place.first <= from);
        let mut batches = Vec::new();
        let mut room = max_bytes.max(1);
        for place in directory.iter().skip(at.saturating_sub(1)) {
            let block = pack::read_block(&self.file, &self.path, entry, *place)?;
            let cut =
                |e: feed::FrameError| DiskError::corrupt(entry.key.to_string(), e.to_string());
            let wanted = block.from_record(from).map_err(cut)?;
            if wanted.is_empty() {
                continue;
            }
            if !batches.is_empty() && wanted.frames.len() > room {
                break;
            }
            let part = wanted.within(room).map_err(cut)?;
            let is_whole = part.count == wanted.count;
            room = room.saturating_sub(part.frames.len());
            batches.push(part);
            if room == 0 || !is_whole {
                break;
            }
        }
        Ok(batches)
    }
}

impl Feeds {
    /// Sealed feeds that are whole in the segments, with their seals and the bytes of their frames.
    pub fn unarchived(&self) -> Vec<(FeedKey, Seal, u64)> {
        let index = self.shared.index();
        let feeds = index.feeds.iter();
        let whole = feeds.filter_map(|(key, feed)| {
            let seal = feed.seal.filter(|seal| seal.record_count == feed.length)?;
            Some((*key, seal, feed.bytes))
        });
        whole.collect()
    }

    /// All feeds, and what each costs.
    pub fn kept(&self) -> Vec<Kept> {
        let index = self.shared.index();
        let archived = index.archived.values().map(|archived| Kept {
            key: archived.entry.key,
            end_time_ms: Some(archived.entry.end_time_ms),
            seal: Some(archived.entry.seal),
            bytes: archived.entry.packed_len(),
        });
        let written = index.feeds.iter().map(|(key, feed)| Kept {
            key: *key,
            end_time_ms: None,
            seal: feed.seal,
            bytes: feed.bytes,
        });
        archived.chain(written).collect()
    }

    /// Whether a feed is in an archive.
    pub fn is_archived(&self, key: FeedKey) -> bool {
        self.shared.index().archived.contains_key(&key)
    }

    /// Compresses sealed feeds into one archive, given when the attempt of each ended (Unix time in milliseconds), and takes them out of the
    /// segments. Each is compared with its seal before and after. Takes long; appends go on meanwhile. Feeds that are not sealed and
    /// whole, or are archived already, are left as they are.
    pub fn archive(&self, feeds: &[(FeedKey, i64)]) -> Result<Archiving, DiskError> {
        let mut upkeep = lock(&self.shared.upkeep);
        let mut done = Archiving::default();
        let whole: BTreeMap<FeedKey, Seal> = self
            .unarchived()
            .into_iter()
            .map(|(key, seal, _)| (key, seal))
            .collect();
        let number = *upkeep;
        let mut writer = PackWriter::begin(&pack_path(&self.shared.dir, number))?;
        let mut count = 0;
        for (key, end_time_ms) in feeds {
            let Some(seal) = whole.get(key) else {
                continue;
            };
            match self.copy_to(&mut writer, *key, *seal, *end_time_ms) {
                Ok(true) => count += 1,
                Ok(false) => done.damaged.push(*key),
                Err(DiskError::Corrupt { .. }) => {
                    writer.abandon()?;
                    done.damaged.push(*key);
                }
                Err(error) => return Err(error),
            }
        }
        let finished = writer.finish()?;
        if count == 0 {
            finished.discard()?;
            return Ok(done);
        }
        finished.verify()?;
        let appender = self.shared.appender();
        let is_same = |entry: &Entry| {
            let index = self.shared.index();
            let feed = index.feeds.get(&entry.key);
            feed.is_some_and(|feed| feed.seal == Some(entry.seal))
        };
        if !finished.entries.iter().all(is_same) {
            // One was cut meanwhile: the archive must not have it. The others come with the next.
            finished.discard()?;
            return Ok(Archiving {
                damaged: done.damaged,
                ..Archiving::default()
            });
        }
        *upkeep += 1;
        let entries = finished.publish()?;
        let mut index = self.shared.index_mut();
        for entry in entries {
            done.feeds += 1;
            done.raw_bytes += entry.raw_len;
            done.packed_bytes += entry.packed_len();
            index.feeds.remove(&entry.key);
            let archived = Archived {
                pack: number,
                entry,
            };
            index.archived.insert(entry.key, archived);
        }
        let unneeded = index.take_unneeded();
        drop(index);
        drop(appender);
        self.remove(&unneeded)?;
        Ok(done)
    }

    fn copy_to(
        &self,
        writer: &mut PackWriter,
        key: FeedKey,
        seal: Seal,
        end_time_ms: i64,
    ) -> Result<bool, DiskError> {
        let mut next = 0;
        while next < seal.record_count {
            let batches = self.read(key, next, READ_LEN)?;
            if batches.is_empty() {
                writer.abandon()?;
                return Ok(false);
            }
            for batch in batches {
                next = batch.end_record();
                writer.push(key, &batch)?;
            }
        }
        writer.end(key, seal, end_time_ms)
    }

    /// Removes files that nobody needs; durable on return.
    pub(super) fn remove(&self, paths: &[PathBuf]) -> Result<(), DiskError> {
        if paths.is_empty() {
            return Ok(());
        }
        for path in paths {
            files::point(path)?;
            files::remove_if_there(path)?;
        }
        files::point(&self.shared.dir)?;
        files::sync_dir(&self.shared.dir)
    }

    /// What an archive has of a feed; nothing if it is in none.
    pub(super) fn read_archived(
        &self,
        key: FeedKey,
        from: u64,
        max_bytes: usize,
    ) -> Option<Result<Vec<Batch>, DiskError>> {
        let find = || self.shared.index().archived.get(&key).copied();
        let mut found = find()?;
        loop {
            let pack = self.shared.packs.get(&self.shared.dir, found.pack);
            let read = pack.and_then(|pack| pack.read(&found.entry, from, max_bytes));
            if read.is_ok() {
                return Some(read);
            }
            match find() {
                Some(now) if now == found => return Some(read),
                // The archive was written anew meanwhile.
                Some(now) => found = now,
                None => return None,
            }
        }
    }

    /// Up to when feeds are gone.
    pub fn horizon(&self) -> Horizon {
        *lock(&self.shared.horizon)
    }

    /// Feeds that ended until then and are not whole here will not be; durable on return.
    pub fn set_absent(&self, until_ms: i64) -> Result<(), DiskError> {
        let mut horizon = lock(&self.shared.horizon);
        if until_ms > horizon.absent_until_ms {
            let raised = Horizon {
                absent_until_ms: until_ms,
                ..*horizon
            };
            horizon::write(&self.shared.dir, raised)?;
            *horizon = raised;
        }
        Ok(())
    }

    /// Removes the archived feeds whose attempts ended at `until_ms` or before, and `others`, which are not in an archive; what is gone stays so
    /// once this returns. Says no, and does nothing, while an archive is being written: then say it again.
    pub fn purge(&self, until_ms: i64, others: &[FeedKey]) -> Result<bool, DiskError> {
        let Ok(_upkeep) = self.shared.upkeep.try_lock() else {
            return Ok(false);
        };
        let raised = {
            let mut horizon = lock(&self.shared.horizon);
            let raised = Horizon {
                purged_until_ms: horizon.purged_until_ms.max(until_ms),
                absent_until_ms: horizon.absent_until_ms.max(until_ms),
            };
            horizon::write(&self.shared.dir, raised)?;
            *horizon = raised;
            raised
        };
        let mut gone: BTreeMap<u64, BTreeSet<FeedKey>> = BTreeMap::new();
        let mut dropped = Vec::new();
        {
            let index = self.shared.index();
            for (key, archived) in &index.archived {
                if archived.entry.end_time_ms <= raised.purged_until_ms {
                    gone.entry(archived.pack).or_default().insert(*key);
                    if index.is_mentioned(*key) {
                        dropped.push(*key);
                    }
                }
            }
            let is_there = |key: &&FeedKey| index.feeds.contains_key(key);
            dropped.extend(others.iter().filter(is_there));
        }
        self.drop_feeds(&dropped)?;
        for (pack, keys) in gone {
            let stays =
                |archived: &&Archived| archived.pack == pack && !keys.contains(&archived.entry.key);
            let (stay, go) = {
                let index = self.shared.index();
                let len = |archived: &Archived| archived.entry.packed_len();
                let all = index.archived.values();
                let stay: u64 = all.filter(stays).map(len).sum();
                let go = keys.iter().filter_map(|key| index.archived.get(key));
                (stay, go.map(len).sum::<u64>())
            };
            if stay == 0 {
                self.forget_archived(&keys);
                self.shared.packs.close(pack);
                self.remove(&[pack_path(&self.shared.dir, pack)])?;
            } else if go >= stay {
                self.rewrite(pack, &keys)?;
            } else {
                // Its room is given back with that of the others.
                self.forget_archived(&keys);
            }
        }
        Ok(true)
    }

    fn forget_archived(&self, keys: &BTreeSet<FeedKey>) {
        let mut index = self.shared.index_mut();
        index.archived.retain(|key, _| !keys.contains(key));
    }

    /// Writes an archive anew without some of its feeds. The caller holds `upkeep`.
    fn rewrite(&self, pack: u64, without: &BTreeSet<FeedKey>) -> Result<(), DiskError> {
        let path = pack_path(&self.shared.dir, pack);
        let file = File::open(&path).during("opening", &path)?;
        let stay: Vec<Entry> = {
            let index = self.shared.index();
            let all = index.archived.values().filter(|a| a.pack == pack);
            let stay = all.filter(|archived| !without.contains(&archived.entry.key));
            stay.map(|archived| archived.entry).collect()
        };
        if stay.is_empty() {
            self.forget_archived(without);
            self.shared.packs.close(pack);
            return self.remove(&[path]);
        }
        let entries = rewrite(&path, &file, &stay)?;
        let mut index = self.shared.index_mut();
        index.archived.retain(|key, _| !without.contains(key));
        for entry in entries {
            index.archived.insert(entry.key, Archived { pack, entry });
        }
        drop(index);
        self.shared.packs.close(pack);
        Ok(())
    }

    /// Takes a feed out of its archive: it begins anew, with nothing.
    pub(super) fn unarchive(&self, key: FeedKey) -> Result<(), DiskError> {
        let _upkeep = lock(&self.shared.upkeep);
        let mut appender = self.shared.appender();
        let Some(archived) = self.shared.index().archived.get(&key).copied() else {
            return Ok(());
        };
        // Segments may still have some of its records: they do not count any more, with the archive or without it.
        let mut body = Vec::new();
        format::encode_unit(&mut body, key, Content::Cut { from: 0 }, &[]);
        self.write(&mut appender, 1, body)?;
        files::point(&self.shared.dir)?;
        self.rewrite(archived.pack, &BTreeSet::from([key]))?;
        let number = appender.writer.number;
        self.shared.index_mut().begin_anew(number, key);
        Ok(())
    }

    /// Moves what is needed of the oldest segment to the end of the newest, if the segments hold little that is needed, and removes it. Says
    /// whether it did: then there may be more to do.
    pub fn compact(&self) -> Result<bool, DiskError> {
        let _upkeep = lock(&self.shared.upkeep);
        let pins = {
            let mut appender = self.shared.appender();
            let newest = appender.writer.number;
            let mut index = self.shared.index_mut();
            let older = index
                .segments
                .iter()
                .filter(|(number, _)| **number != newest);
            let len = older.map(|(_, segment)| segment.len).sum::<u64>() + appender.writer.end();
            let needed: u64 = index.feeds.values().map(|feed| feed.bytes).sum();
            if len <= 2 * needed + SLACK {
                return Ok(false);
            }
            let Some(oldest) = index.segments.first_key_value().map(|(number, _)| *number) else {
                return Ok(false);
            };
            if oldest == newest {
                self.roll(&mut appender, &mut index)?;
            }
            let pins = index.pins(oldest);
            let bytes = pins.iter().filter_map(|key| index.feeds.get(key));
            if bytes.map(|feed| feed.bytes).sum::<u64>() > SEGMENT_LEN / 2 {
                return Ok(false);
            }
            pins
        };
        for key in pins {
            match self.move_up(key) {
                // It is found and repaired when it is read.
                Err(DiskError::Corrupt { .. }) => return Ok(false),
                other => other?,
            }
        }
        let unneeded = self.shared.index_mut().take_unneeded();
        self.remove(&unneeded)?;
        Ok(!unneeded.is_empty())
    }

    /// Writes all of a feed once more, at the end of the newest segment.
    fn move_up(&self, key: FeedKey) -> Result<(), DiskError> {
        let mut appender = self.shared.appender();
        let (length, seal) = match self.shared.index().feeds.get(&key) {
            Some(feed) => (feed.length, feed.seal),
            None => return Ok(()),
        };
        let mut body = Vec::new();
        format::encode_unit(&mut body, key, Content::Cut { from: 0 }, &[]);
        let mut units = 1;
        let mut next = 0;
        while next < length {
            let batches = self.read(key, next, MOVE_LEN)?;
            let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
                let why = format!("record {next} cannot be read");
                return Err(DiskError::corrupt(key.to_string(), why));
            };
            let frames: Vec<u8> = batches
                .iter()
                .flat_map(|b| b.frames.iter().copied())
                .collect();
            let first = first.first_record;
            next = last.end_record();
            let count = (next - first) as u32;
            format::encode_unit(&mut body, key, Content::Records { first, count }, &frames);
            units += 1;
        }
        if let Some(Seal {
            record_count,
            digest,
        }) = seal
        {
            let content = Content::Seal {
                record_count,
                digest,
            };
            format::encode_unit(&mut body, key, content, &[]);
            units += 1;
        }
        files::point(&self.shared.dir)?;
        self.write(&mut appender, units, body)
    }
}

/// Writes the archive at `path` anew with some of its feeds; durable on return.
pub(super) fn rewrite(path: &Path, file: &File, stay: &[Entry]) -> Result<Vec<Entry>, DiskError> {
    let mut writer = PackWriter::begin(path)?;
    for entry in stay {
        writer.copy(file, path, entry)?;
    }
    writer.finish()?.publish()
}

/// Nobody leaves these half changed, so a panic elsewhere does not matter here.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
