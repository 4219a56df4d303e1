//! How bytes are named and planned: digests, manifests, fetch plans.
//!
//! A *blob* is bytes named by their BLAKE3 digest. BLAKE3 is a tree, so a blob is also the list of its one-mebibyte
//! chunks' subtree values, its [`Manifest`], which merges to the digest: whoever trusts the digest can check the
//! manifest, and whoever has the manifest can check every chunk alone, in any order, from anybody.
//!
//! ```text
//! digest  --checks-->  manifest  --checks-->  chunk  --written, all of them-->  blob
//!          Planned                Receiving            Verified                 Sealed
//! ```
//!
//! Everything here is a pure value: no clock, no files, no sockets. Times are milliseconds, given by the caller.

mod digest;

mod manifest;

mod chunk_set;

mod fetch;

mod name;

pub use chunk_set::{ChunkSet, ChunkSetError};
pub use digest::{Digest, DigestError};
pub use fetch::{Ask, Fetch, FetchLimits, FetchState, Holds, Stuck, Verdict};
pub use manifest::{
    CHUNK, ChunkError, Manifest, ManifestBuilder, ManifestError, VerifiedChunk, chunk_count,
    chunk_len,
};
pub use name::{MAX_COMPONENT_LEN, MAX_NAME_LEN, OutputName, OutputNameError};
