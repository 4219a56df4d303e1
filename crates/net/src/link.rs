//! A worker's link to the coordinators: one conversation and one push of feeds, opened again whenever they break.

use std::time::Duration;

use contract::api::ErrorReason;
use contract::link::worker_link_service_client::WorkerLinkServiceClient;
use contract::link::{PushFeedRequest, PushFeedResponse, SynchronizeRequest, SynchronizeResponse};
use coordinator::Refusal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::endpoint::{self, Use};
use crate::server::MAX_MESSAGE;
use crate::status::refusal;

/// Events that wait for the worker's loop.
const EVENTS: usize = 256;

/// Batches that wait to be sent.
const PUSHES: usize = 16;

/// The first and the longest wait between two tries.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));

/// What happens on a link.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkEvent {
    /// Both directions are open. What was reported last is sent by itself; feeds go on from the last record that is known to be
    /// stored.
    Connected,
    /// The link broke. Batches that were handed over and not answered may not have arrived.
    Disconnected {
        /// Why, as far as is known.
        refusal: Refusal,
    },
    /// The coordinator says what should run.
    Desired(Box<SynchronizeResponse>),
    /// What became of a batch.
    Stored(PushFeedResponse),
}

/// The worker's end of a link. The link ends when every clone of it is dropped.
#[derive(Debug, Clone)]
pub struct Link {
    states: watch::Sender<Option<SynchronizeRequest>>,
    pushes: mpsc::Sender<PushFeedRequest>,
}

impl Link {
    /// Opens a link to the first of the coordinators that answers, and opens it again whenever it breaks.
    pub fn open(coordinators: Vec<String>) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (states, last_state) = watch::channel(None);
        let (pushes, batches) = mpsc::channel(PUSHES);
        let keeper = Keeper {
            coordinators,
            leader: None,
            next: 0,
            states: last_state,
            batches,
            events,
        };
        tokio::spawn(keeper.keep());
        (Self { states, pushes }, receiver)
    }

    /// Says the whole state of the worker. Only the newest matters: one that was not sent yet is replaced.
    pub fn report(&self, state: SynchronizeRequest) {
        self.states.send_replace(Some(state));
    }

    /// Hands over a batch of a feed; waits while earlier ones are on their way. Dropped if the link is broken: every feed is
    /// pushed again from the last stored record on once it is [`LinkEvent::Connected`].
    pub async fn push(&self, batch: PushFeedRequest) {
        // The other end lives as long as this one.
        let _ = self.pushes.send(batch).await;
    }
}

/// Keeps a link open.
struct Keeper {
    coordinators: Vec<String>,
    /// Where a coordinator said that the leader is.
    leader: Option<String>,
    /// Which of the coordinators to try next.
    next: usize,
    states: watch::Receiver<Option<SynchronizeRequest>>,
    batches: mpsc::Receiver<PushFeedRequest>,
    events: mpsc::Sender<LinkEvent>,
}

/// Why a connection ended.
enum End {
    Broken(Refusal),
    /// The worker's end was dropped.
    Closed,
}

impl From<tonic::Status> for End {
    fn from(status: tonic::Status) -> Self {
        Self::Broken(refusal(&status))
    }
}

/// The open streams of a connection.
struct Streams {
    states: mpsc::Sender<SynchronizeRequest>,
    desired: Streaming<SynchronizeResponse>,
    batches: mpsc::Sender<PushFeedRequest>,
    stored: Streaming<PushFeedResponse>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut wait = WAITS.0;
        loop {
            let begun = Instant::now();
            let end = match self.connect().await {
                Ok(streams) => self.connected(streams).await,
                Err(end) => end,
            };
            let End::Broken(refusal) = end else { return };
            tracing::debug!(%refusal, "no link to a coordinator");
            self.leader = refusal
                .metadata
                .get("leader")
                .filter(|address| !address.is_empty())
                .cloned();
            if begun.elapsed() > WAITS.1 {
                wait = WAITS.0;
            }
            // Between half of and all of the wait, so that workers do not come back all at once.
            let chance = (Uuid::new_v4().as_u128() & 0xffff) as u32;
            let jittered = wait / 2 + (wait / 2) * chance / 0xffff;
            wait = (wait * 2).min(WAITS.1);
            tokio::select! {
                () = sleep(jittered) => {}
                () = self.events.closed() => return,
                () = closed(&mut self.states) => return,
            }
        }
    }

    async fn connect(&mut self) -> Result<Streams, End> {
        let address = match self.leader.take() {
            Some(leader) => leader,
            None => {
                let count = self.coordinators.len().max(1);
                self.next = (self.next + 1) % count;
                let at = (self.next + count - 1) % count;
                self.coordinators.get(at).cloned().unwrap_or_default()
            }
        };
        let unreachable = |why: &dyn std::fmt::Display| {
            End::Broken(Refusal::new(
                ErrorReason::NotReady,
                format!("cannot reach the coordinator at {address}: {why}"),
            ))
        };
        let channel = endpoint::connect(&address, Use::Link)
            .await
            .map_err(|error| unreachable(&error))?;
        open_streams(channel).await
    }

    /// Carries messages both ways until the connection breaks.
    async fn connected(&mut self, mut streams: Streams) -> End {
        if self.events.send(LinkEvent::Connected).await.is_err() {
            return End::Closed;
        }
        // Each direction goes at its own pace: a feed that waits for its turn must not hold up the conversation.
        let end = tokio::select! {
            end = send_states(&mut self.states, &streams.states) => end,
            end = send_batches(&mut self.batches, &streams.batches) => end,
            end = take_desired(&mut streams.desired, &self.events) => end,
            end = take_stored(&mut streams.stored, &self.events) => end,
        };
        while self.batches.try_recv().is_ok() {}
        if let End::Broken(refusal) = &end
            && self
                .events
                .send(LinkEvent::Disconnected {
                    refusal: refusal.clone(),
                })
                .await
                .is_err()
        {
            return End::Closed;
        }
        end
    }
}

async fn open_streams(channel: Channel) -> Result<Streams, End> {
    let client = || {
        WorkerLinkServiceClient::new(channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    };
    let (states, outgoing) = mpsc::channel(1);
    let desired = client()
        .synchronize(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    let (batches, outgoing) = mpsc::channel(PUSHES);
    let stored = client()
        .push_feed(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    Ok(Streams {
        states,
        desired,
        batches,
        stored,
    })
}

async fn send_states(
    from: &mut watch::Receiver<Option<SynchronizeRequest>>,
    to: &mpsc::Sender<SynchronizeRequest>,
) -> End {
    loop {
        let state = from.borrow_and_update().clone();
        if let Some(state) = state
            && to.send(state).await.is_err()
        {
            return broken();
        }
        if from.changed().await.is_err() {
            return End::Closed;
        }
    }
}

async fn send_batches(
    from: &mut mpsc::Receiver<PushFeedRequest>,
    to: &mpsc::Sender<PushFeedRequest>,
) -> End {
    while let Some(batch) = from.recv().await {
        if to.send(batch).await.is_err() {
            return broken();
        }
    }
    End::Closed
}

async fn take_desired(
    from: &mut Streaming<SynchronizeResponse>,
    events: &mpsc::Sender<LinkEvent>,
) -> End {
    loop {
        match from.message().await {
            Ok(Some(desired)) => {
                if events
                    .send(LinkEvent::Desired(Box::new(desired)))
                    .await
                    .is_err()
                {
                    return End::Closed;
                }
            }
            Ok(None) => return broken(),
            Err(status) => return status.into(),
        }
    }
}

async fn take_stored(
    from: &mut Streaming<PushFeedResponse>,
    events: &mpsc::Sender<LinkEvent>,
) -> End {
    loop {
        match from.message().await {
            Ok(Some(stored)) => {
                if events.send(LinkEvent::Stored(stored)).await.is_err() {
                    return End::Closed;
                }
            }
            Ok(None) => return broken(),
            Err(status) => return status.into(),
        }
    }
}

fn broken() -> End {
    End::Broken(Refusal::new(
        ErrorReason::NotReady,
        "the coordinator ended the connection",
    ))
}

/// Waits for the worker's end to be dropped.
async fn closed(states: &mut watch::Receiver<Option<SynchronizeRequest>>) {
    while states.changed().await.is_ok() {}
}
