//! A subscriber's place in a feed: every record from the start asked for, once, in order.

use crate::batch::Batch;
use crate::frame::{FrameError, frames};
use crate::seal::Seal;
use std::ops::Range;
use thiserror::Error;

/// Where a subscriber wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this record; it may not have been written yet.
    Record(u64),
    /// With the last this many records that are there now.
    Tail(u64),
    /// With the first record of this time or later, in microseconds since the Unix epoch, and all that follow it.
    Time(u64),
}

/// A subscriber's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    next: u64,
    /// Records before the first of this time are passed over.
    not_before_us: Option<u64>,
}

/// Records that are not the next ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CursorError {
    /// The batch begins after the next record: what lies between was lost.
    #[error("record {expected} comes next, but the batch begins at {got}")]
    Gap {
        /// The record that comes next.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// A frame in it is corrupt.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Cursor {
    /// A cursor at `start` in a feed of `length` records.
    pub fn new(start: Start, length: u64) -> Cursor {
        let (next, not_before_us) = match start {
            Start::Record(number) => (number, None),
            Start::Tail(count) => (length.saturating_sub(count), None),
            Start::Time(time_us) => (0, Some(time_us)),
        };
        Cursor {
            next,
            not_before_us,
        }
    }

    /// The record that comes next; what to resume from.
    pub fn next_record(&self) -> u64 {
        self.next
    }

    /// What there is for this subscriber in a feed of `length` records.
    pub fn wants(&self, length: u64) -> Option<Range<u64>> {
        (self.next < length).then_some(self.next..length)
    }

    /// Moves past `batch`; gives the part of it that the subscriber has not had and asked for, if any.
    pub fn deliver(&mut self, batch: &Batch) -> Result<Option<Batch>, CursorError> {
        if batch.first_record > self.next {
            return Err(CursorError::Gap {
                expected: self.next,
                got: batch.first_record,
            });
        }
        let mut fresh = batch.from_record(self.next)?;
        if let Some(time_us) = self.not_before_us {
            let early = count_before(&fresh, time_us)?;
            fresh = fresh.from_record(fresh.first_record + early)?;
        }
        self.next = self.next.max(batch.end_record());
        if fresh.is_empty() {
            return Ok(None);
        }
        self.not_before_us = None;
        Ok(Some(fresh))
    }

    /// The subscriber has had all there will ever be.
    pub fn is_done(&self, seal: Option<Seal>) -> bool {
        seal.is_some_and(|seal| self.next >= seal.record_count)
    }
}

/// Records at the beginning of `batch` that are earlier than `time_us`.
fn count_before(batch: &Batch, time_us: u64) -> Result<u64, FrameError> {
    let mut early = 0;
    for frame in frames(&batch.frames) {
        if frame?.time_us >= time_us {
            break;
        }
        early += 1;
    }
    Ok(early)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::frame::encode_parts;
    use crate::record::Stream;
    use proptest::prelude::*;

    /// Records whose time is ten times their number.
    fn timed(range: Range<u64>) -> Batch {
        let mut out = Vec::new();
        for n in range.clone() {
            encode_parts(
                Stream::Stdout,
                false,
                n * 10,
                n.to_string().as_bytes(),
                &mut out,
            );
        }
        Batch::of_frames(range.start, out.into()).unwrap()
    }

    #[test]
    fn where_a_subscriber_begins() {
        let begin = |start| Cursor::new(start, 10).next_record();
        assert_eq!(begin(Start::Record(3)), 3);
        assert_eq!(begin(Start::Record(30)), 30);
        assert_eq!(begin(Start::Tail(4)), 6);
        assert_eq!(begin(Start::Tail(40)), 0);
        assert_eq!(begin(Start::Time(40)), 0);
        assert_eq!(Cursor::new(Start::Record(3), 10).wants(10), Some(3..10));
        assert_eq!(Cursor::new(Start::Record(10), 10).wants(10), None);
    }

    #[test]
    fn from_a_time_on() {
        let mut cursor = Cursor::new(Start::Time(55), 8);
        assert_eq!(cursor.deliver(&timed(0..4)), Ok(None));
        assert_eq!(cursor.next_record(), 4);
        assert_eq!(cursor.deliver(&timed(4..8)), Ok(Some(timed(6..8))));
        // A clock that was set back hides nothing.
        let early = Batch {
            first_record: 8,
            ..timed(0..2)
        };
        assert_eq!(cursor.deliver(&early), Ok(Some(early)));
    }

    #[test]
    fn a_gap_is_told_and_a_seal_ends_it() {
        let mut cursor = Cursor::new(Start::Record(0), 0);
        assert_eq!(
            cursor.deliver(&timed(1..2)),
            Err(CursorError::Gap {
                expected: 0,
                got: 1
            })
        );
        assert_eq!(cursor.deliver(&timed(0..2)), Ok(Some(timed(0..2))));
        let seal = |record_count| {
            Some(Seal {
                record_count,
                digest: [0; 32],
            })
        };
        assert!(!cursor.is_done(None));
        assert!(!cursor.is_done(seal(3)));
        assert!(cursor.is_done(seal(2)));
    }

    proptest! {
        /// I-21, the last hop: batches that overlap and repeat give every record once.
        #[test]
        fn every_record_once_whatever_overlaps(start in 0..30u64, reads in proptest::collection::vec((0..10u64, 1..12u64), 1..40)) {
            let mut cursor = Cursor::new(Start::Record(start), 0);
            let mut got = Vec::new();
            for (back, len) in reads {
                let first = cursor.next_record().saturating_sub(back);
                if let Some(batch) = cursor.deliver(&timed(first..first + len)).unwrap() {
                    prop_assert_eq!(batch.check(), Ok(()));
                    got.extend(batch.first_record..batch.end_record());
                }
            }
            prop_assert!(got.iter().copied().eq(start..cursor.next_record()));
        }
    }
}
