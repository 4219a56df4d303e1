//! The words of a fetch: what it asks, what it answers, where it stands.

use crate::chunk_set::ChunkSet;
use crate::digest::Digest;
use crate::manifest::{ChunkError, VerifiedChunk};
use thiserror::Error;

/// How much is asked at once, and how long one waits. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Chunks asked of one source and not answered.
    pub chunks_per_source: u32,
    /// Chunks asked of all sources and not answered, or not yet written.
    pub chunks_in_all: u32,
    /// After this long without an answer, another source is asked.
    pub answer_timeout_ms: u64,
    /// A source that let an answer time out is not asked for this long.
    pub slow_backoff_ms: u64,
    /// A source that gave wrong bytes is not asked for this long.
    pub offender_backoff_ms: u64,
    /// A source that let this many answers time out in a row is given up.
    pub timeouts_in_a_row: u32,
}

impl Default for FetchLimits {
    fn default() -> FetchLimits {
        FetchLimits {
            chunks_per_source: 8,
            chunks_in_all: 32,
            answer_timeout_ms: 10_000,
            slow_backoff_ms: 2_000,
            offender_backoff_ms: 300_000,
            timeouts_in_a_row: 16,
        }
    }
}

/// What a source has of the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Everything.
    All,
    /// These chunks: it is receiving the blob itself.
    Some(ChunkSet),
}

/// What to ask next, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<S> {
    /// The blob's manifest.
    Manifest {
        /// Whom to ask.
        source: S,
    },
    /// One chunk.
    Chunk {
        /// Whom to ask.
        source: S,
        /// Which chunk.
        index: u64,
    },
}

/// What to do with a chunk that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Write it at its offset, then call [`super::Fetch::on_written`].
    Write(VerifiedChunk<'a>),
    /// It is here already.
    Repeat,
    /// It is not what the digest says; its source is not asked again for a while.
    Refused(ChunkError),
    /// Nothing is known of the blob yet, so nothing can be checked: dropped.
    TooEarly,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchState {
    /// The manifest is to come.
    Planned,
    /// Chunks are coming.
    Receiving {
        /// Chunks verified and written.
        written: u64,
        /// Chunks of the blob.
        total: u64,
    },
    /// All chunks are verified and written: the blob may get its name.
    Verified,
    /// The blob has its name.
    Sealed,
}

/// Why it cannot go on with the sources there are. More sources may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Stuck {
    /// Every source that is left gave wrong bytes.
    #[error("DATA_LOSS: no source has good bytes of blob {digest}")]
    DataLoss {
        /// The blob.
        digest: Digest,
    },
    /// No source can be reached.
    #[error("no source of blob {digest} can be reached")]
    Unavailable {
        /// The blob.
        digest: Digest,
    },
}
