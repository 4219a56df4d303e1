//! Blobs from other nodes: chunk by chunk from several at once, each chunk verified before it is given out.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use blob::{
    Ask, ChunkSet, Digest, Fetch, FetchLimits, FetchState, Holds, Manifest, Stuck, Verdict,
    VerifiedChunk,
};
use bytes::{Bytes, BytesMut};
use contract::api::blob_service_client::BlobServiceClient;
use contract::api::{ErrorReason, GetBlobManifestRequest, ReadBlobRequest};
use coordinator::Refusal;
use futures::stream::{FuturesUnordered, StreamExt as _};
use pki::Dialer;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::transport::Channel;

use crate::convert::int64;
use crate::endpoint::{self, Use};
use crate::server::MAX_MESSAGE;
use crate::status::refusal;

/// How often sources that are all out of reach are tried again, and the wait before the first time; it doubles.
const REVIVALS: (u32, Duration) = (4, Duration::from_millis(100));

/// Takes the verified parts of a blob.
#[tonic::async_trait]
pub trait ChunkSink: Send {
    /// The manifest is known and good; called once, before any chunk.
    ///
    /// # Errors
    /// When the disk fails.
    async fn begin(&mut self, manifest: &Manifest) -> io::Result<()>;

    /// Writes a chunk at its offset. Chunks come in any order, each once.
    ///
    /// # Errors
    /// When the disk fails.
    async fn write(&mut self, chunk: VerifiedChunk<'_>) -> io::Result<()>;
}

/// Why a blob could not be fetched.
#[derive(Debug, Error)]
pub enum PeerError {
    /// `DATA_LOSS`: every source that could be reached gave wrong bytes.
    #[error("DATA_LOSS: no source has good bytes of blob {digest}: {why}")]
    DataLoss {
        /// The blob.
        digest: Digest,
        /// What the last source did.
        why: String,
    },
    /// No source can be reached, or none has it.
    #[error("no source of blob {digest} can be reached: {why}")]
    Unavailable {
        /// The blob.
        digest: Digest,
        /// What the last source did.
        why: String,
    },
    /// What was kept of the blob from before does not fit it.
    #[error("what is kept of blob {digest} does not fit it: {why}")]
    Resume {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
    /// The disk failed.
    #[error("cannot store blob {digest}: {source}")]
    Sink {
        /// The blob.
        digest: Digest,
        /// What the disk said.
        source: io::Error,
    },
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Nodes that have it, `host:port`.
    pub sources: Vec<String>,
    /// Decides with which chunk to begin; should differ between receivers.
    pub seed: u64,
    /// What was written before a restart, verified again by who read it.
    pub present: Option<(Manifest, ChunkSet)>,
}

/// Fetches blobs from other nodes. A clone shares its connections.
#[derive(Debug, Clone, Default)]
pub struct PeerBlobs {
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
    dialer: Dialer,
    limits: FetchLimits,
}

type Answer = Result<Answered, Refusal>;

enum Answered {
    Manifest(Manifest),
    Chunk(Bytes),
}

impl PeerBlobs {
    /// With other limits than the default ones.
    pub fn new(limits: FetchLimits) -> Self {
        Self {
            channels: Arc::default(),
            dialer: Dialer::Plain,
            limits,
        }
    }

    /// With another way to connect than the plain one.
    #[must_use]
    pub fn by(mut self, dialer: Dialer) -> Self {
        self.dialer = dialer;
        self
    }

    /// Fetches a blob: every byte that reaches `sink` was verified. A source that gives wrong bytes is not asked again, one
    /// that is lost is replaced by the others. Gives the manifest once every chunk is written; to give the blob its name is
    /// up to the caller.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn fetch(
        &self,
        wanted: Wanted,
        sink: &mut dyn ChunkSink,
    ) -> Result<Manifest, PeerError> {
        let digest = wanted.digest;
        let begun = Instant::now();
        let now_ms = || begun.elapsed().as_millis() as u64;
        let failed = |source| PeerError::Sink { digest, source };
        let mut fetch = Fetch::new(digest, wanted.size, wanted.seed, self.limits);
        if let Some((manifest, present)) = wanted.present {
            fetch
                .resume(manifest, present)
                .map_err(|error| PeerError::Resume {
                    digest,
                    why: error.to_string(),
                })?;
        }
        for source in &wanted.sources {
            fetch.set_source(source.clone(), Holds::All);
        }
        let mut begin_told = false;
        let mut why = String::from("no node is known to have it");
        let mut revivals = 0;
        let mut asked = FuturesUnordered::new();
        loop {
            if let Some(manifest) = fetch.manifest()
                && !begin_told
            {
                sink.begin(manifest).await.map_err(failed)?;
                begin_told = true;
            }
            while let Some(ask) = fetch.poll(now_ms()) {
                asked.push(self.ask(ask, digest, wanted.size));
            }
            if let (FetchState::Verified | FetchState::Sealed, Some(manifest)) =
                (fetch.state(), fetch.manifest())
            {
                return Ok(manifest.clone());
            }
            match fetch.stuck(now_ms()) {
                Some(Stuck::DataLoss { digest }) => {
                    return Err(PeerError::DataLoss { digest, why });
                }
                Some(Stuck::Unavailable { digest })
                    if revivals == REVIVALS.0 || wanted.sources.is_empty() =>
                {
                    return Err(PeerError::Unavailable { digest, why });
                }
                Some(Stuck::Unavailable { .. }) => {
                    sleep(REVIVALS.1 * 2u32.pow(revivals)).await;
                    revivals += 1;
                    for source in &wanted.sources {
                        fetch.set_source(source.clone(), Holds::All);
                    }
                    continue;
                }
                None => {}
            }
            let deadline = fetch
                .deadline(now_ms())
                .map(|at_ms| begun + Duration::from_millis(at_ms));
            let (ask, answer) = tokio::select! {
                Some(answered) = asked.next() => answered,
                () = wait_until(deadline) => continue,
            };
            match (ask, answer) {
                (Ask::Manifest { source }, Ok(Answered::Manifest(manifest))) => {
                    if let Err(error) = fetch.on_manifest(now_ms(), &source, manifest) {
                        why = format!("{source} gave a wrong manifest: {error}");
                        tracing::warn!(%digest, %source, %error, "a wrong manifest");
                    }
                }
                (Ask::Chunk { source, index }, Ok(Answered::Chunk(data))) => {
                    match fetch.on_chunk(now_ms(), &source, index, &data) {
                        Verdict::Write(chunk) => {
                            sink.write(chunk).await.map_err(failed)?;
                            fetch.on_written(index);
                            revivals = 0;
                        }
                        Verdict::Refused(error) => {
                            why = format!("{source} gave wrong bytes: {error}");
                            tracing::warn!(%digest, %source, %error, "wrong bytes");
                        }
                        Verdict::Repeat | Verdict::TooEarly => {}
                    }
                }
                (Ask::Manifest { source } | Ask::Chunk { source, .. }, answer) => {
                    if let Err(refusal) = answer {
                        why = format!("{source}: {}", refusal.message);
                    }
                    self.channels.lock().await.remove(&source);
                    fetch.on_lost(&source);
                }
            }
        }
    }

    /// Asks one source one thing.
    async fn ask(&self, ask: Ask<String>, digest: Digest, size: u64) -> (Ask<String>, Answer) {
        let answer = match &ask {
            Ask::Manifest { source } => self.manifest(source, digest).await.map(Answered::Manifest),
            Ask::Chunk { source, index } => self
                .chunk(source, digest, size, *index)
                .await
                .map(Answered::Chunk),
        };
        (ask, answer)
    }

    async fn manifest(&self, source: &str, digest: Digest) -> Result<Manifest, Refusal> {
        let request = GetBlobManifestRequest {
            digest: name(digest),
        };
        let answer = self
            .client(source)
            .await?
            .get_blob_manifest(request)
            .await
            .map_err(|status| refusal(&status))?;
        let answer = answer.into_inner();
        let (chunks, rest) = answer.chunk_digests.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(malformed("chunk_digests is no row of digests"));
        }
        let size = u64::try_from(answer.size_bytes).map_err(malformed)?;
        Manifest::new(size, chunks.to_vec()).map_err(malformed)
    }

    async fn chunk(
        &self,
        source: &str,
        digest: Digest,
        size: u64,
        index: u64,
    ) -> Result<Bytes, Refusal> {
        let length = blob::chunk_len(size, index);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let request = ReadBlobRequest {
            digest: name(digest),
            read_offset: int64(index * blob::CHUNK as u64),
            read_limit: int64(length as u64),
        };
        let answer = self
            .client(source)
            .await?
            .read_blob(request)
            .await
            .map_err(|status| refusal(&status))?;
        let mut parts = answer.into_inner();
        let mut first = Bytes::new();
        let mut gathered = BytesMut::new();
        while let Some(part) = parts.message().await.map_err(|status| refusal(&status))? {
            // A chunk comes in one message from a node of ours; a stranger may cut it.
            if first.is_empty() && gathered.is_empty() {
                first = part.data;
            } else {
                gathered.extend_from_slice(&std::mem::take(&mut first));
                gathered.extend_from_slice(&part.data);
            }
            if first.len() + gathered.len() > length {
                return Err(malformed("more bytes than were asked for"));
            }
        }
        Ok(if gathered.is_empty() {
            first
        } else {
            gathered.freeze()
        })
    }

    async fn client(&self, source: &str) -> Result<BlobServiceClient<Channel>, Refusal> {
        let mut channels = self.channels.lock().await;
        let channel = match channels.get(source) {
            Some(channel) => channel.clone(),
            None => {
                let channel = endpoint::connect_lazily(source, Use::Blobs, &self.dialer)
                    .map_err(malformed)?;
                channels.insert(source.to_owned(), channel.clone());
                channel
            }
        };
        Ok(BlobServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }
}

fn name(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorReason::DigestMismatch, error.to_string())
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
