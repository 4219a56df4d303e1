//! Writing: records into segments, one after the other.
//!
//! ```text
//! number of the last record on the disk ≤ number of the last record written ≤ that + 1
//! mark ≤ number of the last record on the disk
//! first index of the oldest segment's entries ≤ first ≤ last + 1
//! ```
//!
//! A batch is one record, written by one call and synced by one more. Segments have their full length, in zeros that were synced,
//! before the first record goes into them, so that a sync has no metadata to write. One whose entries are all forgotten is
//! written anew from its beginning; names never change. Writes end at the end of a page, so that no page has to be read to be
//! written in part.

use super::format::{HEADER_LEN, Header, push_record};
use super::replay::{Replayed, State, replay};
use crate::error::DiskError;
use crate::raft_log::keys::bounds::Bounds;
use crate::raft_log::mark::Mark;
use crate::raft_log::medium::{Directory, Medium};
use raft::eraftpb::{Entry, HardState};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _};
use tracing::warn;

const PAGE: u64 = 4096;

/// Bytes of each segment into which no entries go, so that they can be forgotten also when there is no room for another segment.
const MARGIN: u64 = PAGE;

/// A buffer that has grown beyond this is not kept.
const BUFFER_LEN: usize = 1 << 20;

/// How large files are.
#[derive(Clone, Copy, Debug)]
pub(in crate::raft_log) struct Sizes {
    /// Bytes of a segment, unless a single batch needs more. A multiple of a page, and at least two.
    pub(in crate::raft_log) segment_len: u64,
    /// Bytes of files that are kept to be written anew.
    pub(in crate::raft_log) spare_len: u64,
    /// Bytes that making a segment leaves free on the disk.
    pub(in crate::raft_log) reserve_bytes: u64,
}

impl Sizes {
    /// The usual ones.
    pub(in crate::raft_log) fn usual(reserve_bytes: u64) -> Sizes {
        Sizes {
            segment_len: 4 << 20,
            spare_len: 64 << 20,
            reserve_bytes,
        }
    }
}

/// A file of the log.
#[derive(Debug)]
pub(super) struct Segment<F> {
    pub(super) name: String,
    pub(super) file: F,
    /// Its length in bytes.
    pub(super) len: u64,
    /// The highest index of an entry in it; 0 if there is none.
    pub(super) newest: u64,
}

/// The files of a log.
pub(in crate::raft_log) struct Segments<D: Directory> {
    directory: D,
    mark: Mark<D::File>,
    salt: u64,
    /// Oldest first; the last one is written.
    chain: VecDeque<Segment<D::File>>,
    spare: VecDeque<Segment<D::File>>,
    /// Where the last segment goes on.
    end: u64,
    bounds: Bounds,
    hard_state: HardState,
    sizes: Sizes,
    buffer: Vec<u8>,
    /// A sync failed: nothing is known of what is on the disk.
    broken: bool,
}

impl<D: Directory> Segments<D> {
    /// Opens the log in a directory, or an empty one. What it has is durable on return; the entries are given, too.
    pub(in crate::raft_log) fn open(
        directory: D,
        mark: Mark<D::File>,
        sizes: Sizes,
    ) -> Result<(Self, BTreeMap<u64, Entry>), DiskError> {
        let Replayed {
            chain,
            spare,
            salt,
            end,
            state,
        } = replay(&directory, &mark)?;
        let State {
            bounds,
            hard_state,
            entries,
        } = state;
        let log = Segments {
            directory,
            mark,
            salt: salt.unwrap_or_else(chance),
            chain,
            spare,
            end,
            bounds,
            hard_state,
            sizes,
            buffer: Vec::new(),
            broken: false,
        };
        log.settle()?;
        Ok((log, entries))
    }

    /// First and last index, and how many records were written.
    pub(in crate::raft_log) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Term, vote and commit index.
    pub(in crate::raft_log) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Stores entries and hard state, whole or not at all; durable on return. The entries follow each other and replace all at and
    /// after the first one's index, which is not beyond the last index and one.
    pub(in crate::raft_log) fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) -> Result<(), DiskError> {
        let last = entries.last().map_or(self.bounds.last, |entry| entry.index);
        self.write(
            self.bounds.next(self.bounds.first, last),
            hard_state,
            entries,
        )
    }

    /// Forgets the entries before `first`. That is durable when a file becomes spare by it, or else with the next record.
    pub(in crate::raft_log) fn forget_before(&mut self, first: u64) -> Result<(), DiskError> {
        self.bounds.first = first.max(self.bounds.first);
        match self.has_spare() {
            true => self.append(&[], None),
            false => Ok(()),
        }
    }

    /// Forgets all entries: the log goes on after `index`.
    pub(in crate::raft_log) fn restart_after(&mut self, index: u64) -> Result<(), DiskError> {
        self.write(self.bounds.next(index + 1, index), None, &[])
    }

    /// Makes durable what was found, which may have been written and not synced, and clears away what a cut off write left.
    fn settle(&self) -> Result<(), DiskError> {
        if let Some(last) = self.chain.back() {
            let rest = last
                .file
                .read(self.end, last.len.saturating_sub(self.end) as usize)?;
            if rest.iter().any(|byte| *byte != 0) {
                last.file.write(self.end, &vec![0; rest.len()])?;
            }
        }
        for segment in &self.chain {
            segment.file.sync()?;
        }
        self.directory.sync()?;
        self.note();
        Ok(())
    }

    fn write(
        &mut self,
        bounds: Bounds,
        hard_state: Option<&HardState>,
        entries: &[Entry],
    ) -> Result<(), DiskError> {
        if self.broken {
            return Err(DiskError::Misuse(
                "a sync of the raft log has failed before".into(),
            ));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        // Room for a header, in case the record goes into another segment.
        buffer.resize(HEADER_LEN, 0);
        let written = push_record(&mut buffer, self.salt, bounds, hard_state, entries)
            .and_then(|()| self.put(&mut buffer, entries.last().map(|entry| entry.index)));
        if buffer.capacity() <= BUFFER_LEN {
            self.buffer = buffer;
        }
        if let Err(error) = written {
            self.broken = error.is_fatal();
            return Err(error);
        }
        self.bounds = bounds;
        if let Some(hard_state) = hard_state {
            self.hard_state.clone_from(hard_state);
        }
        self.note();
        while self.has_spare() {
            self.spare.extend(self.chain.pop_front());
        }
        self.remove_surplus();
        Ok(())
    }

    /// Puts a record that stands in the buffer after room for a header into the last segment, or into the next.
    fn put(&mut self, buffer: &mut Vec<u8>, newest: Option<u64>) -> Result<(), DiskError> {
        let len = (buffer.len() - HEADER_LEN) as u64;
        let margin = if newest.is_some() { MARGIN } else { 0 };
        if let Some(last) = self.chain.back_mut()
            && self.end + len + margin <= last.len
        {
            let end = self.end + len;
            let padding = end.next_multiple_of(PAGE).min(last.len) - end;
            buffer.resize(buffer.len() + padding as usize, 0);
            last.file.write(self.end, &buffer[HEADER_LEN..])?;
            last.file.sync()?;
            last.newest = last.newest.max(newest.unwrap_or(0));
            self.end = end;
            return Ok(());
        }
        let end = buffer.len() as u64;
        let mut next = self.next_segment(end + margin)?;
        let header = Header {
            salt: self.salt,
            bounds: self.bounds,
            hard_state: self.hard_state.clone(),
        };
        header.write(&mut buffer[..HEADER_LEN]);
        let padding = end.next_multiple_of(PAGE).min(next.len) - end;
        buffer.resize(buffer.len() + padding as usize, 0);
        let written = next.file.write(0, buffer).and_then(|()| next.file.sync());
        if let Err(error) = written {
            self.spare.push_front(next);
            return Err(error);
        }
        next.newest = newest.unwrap_or(0);
        self.chain.push_back(next);
        self.end = end;
        Ok(())
    }

    /// A file of at least this length that holds nothing which is needed.
    fn next_segment(&mut self, least: u64) -> Result<Segment<D::File>, DiskError> {
        let len = least.next_multiple_of(PAGE).max(self.sizes.segment_len);
        let mut segment = match self.spare.pop_front() {
            Some(spare) if spare.len >= len => return Ok(spare),
            Some(spare) => spare,
            None => {
                self.has_room(len)?;
                let name = self.free_name();
                let file = self.directory.create(&name)?;
                Segment {
                    name,
                    file,
                    len: 0,
                    newest: 0,
                }
            }
        };
        match self
            .has_room(len - segment.len)
            .and_then(|()| fill(&segment, len))
            .and_then(|()| self.directory.sync())
        {
            Ok(()) => {
                segment.len = len;
                Ok(segment)
            }
            Err(error) => {
                self.spare.push_front(segment);
                Err(error)
            }
        }
    }

    fn has_room(&self, bytes: u64) -> Result<(), DiskError> {
        if self.directory.available_bytes()? < self.sizes.reserve_bytes.saturating_add(bytes) {
            return Err(DiskError::Full {
                doing: "appending to",
                path: self.directory.place().into(),
            });
        }
        Ok(())
    }

    fn free_name(&self) -> String {
        let taken = self.chain.iter().chain(&self.spare);
        let highest = taken.filter_map(|segment| segment.name.parse::<u64>().ok());
        format!("{:08}", highest.max().unwrap_or(0) + 1)
    }

    /// Whether nothing in the oldest segment is needed any more.
    fn has_spare(&self) -> bool {
        self.chain.len() > 1 && self.chain[0].newest < self.bounds.first
    }

    fn remove_surplus(&mut self) {
        let mut len: u64 = self.spare.iter().map(|spare| spare.len).sum();
        while len > self.sizes.spare_len
            && let Some(spare) = self.spare.pop_front()
        {
            len -= spare.len;
            // One that comes back after a power cut is spare again.
            if let Err(error) = self.directory.remove(&spare.name) {
                warn!(%error, "a spare file of the raft log stays");
            }
        }
    }

    /// What is written is durable whatever becomes of the mark, which only falls behind.
    fn note(&self) {
        if let Err(error) = self.mark.write(self.bounds.writes) {
            warn!(%error, "the raft log's mark could not be written");
        }
    }
}

/// Fills a file with zeros up to `len`; durable on return.
fn fill<F: Medium>(segment: &Segment<F>, len: u64) -> Result<(), DiskError> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    segment.file.reserve(len)?;
    let mut at = segment.len;
    while at < len {
        let some = ZEROS.len().min((len - at) as usize);
        segment.file.write(at, &ZEROS[..some])?;
        at += some as u64;
    }
    segment.file.sync()
}

/// A number that no other log has.
fn chance() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
