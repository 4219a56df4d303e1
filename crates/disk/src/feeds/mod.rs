//! The records of all attempts, in shared append-only segments.
//!
//! One [`Feeds`] per coordinator. Any number of feeds is appended to by one write and one sync; a feed costs no file of
//! its own. Readers share the handle and never wait for the writer's disk: they see what is durable.
//!
//! ```text
//! records of a feed that can be read  =  0 .. length  =  what was appended and synced
//! ```
//!
//! Feeds that have ended do not stay there: sealed ones are compressed into archives in the background ([`Feeds::archive`]), and removed when their
//! time is over ([`Feeds::purge`]). What a long feed keeps of a segment that nobody else needs is moved ([`Feeds::compact`]). So a start reads the
//! records of feeds that are not sealed, some that wait for the next archive, and a hundred bytes of an index for each sealed one.
//!
//! At the start the segments are read and checked. A torn tail is what a crash left of an append that was never
//! answered: it is cut off. Damage anywhere else is told by [`Feeds::damage`]; the feed then ends before it, its holder
//! sees that records are missing and fetches them from another coordinator.

mod format;

mod index;

mod writer;

mod pack;

mod horizon;

mod archive;

mod recover;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod archive_tests;

use crate::error::{DiskError, During};
use crate::files;
use bytes::Bytes;
use feed::{Batch, Seal, SealHasher};
use format::{Content, Unit};
use index::{Index, Run};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use writer::Writer;

pub use archive::{Archiving, Kept};
pub use horizon::Horizon;

/// Whose feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedKey {
    /// The execution's id.
    pub execution: [u8; 16],
    /// Its attempt.
    pub attempt: u32,
}

impl FeedKey {
    fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&self.execution);
        bytes[16..].copy_from_slice(&self.attempt.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; 20]) -> FeedKey {
        let [execution @ .., a0, a1, a2, a3] = *bytes;
        FeedKey {
            execution,
            attempt: u32::from_le_bytes([a0, a1, a2, a3]),
        }
    }
}

impl fmt::Display for FeedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let execution = u128::from_be_bytes(self.execution);
        write!(f, "feed {execution:032x}.{}", self.attempt)
    }
}

/// A place where the segments are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// The byte.
    pub offset: u64,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, byte {}: {}",
            self.path.display(),
            self.offset,
            self.why
        )
    }
}

/// The store. A clone is the same store.
#[derive(Clone, Debug)]
pub struct Feeds {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// The number of the next archive. Locked before all others, for as long as archives are written.
    upkeep: Mutex<u64>,
    /// Locked before the index, and while the disk is waited for.
    writer: Mutex<Appender>,
    /// Locked briefly only.
    index: RwLock<Index>,
    horizon: Mutex<Horizon>,
    packs: archive::OpenPacks,
    damage: Vec<Damage>,
    /// Bytes that were read at the start.
    read_at_start: u64,
}

#[derive(Debug)]
struct Appender {
    writer: Writer,
    /// Seals that go with the next append. They need no sync of their own: the ledger has them.
    waiting: Vec<u8>,
    waiting_units: u32,
}

impl Feeds {
    /// Opens the store in `dir`, creating it if there is none. The caller sees to it that only one process does.
    pub fn open(dir: &Path) -> Result<Feeds, DiskError> {
        files::own_dir(dir)?;
        let recover::Recovered {
            index,
            writer,
            damage,
            horizon,
            next_pack,
            bytes_read,
        } = recover::recover(dir)?;
        let appender = Appender {
            writer,
            waiting: Vec::new(),
            waiting_units: 0,
        };
        let shared = Shared {
            dir: dir.to_owned(),
            upkeep: Mutex::new(next_pack),
            writer: Mutex::new(appender),
            index: RwLock::new(index),
            horizon: Mutex::new(horizon),
            packs: archive::OpenPacks::default(),
            damage,
            read_at_start: bytes_read,
        };
        Ok(Feeds {
            shared: Arc::new(shared),
        })
    }

    /// What was found damaged at the start.
    pub fn damage(&self) -> &[Damage] {
        &self.shared.damage
    }

    /// How many bytes the start had to read.
    pub fn read_at_start(&self) -> u64 {
        self.shared.read_at_start
    }

    /// Appends batches, of any number of feeds, with one write and one sync; durable on return. All or nothing.
    ///
    /// A batch must begin at its feed's length, and its feed must be neither sealed nor dropped:
    /// [`Misuse`](DiskError::Misuse) otherwise. [`feed::Holder`] sees to both.
    pub fn append(&self, batches: &[(FeedKey, Batch)]) -> Result<(), DiskError> {
        let mut appender = self.shared.appender();
        self.check_next(batches)?;
        let mut body = Vec::new();
        let units = batches.iter().filter(|(_, batch)| !batch.is_empty());
        let mut count = 0;
        for (key, batch) in units {
            let content = Content::Records {
                first: batch.first_record,
                count: batch.count,
            };
            format::encode_unit(&mut body, *key, content, &batch.frames);
            count += 1;
        }
        if count == 0 {
            Ok(())
        } else {
            self.write(&mut appender, count, body)
        }
    }

    fn check_next(&self, batches: &[(FeedKey, Batch)]) -> Result<(), DiskError> {
        let index = self.shared.index();
        let mut next: BTreeMap<FeedKey, u64> = BTreeMap::new();
        for (key, batch) in batches {
            if index.archived.contains_key(key) {
                return Err(DiskError::Misuse(format!("{key} is sealed")));
            }
            let known = index.feeds.get(key);
            if known.is_some_and(|feed| {
                feed.seal
                    .is_some_and(|s| batch.end_record() > s.record_count)
            }) {
                return Err(DiskError::Misuse(format!("{key} is sealed")));
            }
            if index.is_dropped(*key) {
                return Err(DiskError::Misuse(format!("{key} was dropped")));
            }
            let expected = next
                .entry(*key)
                .or_insert(known.map_or(0, |feed| feed.length));
            if batch.first_record != *expected {
                let got = batch.first_record;
                let why =
                    format!("{key}: record {expected} comes next, but the batch begins at {got}");
                return Err(DiskError::Misuse(why));
            }
            *expected = batch.end_record();
        }
        Ok(())
    }

    /// Batches from record `from` on, one after the other without a gap, of about `max_bytes`; at least one if there is
    /// one. A record that is damaged on the disk is an error; those before it can be read.
    pub fn read(&self, key: FeedKey, from: u64, max_bytes: usize) -> Result<Vec<Batch>, DiskError> {
        if let Some(read) = self.read_archived(key, from, max_bytes) {
            return read;
        }
        let runs = self.runs_from(key, from, max_bytes as u64);
        let mut batches: Vec<Batch> = Vec::new();
        let mut next = from;
        let mut room = max_bytes;
        for run in runs {
            for batch in self.read_run(key, run)? {
                if batch.end_record() <= next || batch.first_record > next {
                    continue;
                }
                let end = run.end_record.min(batch.end_record());
                let cut = |e: feed::FrameError| DiskError::corrupt(key.to_string(), e.to_string());
                let wanted = batch.from_record(next).map_err(cut)?;
                let wanted = wanted.before_record(end).map_err(cut)?;
                if wanted.is_empty() {
                    continue;
                }
                if !batches.is_empty() && wanted.frames.len() > room {
                    return Ok(batches);
                }
                let wanted = wanted.within(max_bytes.max(1)).map_err(cut)?;
                let is_whole = wanted.end_record() == end;
                room = room.saturating_sub(wanted.frames.len());
                next = wanted.end_record();
                batches.push(wanted);
                if room == 0 || !is_whole {
                    return Ok(batches);
                }
            }
        }
        Ok(batches)
    }

    /// The runs that hold `from` and about `max_bytes` after it.
    fn runs_from(&self, key: FeedKey, from: u64, max_bytes: u64) -> Vec<Run> {
        let index = self.shared.index();
        let Some(feed) = index.feeds.get(&key) else {
            return Vec::new();
        };
        let at = feed.runs.partition_point(|run| run.end_record <= from);
        let mut bytes = 0;
        let mut runs = Vec::new();
        for run in feed.runs.iter().skip(at) {
            runs.push(*run);
            bytes += run.end - run.start;
            // The first run may hold little that is wanted.
            if bytes > max_bytes && runs.len() > 1 {
                break;
            }
        }
        runs
    }

    /// The batches of `key` in one run; units of other feeds are passed over.
    fn read_run(&self, key: FeedKey, run: Run) -> Result<Vec<Batch>, DiskError> {
        let segment = self
            .shared
            .index()
            .segments
            .get(&run.segment)
            .map(|s| (s.file.clone(), s.path.clone()));
        let Some((file, path)) = segment else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; (run.end - run.start) as usize];
        file.read_exact_at(&mut bytes, run.start)
            .during("reading", &path)?;
        let bytes = Bytes::from(bytes);
        let mut batches = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let Some(found) = format::unit_at(&bytes, at) else {
                let place = format!("{}, byte {}", path.display(), run.start + at as u64);
                return Err(DiskError::corrupt(
                    place,
                    format!("{key}: checksum does not match"),
                ));
            };
            at = match found {
                Err(end) => end,
                Ok(unit) => {
                    if let Content::Records {
                        first: first_record,
                        count,
                    } = unit.content
                        && unit.key == key
                    {
                        let frames = bytes.slice(unit.payload_start()..unit.end);
                        batches.push(Batch {
                            first_record,
                            count,
                            frames,
                        });
                    }
                    unit.end
                }
            };
        }
        Ok(batches)
    }

    /// Records of the feed: the number of the next one; 0 of a feed that is not known.
    pub fn length(&self, key: FeedKey) -> u64 {
        let index = self.shared.index();
        let archived = index.archived.get(&key);
        let written = index.feeds.get(&key).map(|feed| feed.length);
        let length = archived.map(|archived| archived.entry.seal.record_count);
        length.or(written).unwrap_or_default()
    }

    /// Bytes of the feed's frames.
    pub fn bytes(&self, key: FeedKey) -> u64 {
        let index = self.shared.index();
        let archived = index.archived.get(&key);
        let written = index.feeds.get(&key).map(|feed| feed.bytes);
        let bytes = archived.map(|archived| archived.entry.raw_len);
        bytes.or(written).unwrap_or_default()
    }

    /// The feed's seal, if it has one.
    pub fn sealed(&self, key: FeedKey) -> Option<Seal> {
        let index = self.shared.index();
        let archived = index.archived.get(&key);
        let written = index.feeds.get(&key).and_then(|feed| feed.seal);
        archived.map(|archived| archived.entry.seal).or(written)
    }

    /// All feeds that are not dropped, in the order of their keys.
    pub fn keys(&self) -> Vec<FeedKey> {
        let index = self.shared.index();
        let keys: BTreeSet<FeedKey> = index
            .feeds
            .keys()
            .chain(index.archived.keys())
            .copied()
            .collect();
        keys.into_iter().collect()
    }

    /// Closes a feed, after reading all of it and comparing count and digest.
    ///
    /// It goes to the disk with the next append or [`flush`](Feeds::flush): until then a crash forgets it, and the
    /// ledger, which has it, says it again. A feed that is not what the seal says is [`Corrupt`](DiskError::Corrupt).
    pub fn seal(&self, key: FeedKey, seal: Seal) -> Result<(), DiskError> {
        if self.sealed(key) == Some(seal) {
            return Ok(());
        }
        let found = self.compute_seal(key)?;
        if found != seal {
            return Err(DiskError::corrupt(
                key.to_string(),
                format!("sealed as {seal}, but it is {found}"),
            ));
        }
        let mut appender = self.shared.appender();
        let mut index = self.shared.index_mut();
        // Nothing may have come since it was read.
        let feed = index.feeds.entry(key).or_default();
        if feed.length != seal.record_count {
            let why = format!(
                "{key} grew to {} records while it was sealed at {seal}",
                feed.length
            );
            return Err(DiskError::Misuse(why));
        }
        feed.seal = Some(seal);
        let Seal {
            record_count,
            digest,
        } = seal;
        format::encode_unit(
            &mut appender.waiting,
            key,
            Content::Seal {
                record_count,
                digest,
            },
            &[],
        );
        appender.waiting_units += 1;
        Ok(())
    }

    /// Count and digest of what is on the disk.
    pub fn compute_seal(&self, key: FeedKey) -> Result<Seal, DiskError> {
        const STEP: usize = 1 << 20;
        let mut hasher = SealHasher::new();
        let length = self.length(key);
        while hasher.record_count() < length {
            let batches = self.read(key, hasher.record_count(), STEP)?;
            if batches.is_empty() {
                let why = format!("record {} cannot be read", hasher.record_count());
                return Err(DiskError::corrupt(key.to_string(), why));
            }
            batches.iter().for_each(|batch| hasher.update_batch(batch));
        }
        Ok(hasher.seal())
    }

    /// Forgets the records of a feed from this one on, and its seal; durable on return. Others may follow in their place. Of an archived feed all
    /// is forgotten or nothing: with another `from` than 0 that is [`Misuse`](DiskError::Misuse).
    pub fn cut(&self, key: FeedKey, from: u64) -> Result<(), DiskError> {
        let mut appender = self.shared.appender();
        if self.is_archived(key) {
            if from > 0 {
                return Err(DiskError::Misuse(format!(
                    "{key} is archived: it is replaced as a whole"
                )));
            }
            drop(appender);
            return self.unarchive(key);
        }
        let mut body = Vec::new();
        format::encode_unit(&mut body, key, Content::Cut { from }, &[]);
        self.write(&mut appender, 1, body)
    }

    /// The first record from which a feed has to be replaced, because it or a later one cannot be read; its length when all can.
    pub fn sound_until(&self, key: FeedKey) -> u64 {
        match self.readable_until(key) {
            until if until < self.length(key) && self.is_archived(key) => 0,
            until => until,
        }
    }

    fn readable_until(&self, key: FeedKey) -> u64 {
        const STEP: usize = 1 << 20;
        let length = self.length(key);
        let mut next = 0;
        while next < length {
            match self.read(key, next, STEP) {
                Ok(batches) if !batches.is_empty() => {
                    next = batches.last().map_or(next, Batch::end_record);
                }
                // What can be read of the step before the damage is still good.
                _ => match self.read(key, next, 1) {
                    Ok(batches) if !batches.is_empty() => {
                        next = batches.last().map_or(next, Batch::end_record);
                    }
                    _ => return next,
                },
            }
        }
        length
    }

    /// Writes what waits for the next append; durable on return.
    pub fn flush(&self) -> Result<(), DiskError> {
        let mut appender = self.shared.appender();
        if appender.waiting_units == 0 {
            return Ok(());
        }
        self.write(&mut appender, 0, Vec::new())
    }

    /// Forgets feeds for good, and removes the segments that nobody needs any more.
    pub fn drop_feeds(&self, keys: &[FeedKey]) -> Result<(), DiskError> {
        let mut appender = self.shared.appender();
        let mut body = Vec::new();
        for key in keys {
            format::encode_unit(&mut body, *key, Content::Dropped, &[]);
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.write(&mut appender, keys.len() as u32, body)?;
        let unneeded = self.shared.index_mut().take_unneeded();
        self.remove(&unneeded)
    }

    /// Writes what waits and `units` more, and takes them into the index.
    fn write(&self, appender: &mut Appender, units: u32, body: Vec<u8>) -> Result<(), DiskError> {
        let mut all = std::mem::take(&mut appender.waiting);
        let waiting_len = all.len();
        all.extend_from_slice(&body);
        let written = self.write_group(appender, appender.waiting_units + units, &all);
        if written.is_ok() {
            appender.waiting_units = 0;
        } else {
            all.truncate(waiting_len);
            appender.waiting = all;
        }
        written
    }

    fn write_group(
        &self,
        appender: &mut Appender,
        units: u32,
        body: &[u8],
    ) -> Result<(), DiskError> {
        let before = (appender.writer.number, appender.writer.end());
        if let Some(begun) = appender.writer.roll_for(body.len())? {
            let mut index = self.shared.index_mut();
            index.set_len(before.0, before.1);
            index.add_segment(begun.number, begun.path, begun.file);
        }
        let first_unit = appender.writer.write(units, body)? as usize;
        let mut index = self.shared.index_mut();
        let mut at = 0;
        while let Some(Ok(unit)) = format::unit_at(body, at) {
            at = unit.end;
            let unit = Unit {
                start: unit.start + first_unit,
                end: unit.end + first_unit,
                ..unit
            };
            // What comes next was checked before it was written.
            let damage = index.add(appender.writer.number, &unit);
            assert!(
                damage.is_none(),
                "I-21: appended records are dense: {damage:?}"
            );
        }
        Ok(())
    }
}

impl Feeds {
    /// Goes on in another segment.
    fn roll(&self, appender: &mut Appender, index: &mut Index) -> Result<(), DiskError> {
        index.set_len(appender.writer.number, appender.writer.end());
        let begun = appender.writer.roll()?;
        index.add_segment(begun.number, begun.path, begun.file);
        Ok(())
    }
}

impl Shared {
    // A panic while a lock is held leaves nothing half done: the index changes after the disk has.
    fn appender(&self) -> MutexGuard<'_, Appender> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
