//! A worker's conversation with the coordinator that leads, opened again whenever it breaks or somebody else leads.

use std::time::Duration;

use contract::api::ErrorReason;
use contract::link::worker_link_service_client::WorkerLinkServiceClient;
use contract::link::{SynchronizeRequest, SynchronizeResponse};
use coordinator::Refusal;
use pki::Dialer;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::endpoint::{self, Use};
use crate::server::MAX_MESSAGE;
use crate::status::refusal;
use crate::waits::Waits;

/// Events that wait for the worker's loop.
const EVENTS: usize = 256;

/// The first and the longest wait between two tries.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What happens on a link.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkEvent {
    /// Both directions are open. What was reported last is sent by itself.
    Connected,
    /// The link broke.
    Disconnected {
        /// Why, as far as is known.
        refusal: Refusal,
    },
    /// The coordinator says what should run.
    Desired(Box<SynchronizeResponse>),
}

/// The worker's end of a link. The link ends when every clone of it is dropped.
#[derive(Debug, Clone)]
pub struct Link {
    states: watch::Sender<Option<SynchronizeRequest>>,
    coordinators: watch::Sender<Vec<String>>,
}

impl Link {
    /// Opens a link to the coordinator that leads, or to the first that answers, and opens it again whenever it breaks.
    pub fn open(coordinators: Vec<String>) -> (Self, mpsc::Receiver<LinkEvent>) {
        Self::open_by(Dialer::Plain, coordinators)
    }

    /// The same, with another way to connect than the plain one.
    pub fn open_by(dialer: Dialer, coordinators: Vec<String>) -> (Self, mpsc::Receiver<LinkEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (states, last_state) = watch::channel(None);
        let (coordinators, known) = watch::channel(coordinators);
        let keeper = Keeper {
            dialer,
            coordinators: known,
            leader: None,
            next: 0,
            states: last_state,
            events,
        };
        tokio::spawn(keeper.keep());
        (
            Self {
                states,
                coordinators,
            },
            receiver,
        )
    }

    /// Says the whole state of the worker. Only the newest matters: one that was not sent yet is replaced.
    pub fn report(&self, state: SynchronizeRequest) {
        self.states.send_replace(Some(state));
    }

    /// The addresses to try from now on. A connection that is open stays.
    pub fn follow(&self, coordinators: Vec<String>) {
        self.coordinators.send_replace(coordinators);
    }
}

/// Keeps a link open.
struct Keeper {
    dialer: Dialer,
    coordinators: watch::Receiver<Vec<String>>,
    /// Where a coordinator said that the leader is.
    leader: Option<String>,
    /// Which of the coordinators to try next.
    next: usize,
    states: watch::Receiver<Option<SynchronizeRequest>>,
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
}

impl Keeper {
    async fn keep(mut self) {
        let mut waits = Waits::new(WAITS);
        // Whether a person was told that the worker is not taken.
        let mut told = false;
        loop {
            let begun = Instant::now();
            let was_sent_on = self.leader.is_some();
            let end = match self.connect().await {
                Ok(streams) => self.connected(streams).await,
                Err(end) => end,
            };
            let End::Broken(refusal) = end else { return };
            let unwanted = matches!(
                refusal.reason,
                ErrorReason::Unauthenticated | ErrorReason::NotPermitted
            );
            match unwanted && !told {
                // Nothing that the worker does by itself will change it.
                true => tracing::warn!("the coordinator does not take this worker: {refusal}"),
                false => tracing::debug!(%refusal, "no link to a coordinator"),
            }
            told = unwanted;
            self.leader = refusal
                .metadata
                .get("leader")
                .filter(|address| !address.is_empty())
                .cloned();
            let lasted = begun.elapsed() > WAITS.1;
            if lasted {
                waits.restart();
            }
            // Who is told where the leader is goes there at once; sent on again right away, it waits: they do not agree yet.
            if self.leader.is_some() && (lasted || !was_sent_on) {
                continue;
            }
            tokio::select! {
                () = sleep(waits.next()) => {}
                () = self.events.closed() => return,
                () = closed(&mut self.states) => return,
            }
        }
    }

    async fn connect(&mut self) -> Result<Streams, End> {
        let address = match self.leader.take() {
            Some(leader) => leader,
            None => {
                let coordinators = self.coordinators.borrow();
                let at = self.next % coordinators.len().max(1);
                self.next = at + 1;
                coordinators.get(at).cloned().unwrap_or_default()
            }
        };
        let channel = endpoint::connect(&address, Use::Link, &self.dialer)
            .await
            .map_err(|error| {
                let why = endpoint::dial_error(&error);
                let words = format!("cannot reach the coordinator at {address}: {why}");
                End::Broken(Refusal::new(ErrorReason::NotReady, words))
            })?;
        let (states, outgoing) = mpsc::channel(1);
        let desired = WorkerLinkServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
            .synchronize(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        Ok(Streams { states, desired })
    }

    /// Carries messages both ways until the connection breaks.
    async fn connected(&mut self, mut streams: Streams) -> End {
        if self.events.send(LinkEvent::Connected).await.is_err() {
            return End::Closed;
        }
        let end = tokio::select! {
            end = send_states(&mut self.states, &streams.states) => end,
            end = take_desired(&mut streams.desired, &self.events) => end,
        };
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
