//! The end of a feed: how many records it has and the digest of all of them.

use crate::batch::Batch;
use std::fmt;

/// What closes a feed. Recorded in the ledger; whoever has the frames can check it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seal {
    /// Records in the feed.
    pub record_count: u64,
    /// BLAKE3 over the bytes of all frames in order.
    pub digest: [u8; 32],
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records, {}",
            self.record_count,
            blake3::Hash::from_bytes(self.digest)
        )
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({self})")
    }
}

/// Computes a seal as frames come, in order, each once.
#[derive(Clone, Debug, Default)]
pub struct SealHasher {
    hasher: blake3::Hasher,
    record_count: u64,
}

impl SealHasher {
    /// Nothing taken yet.
    pub fn new() -> SealHasher {
        SealHasher::default()
    }

    /// Takes `count` records whose frames are `frames`.
    pub fn update(&mut self, frames: &[u8], count: u64) {
        self.hasher.update(frames);
        self.record_count += count;
    }

    /// Takes a batch. The caller sees to it that it is the next one.
    pub fn update_batch(&mut self, batch: &Batch) {
        self.update(&batch.frames, batch.count.into());
    }

    /// Records taken so far.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// The seal of what was taken so far.
    pub fn seal(&self) -> Seal {
        Seal {
            record_count: self.record_count,
            digest: *self.hasher.finalize().as_bytes(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::batch::tests::batch_of;

    #[test]
    fn how_the_frames_are_cut_into_batches_does_not_matter() {
        let whole = batch_of(0, &["a\n", "bb\n", "ccc\n"]);
        let mut at_once = SealHasher::new();
        at_once.update_batch(&whole);
        let mut in_parts = SealHasher::new();
        for n in 0..3 {
            in_parts.update_batch(&whole.from_record(n).unwrap().before_record(n + 1).unwrap());
        }
        assert_eq!(at_once.seal(), in_parts.seal());
        assert_eq!(in_parts.seal().record_count, 3);
        assert_eq!(
            &in_parts.seal().digest,
            blake3::hash(&whole.frames).as_bytes()
        );
        let mut other = SealHasher::new();
        other.update_batch(&batch_of(0, &["a\n", "bb\n", "ccd\n"]));
        assert_ne!(at_once.seal(), other.seal());
    }

    #[test]
    fn an_empty_feed_has_a_seal() {
        assert_eq!(
            SealHasher::new().seal().to_string(),
            "0 records, af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
    }
}
