//! `WorkerLinkService`: hands what workers say to the host, and what the host says to the workers.

use std::pin::Pin;
use std::sync::Arc;

use contract::api::ErrorReason;
use contract::link;
use contract::link::worker_link_service_server::WorkerLinkService;
use coordinator::Refusal;
use feed::{Batch, Fence};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::ports::{FeedKey, FeedStore, Sessions, Stored};
use crate::status::status;
use crate::stream::{self, Answers};

/// Messages to a worker that wait to be sent. Each says the whole, so a few are enough.
const DESIRED_QUEUE: usize = 4;

/// Batches of one worker that wait for the disk.
const PUSH_QUEUE: usize = 64;

pub(crate) struct WorkerLink {
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) feeds: Arc<dyn FeedStore>,
    pub(crate) stopping: CancellationToken,
}

#[async_trait]
impl WorkerLinkService for WorkerLink {
    type SynchronizeStream =
        Pin<Box<dyn Stream<Item = Result<link::SynchronizeResponse, Status>> + Send>>;

    async fn synchronize(
        &self,
        request: Request<Streaming<link::SynchronizeRequest>>,
    ) -> Result<Response<Self::SynchronizeStream>, Status> {
        let mut states = request.into_inner();
        let (desired, told) = mpsc::channel(DESIRED_QUEUE);
        let session = Session {
            id: self.sessions.opened(desired.clone()),
            sessions: self.sessions.clone(),
        };
        // Whichever half ends, ends the other.
        let over = CancellationToken::new();
        let (listening, stopping) = (over.clone(), self.stopping.clone());
        tokio::spawn(async move {
            let refusal = tokio::select! {
                () = listening.cancelled() => None,
                () = stopping.cancelled() => Some(stream::stopping()),
                () = listen(&session, &mut states) => None,
            };
            drop(session);
            if let Some(refusal) = refusal {
                let _ = desired.send(Err(refusal)).await;
            }
        });
        Ok(Response::new(Box::pin(answers(told, over.drop_guard()))))
    }

    type PushFeedStream = Answers<link::PushFeedResponse>;

    async fn push_feed(
        &self,
        request: Request<Streaming<link::PushFeedRequest>>,
    ) -> Result<Response<Self::PushFeedStream>, Status> {
        let batches = request.into_inner();
        let (feeds, stopping) = (self.feeds.clone(), self.stopping.clone());
        Ok(Response::new(stream::fill(PUSH_QUEUE, |out| async move {
            let (pending, mut stored) = mpsc::channel(PUSH_QUEUE);
            let reader = tokio::spawn(store_all(batches, feeds, pending));
            loop {
                let next = tokio::select! {
                    next = stored.recv() => next,
                    () = stopping.cancelled() => return Err(stream::stopping()),
                };
                let Some((fence, answer)) = next else { break };
                let Stored {
                    next_record,
                    refused,
                } = answer.await.map_err(|_| stream::stopping())??;
                let response = link::PushFeedResponse {
                    fence: Some(fence),
                    next_record,
                    refused,
                };
                if out.send(Ok(response)).await.is_err() {
                    return Ok(());
                }
            }
            reader.await.map_err(|_| stream::stopping())?
        })))
    }
}

/// An open connection; dropped, it is gone.
struct Session {
    id: u64,
    sessions: Arc<dyn Sessions>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.gone(self.id);
    }
}

/// Hands on what a worker says until it says no more.
async fn listen(session: &Session, states: &mut Streaming<link::SynchronizeRequest>) {
    loop {
        match states.message().await {
            Ok(Some(state)) => session.sessions.state(session.id, state).await,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, session = session.id, "a worker's connection broke");
                return;
            }
        }
    }
}

/// What a worker is told, up to a refusal.
fn answers(
    told: mpsc::Receiver<Result<link::SynchronizeResponse, Refusal>>,
    over: DropGuard,
) -> impl Stream<Item = Result<link::SynchronizeResponse, Status>> + Send {
    ReceiverStream::new(told).map(move |answer| {
        let _held = &over;
        answer.map_err(status)
    })
}

type Pending = mpsc::Sender<(link::Fence, oneshot::Receiver<Result<Stored, Refusal>>)>;

/// Gives every batch to the store, in the order in which they come.
async fn store_all(
    mut batches: Streaming<link::PushFeedRequest>,
    feeds: Arc<dyn FeedStore>,
    pending: Pending,
) -> Result<(), Refusal> {
    while let Some(push) = batches
        .message()
        .await
        .map_err(|status| crate::status::refusal(&status))?
    {
        let fence = push.fence.unwrap_or_default();
        let (key, index) = key(&fence)?;
        let batch = Batch {
            first_record: push.first_record,
            count: push.record_count,
            frames: push.frames,
        };
        let answer = feeds.store(key, index, batch);
        if pending.send((fence, answer)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn key(fence: &link::Fence) -> Result<(FeedKey, Fence), Refusal> {
    let key = FeedKey::try_from(fence).map_err(|()| {
        let words = "a fence names an execution by 16 bytes";
        Refusal::new(ErrorReason::InvalidField, words).violation("fence.execution_id", words)
    })?;
    Ok((key, Fence(fence.index)))
}
