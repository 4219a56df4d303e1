//! Between the loop and the world: what shims notify, and what is said to and heard from a coordinator.

use std::os::fd::OwnedFd;

use contract::api::ErrorReason;
use contract::link::PushFeedRequest;
use net::{Link, LinkEvent};
use runtime::NotifySocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use worker::{Fence, Input};

use super::engine::{Engine, HOLDER, Uplink};
use crate::Fault;

/// Longest name of an attempt's directory.
const MAX_NAME: usize = 255;

/// Hands what shims notify to the loop.
pub(super) fn listen(socket: NotifySocket, engine: Engine) -> std::io::Result<()> {
    let socket = std::os::unix::net::UnixDatagram::from(OwnedFd::from(socket.into_socket()));
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UnixDatagram::from_std(socket)?;
    tokio::spawn(async move {
        let mut name = [0; MAX_NAME];
        while let Ok(length) = socket.recv(&mut name).await {
            let name = String::from_utf8_lossy(&name[..length]).into_owned();
            if !engine.notified(name.into()) {
                return;
            }
        }
    });
    Ok(())
}

/// Opens the link to the coordinators. What is heard goes to the loop.
pub(super) fn open(
    coordinators: Vec<String>,
    engine: Engine,
    stopping: CancellationToken,
    on_fault: impl Fn(Fault) + Send + 'static,
) -> Uplink {
    let (pushes, batches) = mpsc::unbounded_channel();
    let (link, events) = Link::open(coordinators);
    tokio::spawn(carry_pushes(batches, link.clone(), stopping.clone()));
    tokio::spawn(hear(events, engine, stopping, on_fault));
    Uplink { link, pushes }
}

async fn carry_pushes(
    mut batches: mpsc::UnboundedReceiver<PushFeedRequest>,
    link: Link,
    stopping: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            batch = batches.recv() => match batch {
                Some(batch) => link.push(batch).await,
                None => return,
            },
        }
    }
}

async fn hear(
    mut events: mpsc::Receiver<LinkEvent>,
    engine: Engine,
    stopping: CancellationToken,
    on_fault: impl Fn(Fault) + Send + 'static,
) {
    loop {
        let event = tokio::select! {
            () = stopping.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            None => return,
            Some(LinkEvent::Connected) => {
                engine.input(Input::Connected);
                engine.input(Input::HolderConnected(HOLDER));
            }
            Some(LinkEvent::Disconnected { refusal }) => {
                if refusal.reason == ErrorReason::StaleIncarnation {
                    // Another daemon speaks under this name: two must not.
                    on_fault(Fault::new(refusal.message.clone()));
                }
                tracing::info!("the link to the coordinator is down: {refusal}");
                engine.input(Input::HolderDisconnected(HOLDER));
                engine.input(Input::Disconnected);
            }
            Some(LinkEvent::Desired(desired)) => engine.input(Input::Desired(*desired)),
            Some(LinkEvent::Stored(stored)) => {
                let Some(Ok(fence)) = stored.fence.as_ref().map(Fence::try_from) else {
                    continue;
                };
                engine.input(match stored.refused {
                    true => Input::FeedRefused {
                        fence,
                        holder: HOLDER,
                    },
                    false => Input::FeedStored {
                        fence,
                        holder: HOLDER,
                        next_record: stored.next_record,
                    },
                });
            }
        }
    }
}
