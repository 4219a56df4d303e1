//! A blob's chunks: their subtree values, which merge to the digest.

use crate::digest::Digest;
use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use thiserror::Error;

/// Bytes of a chunk; only the last one of a blob may be shorter.
pub const CHUNK: usize = 1 << 20;

// A chunk is a whole subtree of BLAKE3's binary tree, so that its value appears in the tree.
const _: () = assert!(CHUNK.is_power_of_two() && CHUNK >= blake3::CHUNK_LEN);

/// Chunks of a blob of `size` bytes. An empty blob has one empty chunk.
pub fn chunk_count(size: u64) -> u64 {
    size.div_ceil(CHUNK as u64).max(1)
}

/// Bytes of chunk `index` of a blob of `size` bytes; 0 past its end.
pub fn chunk_len(size: u64, index: u64) -> usize {
    let start = index.saturating_mul(CHUNK as u64);
    size.saturating_sub(start).min(CHUNK as u64) as usize
}

/// The chunks of one blob. Of a blob of one chunk, the chunk's value is the digest itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What the chunks merge to; worked out once.
    digest: Digest,
    size: u64,
    chunks: Vec<[u8; 32]>,
}

/// Bytes or values that are not the manifest they are said to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The number of chunks does not fit the size.
    #[error("a blob of {size} bytes has {} chunks, not {got}", chunk_count(*size))]
    ChunkCount {
        /// Bytes of the blob.
        size: u64,
        /// Chunks given.
        got: u64,
    },
    /// The chunks do not merge to the digest asked for.
    #[error("manifest is of blob {got}, not of {expected}")]
    Digest {
        /// The digest asked for.
        expected: Digest,
        /// What the chunks merge to.
        got: Digest,
    },
    /// The size is not the one the blob is known to have.
    #[error("manifest says {got} bytes, the blob has {expected}")]
    Size {
        /// The size known.
        expected: u64,
        /// What the manifest says.
        got: u64,
    },
    /// Bytes that no manifest is encoded as.
    #[error("{0} bytes are no encoded manifest")]
    Encoding(usize),
}

/// Bytes that are not the chunk they are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// The blob has fewer chunks.
    #[error("the blob has {count} chunks, there is no chunk {index}")]
    Index {
        /// The chunk asked about.
        index: u64,
        /// Chunks of the blob.
        count: u64,
    },
    /// Too few or too many bytes.
    #[error("chunk {index} has {expected} bytes, not {got}")]
    Length {
        /// The chunk.
        index: u64,
        /// Its length.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// The right number of wrong bytes.
    #[error("chunk {index} does not match the blob's digest")]
    Mismatch {
        /// The chunk.
        index: u64,
    },
}

/// Bytes that were checked against the digest. There is no other way to make one than [`Manifest::verify_chunk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedChunk<'a> {
    blob: Digest,
    index: u64,
    data: &'a [u8],
}

impl<'a> VerifiedChunk<'a> {
    /// The blob that it is a part of.
    pub fn blob(&self) -> Digest {
        self.blob
    }

    /// Which chunk it is.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Where it begins in the blob, in bytes.
    pub fn offset(&self) -> u64 {
        self.index * CHUNK as u64
    }

    /// The bytes.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

impl Manifest {
    /// A manifest of these values; whose it is, [`digest`](Manifest::digest) tells.
    pub fn new(size: u64, chunks: Vec<[u8; 32]>) -> Result<Manifest, ManifestError> {
        let got = chunks.len() as u64;
        if got != chunk_count(size) {
            return Err(ManifestError::ChunkCount { size, got });
        }
        Ok(Manifest {
            digest: root(&chunks),
            size,
            chunks,
        })
    }

    /// The manifest of a blob that is a single chunk, which needs no asking; nothing if it is larger.
    pub fn of_single_chunk(digest: Digest, size: u64) -> Option<Manifest> {
        (chunk_count(size) == 1).then(|| Manifest {
            digest,
            size,
            chunks: vec![digest.0],
        })
    }

    /// Bytes of the blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The chunks' values in order.
    pub fn chunks(&self) -> &[[u8; 32]] {
        &self.chunks
    }

    /// Chunks of the blob; at least one.
    pub fn chunk_count(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// Bytes of chunk `index`; 0 past the end.
    pub fn chunk_len(&self, index: u64) -> usize {
        chunk_len(self.size, index)
    }

    /// The digest of the blob that these chunks make.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Checks that this is the manifest of `digest`. (The size is bound by the last chunk's value; see
    /// [`verify_size`](Manifest::verify_size) for finding a lie about it before that chunk comes.)
    pub fn verify(&self, digest: &Digest) -> Result<(), ManifestError> {
        let got = self.digest;
        if got != *digest {
            return Err(ManifestError::Digest {
                expected: *digest,
                got,
            });
        }
        Ok(())
    }

    /// Checks the size against one that is known.
    pub fn verify_size(&self, expected: u64) -> Result<(), ManifestError> {
        if self.size != expected {
            return Err(ManifestError::Size {
                expected,
                got: self.size,
            });
        }
        Ok(())
    }

    /// Checks that `data` is chunk `index`.
    pub fn verify_chunk<'a>(
        &self,
        index: u64,
        data: &'a [u8],
    ) -> Result<VerifiedChunk<'a>, ChunkError> {
        let Some(value) = usize::try_from(index).ok().and_then(|i| self.chunks.get(i)) else {
            return Err(ChunkError::Index {
                index,
                count: self.chunk_count(),
            });
        };
        let expected = self.chunk_len(index);
        if data.len() != expected {
            return Err(ChunkError::Length {
                index,
                expected,
                got: data.len(),
            });
        }
        let got = if self.chunks.len() == 1 {
            *blake3::hash(data).as_bytes()
        } else {
            chunk_hasher(index).update(data).finalize_non_root()
        };
        if got != *value {
            return Err(ChunkError::Mismatch { index });
        }
        Ok(VerifiedChunk {
            blob: self.digest,
            index,
            data,
        })
    }

    /// The bytes to store or send: size as u64le, then the values.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 32 * self.chunks.len());
        out.extend_from_slice(&self.size.to_le_bytes());
        self.chunks
            .iter()
            .for_each(|value| out.extend_from_slice(value));
        out
    }

    /// Reads what [`encode`](Manifest::encode) wrote. The result is still to be [`verify`](Manifest::verify)'d.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let error = ManifestError::Encoding(bytes.len());
        let Some((size, values)) = bytes.split_first_chunk::<8>() else {
            return Err(error);
        };
        let (values, []) = values.as_chunks::<32>() else {
            return Err(error);
        };
        Manifest::new(u64::from_le_bytes(*size), values.to_vec())
    }
}

/// Computes digest and manifest of bytes that come in pieces.
#[derive(Clone, Debug)]
pub struct ManifestBuilder {
    /// Of the chunk that is being filled. It is finished when more comes, because a blob's only chunk is finished in
    /// another way than the first of several.
    current: Hasher,
    filled: usize,
    chunks: Vec<[u8; 32]>,
}

impl Default for ManifestBuilder {
    fn default() -> ManifestBuilder {
        ManifestBuilder::new()
    }
}

impl ManifestBuilder {
    /// Of no bytes yet.
    pub fn new() -> ManifestBuilder {
        ManifestBuilder {
            current: Hasher::new(),
            filled: 0,
            chunks: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == CHUNK {
                self.chunks.push(self.current.finalize_non_root());
                self.current = chunk_hasher(self.chunks.len() as u64);
                self.filled = 0;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(CHUNK - self.filled));
            self.current.update(piece);
            self.filled += piece.len();
            bytes = rest;
        }
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        (self.chunks.len() * CHUNK + self.filled) as u64
    }

    /// Digest and manifest of all that was taken.
    pub fn finish(mut self) -> (Digest, Manifest) {
        let size = self.size();
        let last = if self.chunks.is_empty() {
            *self.current.finalize().as_bytes()
        } else {
            self.current.finalize_non_root()
        };
        self.chunks.push(last);
        let digest = root(&self.chunks);
        (
            digest,
            Manifest {
                digest,
                size,
                chunks: self.chunks,
            },
        )
    }
}

fn chunk_hasher(index: u64) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(index * CHUNK as u64);
    hasher
}

/// Chunks in the left subtree of `count` ≥ 2: the largest power of two below it.
fn left_count(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// The digest of a blob with these chunks.
fn root(chunks: &[[u8; 32]]) -> Digest {
    if let [only] = chunks {
        return Digest(*only);
    }
    let (left, right) = chunks.split_at(left_count(chunks.len()));
    Digest(*merge_subtrees_root(&merge(left), &merge(right), Mode::Hash).as_bytes())
}

/// The value of a subtree below the root.
fn merge(chunks: &[[u8; 32]]) -> [u8; 32] {
    match chunks {
        [only] => *only,
        chunks => {
            let (left, right) = chunks.split_at(left_count(chunks.len()));
            merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(size: usize) -> Vec<u8> {
        (0..size)
            .map(|i| (i * 31 + i / 251 + i / 65_537) as u8)
            .collect()
    }

    fn build(data: &[u8], pieces: usize) -> (Digest, Manifest) {
        let mut builder = ManifestBuilder::new();
        data.chunks(pieces.max(1))
            .for_each(|piece| builder.update(piece));
        assert_eq!(builder.size(), data.len() as u64);
        builder.finish()
    }

    /// Digest, manifest and every chunk of a blob of this size agree with plain BLAKE3.
    fn check(size: usize) {
        let data = bytes(size);
        let (digest, manifest) = build(&data, 70_001);
        assert_eq!(digest, Digest::of(&data), "size {size}");
        assert_eq!(manifest.verify(&digest), Ok(()));
        assert_eq!(manifest.verify_size(size as u64), Ok(()));
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        for index in 0..manifest.chunk_count() {
            let start = index as usize * CHUNK;
            let chunk = &data[start..start + manifest.chunk_len(index)];
            let verified = manifest.verify_chunk(index, chunk).unwrap();
            assert_eq!((verified.offset(), verified.blob()), (start as u64, digest));
        }
    }

    #[test]
    fn the_digest_is_plain_blake3_around_every_boundary() {
        for size in [
            0,
            1,
            1023,
            1024,
            1025,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            CHUNK + 1024,
        ] {
            check(size);
        }
        for chunks in 2..=9 {
            check(chunks * CHUNK);
            check(chunks * CHUNK + 1);
        }
    }

    #[test]
    fn how_bytes_come_in_does_not_matter() {
        let data = bytes(2 * CHUNK + 5);
        let whole = build(&data, data.len());
        for pieces in [1023, CHUNK, CHUNK + 1] {
            assert_eq!(build(&data, pieces), whole);
        }
    }

    #[test]
    fn shapes_that_cannot_be() {
        let counts = |size| Manifest::new(size, vec![[0; 32]; 2]).map(|m| m.chunk_count());
        assert_eq!(
            counts(CHUNK as u64),
            Err(ManifestError::ChunkCount {
                size: CHUNK as u64,
                got: 2
            })
        );
        assert_eq!(counts(CHUNK as u64 + 1), Ok(2));
        assert_eq!(
            Manifest::new(0, vec![]),
            Err(ManifestError::ChunkCount { size: 0, got: 0 })
        );
        assert_eq!(Manifest::decode(&[0; 7]), Err(ManifestError::Encoding(7)));
        assert_eq!(Manifest::decode(&[0; 41]), Err(ManifestError::Encoding(41)));
        assert!(
            Manifest::decode(&[0xff; 40]).is_err(),
            "an absurd size is no allocation"
        );
        assert_eq!(
            Manifest::of_single_chunk(Digest([1; 32]), CHUNK as u64 + 1),
            None
        );
    }

    #[test]
    fn wrong_index_and_length_are_told_apart() {
        let data = bytes(CHUNK + 7);
        let (_, manifest) = build(&data, 1 << 16);
        let check = |index, len| manifest.verify_chunk(index, &data[..len]).unwrap_err();
        assert_eq!(check(2, 7), ChunkError::Index { index: 2, count: 2 });
        assert_eq!(
            check(1, 8),
            ChunkError::Length {
                index: 1,
                expected: 7,
                got: 8
            }
        );
        assert_eq!(check(1, 7), ChunkError::Mismatch { index: 1 });
    }

    /// The size is not part of the tree above the chunks, but no chunk of another length passes.
    #[test]
    fn a_lie_about_the_size_is_caught_by_the_last_chunk() {
        let data = bytes(CHUNK + 7);
        let (digest, manifest) = build(&data, 1 << 16);
        let lie = Manifest::new(CHUNK as u64 + 8, manifest.chunks().to_vec()).unwrap();
        assert_eq!(lie.verify(&digest), Ok(()));
        assert!(lie.verify_size(data.len() as u64).is_err());
        assert!(lie.verify_chunk(1, &data[CHUNK..]).is_err());
        let longer = [&data[CHUNK..], &[0]].concat();
        assert_eq!(
            lie.verify_chunk(1, &longer),
            Err(ChunkError::Mismatch { index: 1 })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_flipped_bit_anywhere_is_caught(chunks in 0..4usize, extra in 1..3000usize, at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut data = bytes(chunks * CHUNK + extra);
            let (digest, manifest) = build(&data, CHUNK);
            let at = at.index(data.len());
            data[at] ^= 1 << bit;
            let index = (at / CHUNK) as u64;
            let start = index as usize * CHUNK;
            let chunk = &data[start..start + manifest.chunk_len(index)];
            prop_assert_eq!(manifest.verify_chunk(index, chunk), Err(ChunkError::Mismatch { index }));
            prop_assert_ne!(build(&data, CHUNK).0, digest);
        }

        #[test]
        fn a_flipped_bit_in_a_manifest_is_caught(chunks in 0..6usize, at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let (digest, manifest) = build(&bytes(chunks * CHUNK + 9), CHUNK);
            let mut encoded = manifest.encode();
            let at = at.index(encoded.len());
            encoded[at] ^= 1 << bit;
            let caught = Manifest::decode(&encoded).and_then(|m| {
                m.verify(&digest)?;
                m.verify_size(manifest.size())
            });
            prop_assert!(caught.is_err());
        }
    }
}
