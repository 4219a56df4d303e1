//! Which chunks of a blob somebody has.

use thiserror::Error;

/// A set of chunk numbers below a fixed count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkSet {
    words: Vec<u64>,
    count: u64,
    len: u64,
}

/// Bytes that are no such set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{bytes} bytes are no set of {count} chunks")]
pub struct ChunkSetError {
    /// Bytes given.
    pub bytes: usize,
    /// Chunks of the blob.
    pub count: u64,
}

impl ChunkSet {
    /// None of `count` chunks.
    pub fn empty(count: u64) -> ChunkSet {
        ChunkSet {
            words: vec![0; count.div_ceil(64) as usize],
            count,
            len: 0,
        }
    }

    /// Chunks that could be in it.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Chunks that are in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// None is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All are in it.
    pub fn is_full(&self) -> bool {
        self.len == self.count
    }

    /// Is chunk `index` in it?
    pub fn contains(&self, index: u64) -> bool {
        self.words
            .get((index / 64) as usize)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Puts chunk `index` in; tells whether it is new. A number past the count is never in the set.
    pub fn insert(&mut self, index: u64) -> bool {
        if index >= self.count || self.contains(index) {
            return false;
        }
        if let Some(word) = self.words.get_mut((index / 64) as usize) {
            *word |= 1 << (index % 64);
            self.len += 1;
        }
        true
    }

    /// Takes chunk `index` out; tells whether it was in.
    pub fn remove(&mut self, index: u64) -> bool {
        let was_in = self.contains(index);
        if was_in && let Some(word) = self.words.get_mut((index / 64) as usize) {
            *word &= !(1 << (index % 64));
            self.len -= 1;
        }
        was_in
    }

    /// The chunks in it, rising.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.count).filter(|index| self.contains(*index))
    }

    /// One bit a chunk, the lowest bit of the first byte being chunk 0; unused bits are zero.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self
            .words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        bytes.truncate(self.count.div_ceil(8) as usize);
        bytes
    }

    /// Reads what [`encode`](ChunkSet::encode) wrote of a set of `count` chunks.
    pub fn decode(count: u64, bytes: &[u8]) -> Result<ChunkSet, ChunkSetError> {
        let error = ChunkSetError {
            bytes: bytes.len(),
            count,
        };
        if bytes.len() as u64 != count.div_ceil(8) {
            return Err(error);
        }
        let mut set = ChunkSet::empty(count);
        for index in 0..bytes.len() as u64 * 8 {
            let is_in = bytes[(index / 8) as usize] >> (index % 8) & 1 == 1;
            if is_in && !set.insert(index) {
                return Err(error);
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(count in 0..200u64, steps in proptest::collection::vec((0..220u64, any::<bool>()), 0..100)) {
            let (mut set, mut model) = (ChunkSet::empty(count), BTreeSet::new());
            for (index, insert) in steps {
                if insert {
                    prop_assert_eq!(set.insert(index), index < count && model.insert(index));
                } else {
                    prop_assert_eq!(set.remove(index), model.remove(&index));
                }
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.is_full(), model.len() as u64 == count);
            prop_assert_eq!(ChunkSet::decode(count, &set.encode()), Ok(set));
        }

        #[test]
        fn other_bytes_are_refused(count in 1..60u64, bytes in proptest::collection::vec(any::<u8>(), 0..9)) {
            if let Ok(set) = ChunkSet::decode(count, &bytes) {
                prop_assert_eq!(set.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_bit_past_the_count_is_refused() {
        assert!(ChunkSet::decode(3, &[0b111]).unwrap().is_full());
        assert_eq!(
            ChunkSet::decode(3, &[0b1000]),
            Err(ChunkSetError { bytes: 1, count: 3 })
        );
    }
}
