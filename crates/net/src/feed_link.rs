//! A worker's way for feeds to one coordinator, opened again whenever it breaks. There is one for each coordinator, whoever leads.

use std::time::Duration;

use contract::api::ErrorReason;
use contract::link::worker_link_service_client::WorkerLinkServiceClient;
use contract::link::{PushFeedRequest, PushFeedResponse};
use coordinator::Refusal;
use futures::{StreamExt as _, stream};
use pki::Dialer;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::endpoint::{self, Use};
use crate::server::MAX_MESSAGE;
use crate::status::refusal;
use crate::waits::Waits;

/// Events that wait for the worker's loop.
const EVENTS: usize = 256;

/// The first and the longest wait between two tries.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));

/// What happens on a way for feeds.
#[derive(Debug)]
pub enum FeedLinkEvent {
    /// It is open. What was pushed by an earlier connection and not answered may not have come.
    Connected(Pushes),
    /// It broke. No answer to what was pushed by it comes after this.
    Disconnected,
    /// What became of a batch that was pushed by this connection.
    Stored(PushFeedResponse),
}

/// Takes batches for one connection: those that come after its end go nowhere.
#[derive(Debug)]
pub struct Pushes(mpsc::UnboundedSender<PushFeedRequest>);

impl Pushes {
    /// Hands over a batch. How much is on its way is limited by who pushes.
    pub fn push(&self, batch: PushFeedRequest) {
        // The connection is gone: the event that says so is on its way.
        drop(self.0.send(batch));
    }
}

/// A way for feeds. It ends when this is dropped.
#[derive(Debug)]
pub struct FeedLink {
    _open: DropGuard,
}

impl FeedLink {
    /// Opens a way to the coordinator at `address`, and opens it again whenever it breaks. Must be called within a tokio runtime.
    pub fn open(address: String) -> (Self, mpsc::Receiver<FeedLinkEvent>) {
        Self::open_by(Dialer::Plain, address)
    }

    /// The same, with another way to connect than the plain one.
    pub fn open_by(dialer: Dialer, address: String) -> (Self, mpsc::Receiver<FeedLinkEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let closing = CancellationToken::new();
        let guard = closing.clone().drop_guard();
        tokio::spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = keep(&dialer, &address, &events) => {}
            }
        });
        (Self { _open: guard }, receiver)
    }
}

/// Keeps the way open until nobody hears of it any more.
async fn keep(dialer: &Dialer, address: &str, events: &mpsc::Sender<FeedLinkEvent>) {
    let mut waits = Waits::new(WAITS);
    loop {
        let begun = Instant::now();
        let Err(refusal) = connection(dialer, address, events).await else {
            return;
        };
        tracing::debug!(%refusal, address, "no way for feeds to a coordinator");
        if begun.elapsed() > WAITS.1 {
            waits.restart();
        }
        tokio::select! {
            () = sleep(waits.next()) => {}
            () = events.closed() => return,
        }
    }
}

/// One connection, to its end. Ends well when nobody hears of it any more.
async fn connection(
    dialer: &Dialer,
    address: &str,
    events: &mpsc::Sender<FeedLinkEvent>,
) -> Result<(), Refusal> {
    let channel = endpoint::connect(address, Use::Link, dialer)
        .await
        .map_err(|error| {
            let why = endpoint::dial_error(&error);
            let words = format!("cannot reach the coordinator at {address}: {why}");
            Refusal::new(ErrorReason::NotReady, words)
        })?;
    let (pushes, mut batches) = mpsc::unbounded_channel();
    let outgoing = stream::poll_fn(move |context| batches.poll_recv(context)).fuse();
    let mut stored = WorkerLinkServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
        .push_feed(outgoing)
        .await
        .map_err(|status| refusal(&status))?
        .into_inner();
    if events
        .send(FeedLinkEvent::Connected(Pushes(pushes)))
        .await
        .is_err()
    {
        return Ok(());
    }
    let refusal = loop {
        match stored.message().await {
            Ok(Some(answer)) => {
                if events.send(FeedLinkEvent::Stored(answer)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => {
                break Refusal::new(
                    ErrorReason::NotReady,
                    "the coordinator ended the connection",
                );
            }
            Err(status) => break refusal(&status),
        }
    };
    match events.send(FeedLinkEvent::Disconnected).await {
        Ok(()) => Err(refusal),
        Err(_) => Ok(()),
    }
}
