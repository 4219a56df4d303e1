//! A run of whole frames with the number of the first: the unit that travels and is stored.

use crate::frame::{Frame, FrameError, Frames, frames};
use crate::record::Record;
use bytes::Bytes;
use thiserror::Error;

/// Consecutive frames of one feed, unchanged since the shim wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Number of the first record.
    pub first_record: u64,
    /// Records in it.
    pub count: u32,
    /// Their frames, one after the other, nothing else.
    pub frames: Bytes,
}

/// A batch that is not what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// A frame in it is corrupt.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The bytes end in the middle of a frame.
    #[error("batch ends in the middle of a frame: {whole_bytes} of {len} bytes are whole frames")]
    Torn {
        /// Bytes up to the end of the last whole frame.
        whole_bytes: usize,
        /// Bytes in all.
        len: usize,
    },
    /// The count and the frames disagree.
    #[error("batch says {stated} records but holds {found}")]
    Count {
        /// What the batch says.
        stated: u32,
        /// What it holds.
        found: u64,
    },
    /// The numbers would pass 2^64.
    #[error("record numbers overflow")]
    Overflow,
}

impl Batch {
    /// The batch of all of `bytes`, which must be whole frames. Walks and checks every one.
    pub fn of_frames(first_record: u64, bytes: Bytes) -> Result<Batch, BatchError> {
        let (batch, whole) = Batch::of_whole_prefix(first_record, bytes.clone())?;
        if whole != bytes.len() {
            return Err(BatchError::Torn {
                whole_bytes: whole,
                len: bytes.len(),
            });
        }
        Ok(batch)
    }

    /// The batch of the whole frames that `bytes` begins with, and how many bytes they are. An incomplete tail is left out.
    pub fn of_whole_prefix(first_record: u64, bytes: Bytes) -> Result<(Batch, usize), BatchError> {
        let mut walk = frames(&bytes);
        for frame in walk.by_ref() {
            frame?;
        }
        let (whole, found) = (walk.whole_bytes(), walk.count_so_far());
        let count = u32::try_from(found).map_err(|_| BatchError::Overflow)?;
        first_record
            .checked_add(found)
            .ok_or(BatchError::Overflow)?;
        Ok((
            Batch {
                first_record,
                count,
                frames: bytes.slice(..whole),
            },
            whole,
        ))
    }

    /// Checks a batch that came from elsewhere: every frame whole and sound, and as many as it says.
    pub fn check(&self) -> Result<(), BatchError> {
        let found = Batch::of_frames(self.first_record, self.frames.clone())?.count;
        if found != self.count {
            return Err(BatchError::Count {
                stated: self.count,
                found: found.into(),
            });
        }
        Ok(())
    }

    /// The number after the last record. Half-open: the batch is `first_record..end_record`.
    pub fn end_record(&self) -> u64 {
        self.first_record.saturating_add(self.count.into())
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The part from record `number` on; the whole batch if it begins there or later, an empty one past its end.
    pub fn from_record(&self, number: u64) -> Result<Batch, FrameError> {
        let skip = number
            .saturating_sub(self.first_record)
            .min(self.count.into());
        let offset = self.offset_of(skip)?;
        Ok(Batch {
            first_record: self.first_record + skip,
            count: self.count - skip as u32,
            frames: self.frames.slice(offset..),
        })
    }

    /// The part before record `number`; empty if the batch begins there or later.
    pub fn before_record(&self, number: u64) -> Result<Batch, FrameError> {
        let keep = number
            .saturating_sub(self.first_record)
            .min(self.count.into());
        let offset = self.offset_of(keep)?;
        Ok(Batch {
            first_record: self.first_record,
            count: keep as u32,
            frames: self.frames.slice(..offset),
        })
    }

    /// The longest beginning of at most `max_bytes`, but never less than one record.
    pub fn within(&self, max_bytes: usize) -> Result<Batch, FrameError> {
        if self.frames.len() <= max_bytes {
            return Ok(self.clone());
        }
        let mut count = 0;
        let mut len = 0;
        for frame in frames(&self.frames) {
            let end = len + frame?.frame_len();
            if end > max_bytes && count > 0 {
                break;
            }
            (count, len) = (count + 1, end);
        }
        Ok(Batch {
            first_record: self.first_record,
            count,
            frames: self.frames.slice(..len),
        })
    }

    /// The records with their numbers, each sharing the batch's bytes.
    pub fn records(&self) -> BatchRecords<'_> {
        BatchRecords {
            batch: self,
            walk: frames(&self.frames),
            number: self.first_record,
        }
    }

    fn offset_of(&self, skip: u64) -> Result<usize, FrameError> {
        if skip >= self.count.into() {
            return Ok(self.frames.len());
        }
        let mut walk = frames(&self.frames);
        for _ in 0..skip {
            walk.next().transpose()?;
        }
        Ok(walk.whole_bytes())
    }
}

/// The records of a batch: see [`Batch::records`].
#[derive(Clone, Debug)]
pub struct BatchRecords<'a> {
    batch: &'a Batch,
    walk: Frames<'a>,
    number: u64,
}

impl Iterator for BatchRecords<'_> {
    type Item = Result<(u64, Record), FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame: Frame<'_> = match self.walk.next()? {
            Ok(frame) => frame,
            Err(e) => return Some(Err(e)),
        };
        let number = self.number;
        self.number = self.number.saturating_add(1);
        let data = self.batch.frames.slice_ref(frame.data);
        let Frame {
            time_us,
            stream,
            partial,
            ..
        } = frame;
        Some(Ok((
            number,
            Record {
                time_us,
                stream,
                partial,
                data,
            },
        )))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
pub(crate) mod tests {
    use super::*;
    use crate::frame::encode;
    use crate::frame::tests::any_record;
    use crate::record::Stream;
    use proptest::prelude::*;

    pub(crate) fn batch_of(first_record: u64, lines: &[&str]) -> Batch {
        let mut out = Vec::new();
        for line in lines {
            let data = Bytes::copy_from_slice(line.as_bytes());
            encode(
                &Record {
                    time_us: 5,
                    stream: Stream::Stdout,
                    partial: false,
                    data,
                },
                &mut out,
            );
        }
        Batch::of_frames(first_record, out.into()).unwrap()
    }

    #[test]
    fn a_lying_count_or_a_torn_batch_is_refused() {
        let good = batch_of(3, &["a\n", "b\n"]);
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.end_record(), 5);
        let lying = Batch {
            count: 3,
            ..good.clone()
        };
        assert_eq!(
            lying.check(),
            Err(BatchError::Count {
                stated: 3,
                found: 2
            })
        );
        let torn = Batch {
            frames: good.frames.slice(..good.frames.len() - 1),
            ..good.clone()
        };
        assert_eq!(
            torn.check(),
            Err(BatchError::Torn {
                whole_bytes: 20,
                len: 39
            })
        );
        let high = Batch {
            first_record: u64::MAX,
            ..good
        };
        assert_eq!(high.check(), Err(BatchError::Overflow));
    }

    #[test]
    fn within_keeps_at_least_one_record() {
        let batch = batch_of(0, &["aaaa\n", "bb\n", "c\n"]);
        assert_eq!(batch.within(1).unwrap().count, 1);
        assert_eq!(batch.within(44).unwrap().count, 2);
        assert_eq!(batch.within(1000).unwrap(), batch);
    }

    proptest! {
        #[test]
        fn cutting_anywhere_and_joining_gives_the_batch(records in proptest::collection::vec(any_record(), 0..6), first in 0..1000u64, at in 0..1010u64) {
            let mut out = Vec::new();
            records.iter().for_each(|r| encode(r, &mut out));
            let batch = Batch::of_frames(first, out.into()).unwrap();
            let (head, tail) = (batch.before_record(at).unwrap(), batch.from_record(at).unwrap());
            prop_assert_eq!(head.check(), Ok(()));
            prop_assert_eq!(tail.check(), Ok(()));
            prop_assert_eq!(head.end_record(), tail.first_record);
            prop_assert_eq!([&head.frames[..], &tail.frames[..]].concat(), batch.frames.to_vec());
            let numbered: Vec<(u64, Record)> = batch.records().map(Result::unwrap).collect();
            prop_assert_eq!(numbered, (first..).zip(records).collect::<Vec<_>>());
        }
    }
}
