//! The worker's side of a feed: what every coordinator has of it, and what to push to whom next.
//!
//! For every holder, `stored ≤ sent ≤ produced` (`stored` may pass them for a while after a restart of the worker, until
//! it has read its own file again). A record is *acked* once a majority of holders has stored it.

use crate::batch::Batch;
use crate::frame::MAX_FRAME_LEN;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use thiserror::Error;

/// A coordinator that stores feeds, by its Raft id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub u64);

/// How much a writer keeps and sends at once.
#[derive(Clone, Copy, Debug)]
pub struct WriterLimits {
    /// Bytes that may be on their way to one holder.
    pub window_bytes: usize,
    /// Bytes of one push; at least one frame always fits.
    pub batch_bytes: usize,
    /// Bytes of the newest frames kept in memory; a holder further behind is served from the file.
    pub recent_bytes: usize,
}

impl Default for WriterLimits {
    fn default() -> WriterLimits {
        WriterLimits {
            window_bytes: 8 << 20,
            batch_bytes: 512 << 10,
            recent_bytes: 4 << 20,
        }
    }
}

/// What to do next for one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// Send this; it counts as sent.
    Ready(Batch),
    /// Read whole frames of the feed's file at `offset`, of which the first is `first_record`, send them and call
    /// [`Writer::sent`]; until then the same is asked again.
    Read {
        /// Number of the record at `offset`.
        first_record: u64,
        /// Bytes from the beginning of the feed.
        offset: u64,
        /// Bytes to read; at least one frame fits.
        max_bytes: usize,
    },
}

/// A holder that is not one of this writer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("coordinator {} is not a holder of this feed", .0.0)]
pub struct UnknownHolder(pub HolderId);

/// A place in the feed: a record and the byte its frame begins at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    record: u64,
    offset: u64,
}

impl Position {
    fn after(self, batch: &Batch) -> Position {
        Position {
            record: batch.end_record(),
            offset: self.offset + batch.frames.len() as u64,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// Records below this one are on the holder's disk, as it told.
    stored: u64,
    sent: Position,
    /// Pushes that were not answered: number after the last record, bytes.
    in_flight: VecDeque<(u64, usize)>,
    in_flight_bytes: usize,
}

/// One attempt's feed as its worker sees it. See the module's words.
#[derive(Clone, Debug)]
pub struct Writer {
    limits: WriterLimits,
    produced: Position,
    recent: VecDeque<(Position, Batch)>,
    recent_bytes: usize,
    /// Known places, rising, the first being the beginning of the feed.
    marks: Vec<Position>,
    mark_spacing: u64,
    holders: BTreeMap<HolderId, Progress>,
    acked: u64,
}

/// Most places remembered; when there are more, every second one is forgotten.
const MAX_MARKS: usize = 4096;

impl Writer {
    /// A writer of an empty feed with these holders.
    pub fn new(holders: impl IntoIterator<Item = HolderId>, limits: WriterLimits) -> Writer {
        let limits = WriterLimits {
            batch_bytes: limits.batch_bytes.max(MAX_FRAME_LEN),
            ..limits
        };
        let mut writer = Writer {
            limits,
            produced: Position::default(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            marks: vec![Position::default()],
            mark_spacing: 64 << 10,
            holders: BTreeMap::new(),
            acked: 0,
        };
        writer.set_holders(holders);
        writer
    }

    /// The coordinators of today. Those that stay keep their progress; new ones are sent everything, and what is acked is what
    /// a majority of these has: the others may be gone for good.
    pub fn set_holders(&mut self, holders: impl IntoIterator<Item = HolderId>) {
        let mut before = std::mem::take(&mut self.holders);
        self.holders = holders
            .into_iter()
            .map(|id| (id, before.remove(&id).unwrap_or_default()))
            .collect();
        self.acked = 0;
        self.raise_acked();
    }

    /// The holders, in the order of their ids.
    pub fn holders(&self) -> impl Iterator<Item = HolderId> + '_ {
        self.holders.keys().copied()
    }

    /// Records that the program has printed, as far as they were read from the file.
    pub fn produced(&self) -> u64 {
        self.produced.record
    }

    /// Bytes of the frames of these records: where to go on reading the file.
    pub fn produced_bytes(&self) -> u64 {
        self.produced.offset
    }

    /// Records below this one are on the disks of a majority.
    pub fn acked(&self) -> u64 {
        self.acked.min(self.produced.record)
    }

    /// Records below this one are on the disk of `holder`.
    pub fn stored(&self, holder: HolderId) -> Option<u64> {
        self.holders.get(&holder).map(|p| p.stored)
    }

    /// More frames were read from the file: those that follow what was produced before.
    ///
    /// # Panics
    /// If they are not the next ones: numbers would no longer be positions (I-21).
    pub fn produce(&mut self, batch: Batch) {
        assert_eq!(
            batch.first_record, self.produced.record,
            "I-21: produced records are dense"
        );
        if batch.is_empty() {
            return;
        }
        let at = self.produced;
        self.produced = at.after(&batch);
        if at.offset >= self.marks.last().map_or(0, |m| m.offset) + self.mark_spacing {
            self.marks.push(at);
            self.thin_marks();
        }
        self.recent_bytes += batch.frames.len();
        self.recent.push_back((at, batch));
        while self.recent_bytes > self.limits.recent_bytes && self.recent.len() > 1 {
            if let Some((_, old)) = self.recent.pop_front() {
                self.recent_bytes -= old.frames.len();
            }
        }
    }

    /// What `holder` should be sent next: nothing if it has all, its window is full, or it is no holder.
    pub fn next_push(&mut self, holder: HolderId) -> Option<Push> {
        let mut progress = self.holders.remove(&holder)?;
        let push = self.next_for(&mut progress);
        self.holders.insert(holder, progress);
        push
    }

    fn next_for(&self, progress: &mut Progress) -> Option<Push> {
        if progress.stored >= self.produced.record {
            return None;
        }
        if progress.sent.record < progress.stored {
            progress.sent = progress.sent.max(self.place_at_or_before(progress.stored));
        }
        let from = progress.sent;
        let full = progress.in_flight_bytes >= self.limits.window_bytes;
        if from.record >= self.produced.record || full {
            return None;
        }
        match self.recent_from(from) {
            Some(batch) => {
                progress.mark_sent(from, &batch);
                Some(Push::Ready(batch))
            }
            None => Some(Push::Read {
                first_record: from.record,
                offset: from.offset,
                max_bytes: self.limits.batch_bytes,
            }),
        }
    }

    /// A batch that was read because of [`Push::Read`] is on its way.
    pub fn sent(&mut self, holder: HolderId, batch: &Batch) -> Result<(), UnknownHolder> {
        let progress = self.holders.get_mut(&holder).ok_or(UnknownHolder(holder))?;
        let from = progress.sent;
        // An answer may have moved the holder on while the file was being read.
        if from.record == batch.first_record {
            progress.mark_sent(from, batch);
        }
        Ok(())
    }

    /// `holder` has every record below `next_record` on its disk: its answer to a push that it stored, or had already.
    pub fn acknowledge(&mut self, holder: HolderId, next_record: u64) -> Result<(), UnknownHolder> {
        let progress = self.holders.get_mut(&holder).ok_or(UnknownHolder(holder))?;
        progress.stored = progress.stored.max(next_record);
        while let Some((end, bytes)) = progress.in_flight.front().copied()
            && end <= progress.stored
        {
            progress.in_flight_bytes -= bytes;
            progress.in_flight.pop_front();
        }
        self.raise_acked();
        Ok(())
    }

    /// `holder` asks for `expected` next and has what is below `stored` on its disk, whatever it said before: something
    /// was lost on the way, or on its disk. Answers that came by an earlier connection must be dropped by the caller.
    pub fn rewind(
        &mut self,
        holder: HolderId,
        expected: u64,
        stored: u64,
    ) -> Result<(), UnknownHolder> {
        let place = self.place_at_or_before(expected);
        let progress = self.holders.get_mut(&holder).ok_or(UnknownHolder(holder))?;
        *progress = Progress {
            stored: stored.min(expected),
            sent: place,
            ..Progress::default()
        };
        self.raise_acked();
        Ok(())
    }

    /// The connection to `holder` broke: what was on its way may not have come.
    pub fn disconnected(&mut self, holder: HolderId) -> Result<(), UnknownHolder> {
        let stored = self.stored(holder).ok_or(UnknownHolder(holder))?;
        self.rewind(holder, stored, stored)
    }

    fn raise_acked(&mut self) {
        let mut stored: Vec<u64> = self.holders.values().map(|p| p.stored).collect();
        stored.sort_unstable_by(|a, b| b.cmp(a));
        // With n holders, a majority is n / 2 + 1 of them: the one at index n / 2 is the last of it.
        if let Some(majority) = stored.get(stored.len() / 2) {
            self.acked = self.acked.max(*majority);
        }
    }

    /// A known place at `record` or, where that one is not known, before it. Holders drop what they have already.
    fn place_at_or_before(&self, record: u64) -> Position {
        if record >= self.produced.record {
            return self.produced;
        }
        let newer = self.recent.partition_point(|(at, _)| at.record <= record);
        if let Some((at, _)) = newer.checked_sub(1).and_then(|i| self.recent.get(i)) {
            return *at;
        }
        let newer = self.marks.partition_point(|at| at.record <= record);
        newer
            .checked_sub(1)
            .and_then(|i| self.marks.get(i))
            .copied()
            .unwrap_or_default()
    }

    /// The frames at `from`, as many as fit a push, if memory still has them.
    fn recent_from(&self, from: Position) -> Option<Batch> {
        let newer = self
            .recent
            .partition_point(|(at, _)| at.record <= from.record);
        let first = newer.checked_sub(1)?;
        let mut parts = self.recent.range(first..).map(|(_, batch)| batch);
        let head = parts.next()?.from_record(from.record).ok()?;
        let head = head.within(self.limits.batch_bytes).ok()?;
        let mut run = vec![head.frames.clone()];
        let (mut count, mut len) = (head.count, head.frames.len());
        let mut end = head.end_record();
        for next in parts {
            // Joined only where nothing has to be cut.
            if next.first_record != end || len + next.frames.len() > self.limits.batch_bytes {
                break;
            }
            run.push(next.frames.clone());
            (count, len, end) = (
                count + next.count,
                len + next.frames.len(),
                next.end_record(),
            );
        }
        Some(Batch {
            first_record: from.record,
            count,
            frames: join(run, len),
        })
    }

    fn thin_marks(&mut self) {
        if self.marks.len() > MAX_MARKS {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
            self.mark_spacing *= 2;
        }
    }
}

impl Progress {
    fn mark_sent(&mut self, from: Position, batch: &Batch) {
        self.sent = from.after(batch);
        self.in_flight
            .push_back((batch.end_record(), batch.frames.len()));
        self.in_flight_bytes += batch.frames.len();
    }
}

fn join(mut parts: Vec<Bytes>, len: usize) -> Bytes {
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let mut all = BytesMut::with_capacity(len);
    parts.iter().for_each(|part| all.extend_from_slice(part));
    all.freeze()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[path = "writer_tests.rs"]
mod tests;
