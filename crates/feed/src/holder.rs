//! The coordinator's side of a feed: which record comes next, and who may bring it.
//!
//! `stored ≤ accepted`, and `accepted ≤ seal.record_count` once there is a seal. Accepted means given out for storing;
//! stored means on the disk, and only that is acknowledged.

use crate::batch::{Batch, BatchError};
use crate::record::Fence;
use crate::seal::Seal;
use std::ops::Range;
use thiserror::Error;

/// One feed as one coordinator holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    fence: Fence,
    accepted: u64,
    stored: u64,
    seal: Option<Seal>,
}

/// What to do with a batch that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Append exactly this (what was there already is cut off), then call [`Holder::mark_stored`] and acknowledge.
    Store(Batch),
    /// All of it is here already, on the disk below `stored`: acknowledge that, but not before all of it is on the disk. A writer
    /// that is told less than it pushed waits for an answer that never comes.
    Duplicate {
        /// The next record that is not on the disk.
        stored: u64,
    },
    /// Records before it are missing: ask for `expected`.
    Gap {
        /// The next record wanted.
        expected: u64,
        /// The next record that is not on the disk: what lies between is not safe yet.
        stored: u64,
    },
    /// The feed ended before the end of this batch.
    Sealed {
        /// Records in the feed.
        record_count: u64,
    },
    /// The writer has been replaced: it must stop.
    StaleFence {
        /// Who may write now.
        current: Fence,
    },
}

/// A seal that cannot be true of what is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealConflict {
    /// More records are here than the seal counts.
    #[error("{accepted} records are here, but the seal counts {}", .seal.record_count)]
    Longer {
        /// Records here.
        accepted: u64,
        /// The seal that came.
        seal: Seal,
    },
    /// There is another seal already.
    #[error("sealed as {before}, not as {now}")]
    Other {
        /// The seal that stands.
        before: Seal,
        /// The seal that came.
        now: Seal,
    },
}

impl Holder {
    /// A feed of which `stored` records are on the disk, written by the holder of `fence`.
    pub fn new(fence: Fence, stored: u64, seal: Option<Seal>) -> Holder {
        Holder {
            fence,
            accepted: stored,
            stored,
            seal,
        }
    }

    /// Who may write.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Records on the disk: the number of the next one.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Records on the disk or on their way to it.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The seal, if the feed has ended.
    pub fn seal(&self) -> Option<Seal> {
        self.seal
    }

    /// All records are on the disk and no more will come.
    pub fn is_complete(&self) -> bool {
        self.seal
            .is_some_and(|seal| self.stored == seal.record_count)
    }

    /// The records that the seal counts and that are not here: to be fetched from other coordinators.
    pub fn missing(&self) -> Option<Range<u64>> {
        let end = self.seal?.record_count;
        (self.accepted < end).then_some(self.accepted..end)
    }

    /// Shuts out all writers below `fence`.
    pub fn raise_fence(&mut self, fence: Fence) {
        self.fence = self.fence.max(fence);
    }

    /// A push of the writer with `fence`. A corrupt batch is an error and changes nothing.
    pub fn accept(&mut self, fence: Fence, batch: &Batch) -> Result<Accept, BatchError> {
        if fence < self.fence {
            return Ok(Accept::StaleFence {
                current: self.fence,
            });
        }
        batch.check()?;
        self.fence = fence;
        self.take(batch)
    }

    /// Records fetched from another coordinator, which had them from the writer.
    pub fn accept_copy(&mut self, batch: &Batch) -> Result<Accept, BatchError> {
        batch.check()?;
        self.take(batch)
    }

    fn take(&mut self, batch: &Batch) -> Result<Accept, BatchError> {
        if let Some(Seal { record_count, .. }) = self.seal
            && batch.end_record() > record_count
        {
            return Ok(Accept::Sealed { record_count });
        }
        if batch.first_record > self.accepted {
            return Ok(Accept::Gap {
                expected: self.accepted,
                stored: self.stored,
            });
        }
        if batch.end_record() <= self.accepted {
            return Ok(Accept::Duplicate {
                stored: self.stored,
            });
        }
        let fresh = batch.from_record(self.accepted)?;
        self.accepted = fresh.end_record();
        Ok(Accept::Store(fresh))
    }

    /// Everything below `next_record` is on the disk.
    ///
    /// # Panics
    /// If more is said to be stored than was accepted.
    pub fn mark_stored(&mut self, next_record: u64) {
        assert!(next_record <= self.accepted, "I-21: stored ≤ accepted");
        self.stored = self.stored.max(next_record);
    }

    /// What was accepted and not stored could not be written (the disk was full): it has to come again.
    pub fn forget_unstored(&mut self) {
        self.accepted = self.stored;
    }

    /// The feed has ended: no more than the seal counts is taken from now on.
    pub fn close(&mut self, seal: Seal) -> Result<(), SealConflict> {
        match self.seal {
            Some(before) if before != seal => Err(SealConflict::Other { before, now: seal }),
            _ if self.accepted > seal.record_count => Err(SealConflict::Longer {
                accepted: self.accepted,
                seal,
            }),
            _ => {
                self.seal = Some(seal);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::batch::tests::batch_of;

    fn lines(first: u64, count: usize) -> Batch {
        let text: Vec<String> = (first..).take(count).map(|n| format!("{n}\n")).collect();
        batch_of(first, &text.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn seal(record_count: u64) -> Seal {
        Seal {
            record_count,
            digest: [7; 32],
        }
    }

    #[test]
    fn what_becomes_of_a_push() {
        let mut holder = Holder::new(Fence(5), 10, None);
        let mut push =
            |fence, first, count| holder.accept(Fence(fence), &lines(first, count)).unwrap();
        assert_eq!(push(4, 10, 1), Accept::StaleFence { current: Fence(5) });
        assert_eq!(
            push(5, 11, 1),
            Accept::Gap {
                expected: 10,
                stored: 10
            }
        );
        assert_eq!(push(5, 10, 2), Accept::Store(lines(10, 2)));
        assert_eq!(push(5, 10, 2), Accept::Duplicate { stored: 10 });
        assert_eq!(
            push(5, 14, 1),
            Accept::Gap {
                expected: 12,
                stored: 10
            }
        );
        assert_eq!(push(5, 8, 3), Accept::Duplicate { stored: 10 });
        assert_eq!(push(5, 11, 3), Accept::Store(lines(12, 2)));
        assert_eq!(push(9, 14, 1), Accept::Store(lines(14, 1)));
        assert_eq!(push(5, 15, 1), Accept::StaleFence { current: Fence(9) });
        assert_eq!((holder.accepted(), holder.stored()), (15, 10));
        holder.mark_stored(12);
        assert_eq!(
            holder.accept(Fence(9), &lines(0, 2)),
            Ok(Accept::Duplicate { stored: 12 })
        );
        holder.forget_unstored();
        assert_eq!(
            holder.accept(Fence(9), &lines(13, 2)),
            Ok(Accept::Gap {
                expected: 12,
                stored: 12
            })
        );
    }

    #[test]
    fn a_corrupt_push_changes_nothing() {
        let mut holder = Holder::new(Fence(1), 0, None);
        let mut batch = lines(0, 2);
        let mut bytes = batch.frames.to_vec();
        bytes[20] ^= 1;
        batch.frames = bytes.into();
        assert!(holder.accept(Fence(8), &batch).is_err());
        assert_eq!(holder, Holder::new(Fence(1), 0, None));
    }

    #[test]
    fn a_sealed_feed_takes_what_is_missing_and_no_more() {
        let mut holder = Holder::new(Fence(5), 10, None);
        assert_eq!(holder.missing(), None);
        holder.close(seal(12)).unwrap();
        assert_eq!(holder.missing(), Some(10..12));
        assert!(!holder.is_complete());
        assert_eq!(
            holder.accept(Fence(5), &lines(10, 3)),
            Ok(Accept::Sealed { record_count: 12 })
        );
        assert_eq!(
            holder.accept_copy(&lines(9, 3)),
            Ok(Accept::Store(lines(10, 2)))
        );
        holder.mark_stored(12);
        assert!(holder.is_complete());
        assert_eq!(holder.missing(), None);
        assert_eq!(
            holder.accept(Fence(5), &lines(12, 1)),
            Ok(Accept::Sealed { record_count: 12 })
        );
        assert_eq!(
            holder.accept(Fence(5), &lines(11, 1)),
            Ok(Accept::Duplicate { stored: 12 })
        );
    }

    #[test]
    fn seals_that_contradict_are_refused() {
        let mut holder = Holder::new(Fence(5), 10, None);
        assert_eq!(
            holder.close(seal(9)),
            Err(SealConflict::Longer {
                accepted: 10,
                seal: seal(9)
            })
        );
        assert_eq!(holder.close(seal(10)), Ok(()));
        assert_eq!(holder.close(seal(10)), Ok(()));
        assert_eq!(
            holder.close(seal(11)),
            Err(SealConflict::Other {
                before: seal(10),
                now: seal(11)
            })
        );
    }
}
