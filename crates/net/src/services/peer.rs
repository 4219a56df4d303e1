//! `PeerService`: what other members of the Raft group send.
//!
//! Who speaks is checked before anything is read of what it says. A member that sends faster than the host takes is left
//! waiting by the stream's flow control.

use std::sync::Arc;
use std::time::Duration;

use blob::Digest;
use bytes::BytesMut;
use contract::api::ErrorReason;
use contract::peer::peer_service_server::PeerService;
use contract::peer::{
    Envelope, ExchangeRequest, ExchangeResponse, HelloRequest, HelloResponse, ReadFramesRequest,
    ReadFramesResponse, SendSnapshotRequest, SendSnapshotResponse, StoreBlobRequest,
    StoreBlobResponse,
};
use coordinator::Refusal;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::audit::Call;
use crate::ports::{FeedKey, FeedReader, Members, Sources};
use crate::secure::Caller;
use crate::status::status;
use crate::stream::{self, Answers};

/// Most bytes of a snapshot that is taken.
const MAX_SNAPSHOT: u64 = 4 << 30;

/// How many snapshots are taken at once; each is held in memory until it is whole.
const SNAPSHOTS: usize = 2;

/// For how long the next part of a snapshot is waited for.
const PART_PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of frames that are read at once for another member.
const FRAMES: usize = 1 << 20;

pub(crate) struct Peers {
    members: Arc<dyn Members>,
    feeds: Arc<dyn FeedReader>,
    sources: Arc<dyn Sources>,
    snapshots: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Peers {
    pub(crate) fn new(
        members: Arc<dyn Members>,
        feeds: Arc<dyn FeedReader>,
        sources: Arc<dyn Sources>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            members,
            feeds,
            sources,
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
            stopping,
        }
    }

    fn admit(
        &self,
        caller: Option<&Caller>,
        envelope: Option<Envelope>,
    ) -> Result<Envelope, Status> {
        let envelope = named(caller, envelope).map_err(denied)?;
        self.members.admit(&envelope).map_err(status)?;
        Ok(envelope)
    }
}

/// The envelope, if the certificate of who sent it is that of the member it names.
fn named(caller: Option<&Caller>, envelope: Option<Envelope>) -> Result<Envelope, Refusal> {
    let envelope =
        envelope.ok_or_else(|| Refusal::invalid_field("envelope", "says who speaks to whom"))?;
    let known = caller.and_then(|caller| caller.certificate.as_ref());
    match known.map(|certificate| certificate.principal.member_id()) {
        Some(member) if member != Some(envelope.from) => {
            let name = caller.map(Caller::name).unwrap_or_default();
            Err(Refusal::new(
                ErrorReason::NotPermitted,
                format!("{name} must not speak as member {}", envelope.from),
            )
            .with("principal", name)
            .with("member_id", envelope.from.to_string()))
        }
        _ => Ok(envelope),
    }
}

/// A refusal to a peer, of which the audit trail is told.
fn denied(refusal: Refusal) -> Status {
    if let Some(call) = Call::current() {
        call.denied(&refusal);
    }
    status(refusal)
}

#[async_trait]
impl PeerService for Peers {
    async fn hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloResponse>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let envelope = named(caller.as_ref(), request.into_inner().envelope).map_err(denied)?;
        let answer = self.members.hello(&envelope).map_err(status)?;
        Ok(Response::new(answer))
    }

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let mut parts = request.into_inner();
        let mut sender = None;
        loop {
            let part = tokio::select! {
                part = parts.message() => part?,
                () = self.stopping.cancelled() => return Err(status(stream::stopping())),
            };
            let Some(part) = part else {
                return Ok(Response::new(ExchangeResponse {}));
            };
            let from = match (sender, part.envelope) {
                (Some(from), None) => from,
                (_, envelope) => {
                    let envelope = self.admit(caller.as_ref(), envelope)?;
                    if sender.is_some_and(|from| from != envelope.from) {
                        return Err(status(Refusal::invalid_field(
                            "envelope.from",
                            "must not change within a stream",
                        )));
                    }
                    *sender.insert(envelope.from)
                }
            };
            let promise = part.promise.unwrap_or_default();
            self.members
                .messages(from, promise, part.messages)
                .await
                .map_err(status)?;
        }
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<SendSnapshotRequest>>,
    ) -> Result<Response<SendSnapshotResponse>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let mut parts = request.into_inner();
        let first = next_part(&mut parts)
            .await?
            .ok_or_else(|| status(Refusal::invalid_field("envelope", "the stream is empty")))?;
        let envelope = self.admit(caller.as_ref(), first.envelope)?;
        let busy = || {
            status(Refusal::new(
                ErrorReason::LimitExceeded,
                "this coordinator takes no more snapshots at once",
            ))
        };
        let _permit = self.snapshots.try_acquire().map_err(|_| busy())?;
        let size = first.size_bytes;
        if size > MAX_SNAPSHOT {
            return Err(status(Refusal::invalid_field(
                "size_bytes",
                format!("at most {MAX_SNAPSHOT}, got {size}"),
            )));
        }
        let mut data = BytesMut::from(&first.data[..]);
        while (data.len() as u64) < size {
            let Some(part) = next_part(&mut parts).await? else {
                break;
            };
            data.extend_from_slice(&part.data);
        }
        if data.len() as u64 != size || blake3::hash(&data).as_bytes()[..] != first.digest[..] {
            return Err(status(Refusal::new(
                ErrorReason::DigestMismatch,
                format!(
                    "the snapshot is not what it was said to be: {} of {size} bytes came",
                    data.len()
                ),
            )));
        }
        self.members
            .snapshot(envelope.from, first.message, data.freeze())
            .await
            .map_err(status)?;
        Ok(Response::new(SendSnapshotResponse {}))
    }

    async fn store_blob(
        &self,
        request: Request<StoreBlobRequest>,
    ) -> Result<Response<StoreBlobResponse>, Status> {
        let request = request.into_inner();
        let digest = <[u8; 32]>::try_from(&request.digest[..])
            .map_err(|_| status(Refusal::invalid_field("digest", "must be 32 bytes")))?;
        self.sources
            .ensure(Digest(digest), request.size_bytes, request.sources)
            .await
            .map_err(status)?;
        Ok(Response::new(StoreBlobResponse {}))
    }

    type ReadFramesStream = Answers<ReadFramesResponse>;

    async fn read_frames(
        &self,
        request: Request<ReadFramesRequest>,
    ) -> Result<Response<Self::ReadFramesStream>, Status> {
        let request = request.into_inner();
        let execution = <[u8; 16]>::try_from(&request.execution_id[..])
            .map_err(|_| status(Refusal::invalid_field("execution_id", "must be 16 bytes")))?;
        let key = FeedKey {
            execution,
            attempt: request.attempt,
        };
        let feeds = self.feeds.clone();
        Ok(Response::new(stream::fill(2, move |out| async move {
            let mut next = request.first_record;
            loop {
                let closed = feeds.is_closed(key).await;
                let batches = feeds.read(key, next, FRAMES).await?;
                if batches.is_empty() {
                    let end = ReadFramesResponse {
                        first_record: next,
                        end: true,
                        closed,
                        absent_until_ms: feeds.absent_until_ms(),
                        ..ReadFramesResponse::default()
                    };
                    drop(out.send(Ok(end)).await);
                    return Ok(());
                }
                for batch in batches {
                    next = batch.end_record();
                    let frames = ReadFramesResponse {
                        first_record: batch.first_record,
                        record_count: batch.count,
                        frames: batch.frames,
                        ..ReadFramesResponse::default()
                    };
                    if out.send(Ok(frames)).await.is_err() {
                        return Ok(());
                    }
                }
            }
        })))
    }
}

/// The next part of a snapshot, unless the sender has stalled.
async fn next_part(
    parts: &mut Streaming<SendSnapshotRequest>,
) -> Result<Option<SendSnapshotRequest>, Status> {
    timeout(PART_PATIENCE, parts.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the snapshot has stalled"))?
}
