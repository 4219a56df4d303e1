//! `WorkerLinkService`: hands what workers say to the host, and what the host says to the workers.

use std::pin::Pin;
use std::sync::Arc;

use contract::api::ErrorReason;
use contract::link;
use contract::link::worker_link_service_server::WorkerLinkService;
use coordinator::Refusal;
use feed::{Batch, Fence};
use ledger::Ledger;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::audit::Call;
use crate::ports::{FeedKey, FeedStore, Sessions, Stored};
use crate::secure::Caller;
use crate::status::status;
use crate::stream::{self, Answers};

/// Messages to a worker that wait to be sent. Each says the whole, so a few are enough.
const DESIRED_QUEUE: usize = 4;

/// Batches of one worker that wait for the disk.
const PUSH_QUEUE: usize = 64;

pub(crate) struct WorkerLink {
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) feeds: Arc<dyn FeedStore>,
    pub(crate) ledgers: watch::Receiver<Ledger>,
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
        let speaker = Speaker::of(&request, &self.ledgers);
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
                refusal = listen(&session, &mut states, &speaker) => refusal,
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
        let speaker = Speaker::of(&request, &self.ledgers);
        let batches = request.into_inner();
        let (feeds, stopping) = (self.feeds.clone(), self.stopping.clone());
        Ok(Response::new(stream::fill(PUSH_QUEUE, |out| async move {
            let (pending, mut stored) = mpsc::channel(PUSH_QUEUE);
            let reader = tokio::spawn(store_all(batches, speaker, feeds, pending));
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

/// Hands on what a worker says until it says no more, or what it must not.
async fn listen(
    session: &Session,
    states: &mut Streaming<link::SynchronizeRequest>,
    speaker: &Speaker,
) -> Option<Refusal> {
    loop {
        match states.message().await {
            Ok(Some(state)) => {
                if let Err(refusal) = speaker.check(&state) {
                    speaker.denied(&refusal);
                    return Some(refusal);
                }
                session.sessions.state(session.id, state).await;
            }
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(%error, session = session.id, "a worker's connection broke");
                return None;
            }
        }
    }
}

/// Who speaks, by its certificate. Without TLS everybody is who it says.
struct Speaker {
    /// Its call; the tasks that hear it are others.
    call: Option<Call>,
    name: Option<Arc<str>>,
    ledgers: watch::Receiver<Ledger>,
}

impl Speaker {
    fn of<T>(request: &Request<T>, ledgers: &watch::Receiver<Ledger>) -> Self {
        let caller = request.extensions().get::<Caller>();
        Self {
            call: Call::current(),
            name: caller.and_then(Caller::worker).map(Arc::from),
            ledgers: ledgers.clone(),
        }
    }

    /// Tells the audit trail of a refusal.
    fn denied(&self, refusal: &Refusal) {
        if let Some(call) = &self.call {
            call.denied(refusal);
        }
    }

    /// Whether a state is the speaker's own, about its own attempts.
    fn check(&self, state: &link::SynchronizeRequest) -> Result<(), Refusal> {
        let Some(name) = &self.name else {
            return Ok(());
        };
        if state.worker != **name {
            return Err(Refusal::new(
                ErrorReason::NotPermitted,
                format!("worker/{name} must not speak as worker {}", state.worker),
            )
            .with("principal", format!("worker/{name}"))
            .with("worker", &state.worker));
        }
        let mut fences = state
            .attempts
            .iter()
            .filter_map(|report| report.fence.as_ref());
        fences.try_for_each(|fence| self.check_fence(fence))
    }

    /// Whether an attempt is the speaker's, or was. One that is not known here yet is for others to judge.
    fn check_fence(&self, fence: &link::Fence) -> Result<(), Refusal> {
        let Some(name) = &self.name else {
            return Ok(());
        };
        let Ok(fence) = ledger::Fence::try_from(fence) else {
            return Ok(());
        };
        let ledger = self.ledgers.borrow();
        let execution = ledger.execution_by_id(&fence.execution_id);
        let attempt = execution.and_then(|execution| {
            let mut attempts = execution.attempts.iter();
            attempts.find(|attempt| execution.fence(attempt) == fence)
        });
        match attempt {
            Some(attempt) if attempt.worker != *name => Err(Refusal::new(
                ErrorReason::NotPermitted,
                "attempt not assigned to you",
            )
            .with("principal", format!("worker/{name}"))
            .with("fence", fence.to_string())),
            _ => Ok(()),
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
    speaker: Speaker,
    feeds: Arc<dyn FeedStore>,
    pending: Pending,
) -> Result<(), Refusal> {
    while let Some(push) = batches
        .message()
        .await
        .map_err(|status| crate::status::refusal(&status))?
    {
        let fence = push.fence.unwrap_or_default();
        speaker
            .check_fence(&fence)
            .inspect_err(|refusal| speaker.denied(refusal))?;
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
