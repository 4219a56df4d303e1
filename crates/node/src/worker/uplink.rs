//! Between the loop and the world: what shims notify, the conversation with the coordinator that leads, and a way for feeds to each
//! coordinator.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::Arc;

use contract::api::ErrorReason;
use contract::link::PushFeedRequest;
use feed::HolderId;
use net::{FeedLink, FeedLinkEvent, Link, LinkEvent, Pushes};
use pki::Dialer;
use runtime::NotifySocket;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use worker::{Cluster, Fence, Input};

use super::engine::Engine;
use crate::Fault;

/// Longest name of an attempt's directory.
const MAX_NAME: usize = 255;

/// Hands what shims notify to the loop, until `stopping`. On a thread of its own: a slot waits for it, and must not wait for whatever else
/// the pool does.
pub(super) fn listen(
    socket: NotifySocket,
    engine: Engine,
    stopping: CancellationToken,
) -> std::io::Result<()> {
    let socket = Arc::new(socket.into_socket());
    socket.set_nonblocking(false)?;
    let (listening, stopped) = (socket.clone(), stopping.clone());
    std::thread::Builder::new()
        .name("shims".into())
        .spawn(move || {
            let mut name = [0; MAX_NAME];
            loop {
                let length = match listening.recv(&mut name) {
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    // The loop looks by itself now and then: ends are late from now on, but none is missed.
                    Err(error) => return tracing::error!("shims are not heard any more: {error}"),
                };
                let name = String::from_utf8_lossy(&name[..length]).into_owned();
                if stopped.is_cancelled() || !engine.notified(name.into()) {
                    return;
                }
            }
        })?;
    tokio::spawn(async move {
        stopping.cancelled().await;
        // Wakes the thread. It fails only where that is not there any more.
        drop(socket.shutdown(Shutdown::Read));
    });
    Ok(())
}

/// Opens the link to the coordinators. What is heard goes to the loop.
pub(super) fn open(
    dialer: Dialer,
    configured: Vec<String>,
    cluster: &Cluster,
    engine: Engine,
    stopping: CancellationToken,
    on_fault: impl Fn(Fault) + Send + 'static,
) -> Uplink {
    let (link, events) = Link::open_by(dialer.clone(), addresses(&configured, cluster));
    tokio::spawn(hear(events, engine.clone(), stopping, on_fault));
    let mut uplink = Uplink {
        link,
        dialer,
        configured,
        feeds: BTreeMap::new(),
        ways: 0,
        engine,
        pool: Handle::current(),
    };
    let closed = uplink.follow(cluster);
    debug_assert!(closed.is_empty(), "none was open before");
    uplink
}

/// What the loop sends to.
pub(super) struct Uplink {
    /// Takes the newest state; an older one that has not left is dropped for it.
    pub(super) link: Link,
    /// How connections are made.
    dialer: Dialer,
    /// Addresses that a person gave: tried when those that were told of do not answer.
    configured: Vec<String>,
    feeds: BTreeMap<HolderId, Way>,
    /// How many ways were opened.
    ways: u64,
    engine: Engine,
    pool: Handle,
}

/// A way for feeds to one coordinator.
struct Way {
    /// No other way has it.
    number: u64,
    address: String,
    /// Open while there is a connection.
    pushes: Option<Pushes>,
    _link: FeedLink,
}

impl Uplink {
    /// Keeps a way open to each of these coordinators, and to no other. Answers with those to which one was closed.
    pub(super) fn follow(&mut self, cluster: &Cluster) -> Vec<HolderId> {
        self.link.follow(addresses(&self.configured, cluster));
        let stays = |id: &HolderId, way: &Way| {
            let known = cluster.coordinators.iter().find(|one| one.id == *id);
            known.is_some_and(|one| one.address == way.address)
        };
        let closed: Vec<HolderId> = self
            .feeds
            .iter()
            .filter(|(id, way)| !stays(id, way))
            .map(|(id, _)| *id)
            .collect();
        self.feeds.retain(|id, way| stays(id, way));
        for one in &cluster.coordinators {
            if !self.feeds.contains_key(&one.id) {
                self.open_way(one.id, &one.address);
            }
        }
        closed
    }

    fn open_way(&mut self, id: HolderId, address: &str) {
        self.ways += 1;
        let number = self.ways;
        let _inside = self.pool.enter();
        let (link, mut events) = FeedLink::open_by(self.dialer.clone(), address.to_owned());
        let engine = self.engine.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if !engine.feed_link(id, number, event) {
                    return;
                }
            }
        });
        let way = Way {
            number,
            address: address.to_owned(),
            pushes: None,
            _link: link,
        };
        self.feeds.insert(id, way);
    }

    /// Sends records. Without a connection the mind is told so, and pushes again when there is one.
    pub(super) fn push(&self, holder: HolderId, batch: PushFeedRequest) {
        if let Some(pushes) = self.feeds.get(&holder).and_then(|way| way.pushes.as_ref()) {
            pushes.push(batch);
        }
    }

    /// What the mind should know of an event; nothing of one of a way that was closed.
    pub(super) fn heard(
        &mut self,
        holder: HolderId,
        number: u64,
        event: FeedLinkEvent,
    ) -> Option<Input> {
        let way = self
            .feeds
            .get_mut(&holder)
            .filter(|way| way.number == number)?;
        match event {
            FeedLinkEvent::Connected(pushes) => {
                way.pushes = Some(pushes);
                Some(Input::HolderConnected(holder))
            }
            FeedLinkEvent::Disconnected => {
                way.pushes = None;
                Some(Input::HolderDisconnected(holder))
            }
            FeedLinkEvent::Stored(stored) => {
                let fence = Fence::try_from(stored.fence.as_ref()?).ok()?;
                Some(match stored.refused {
                    true => Input::FeedRefused { fence, holder },
                    false => Input::FeedStored {
                        fence,
                        holder,
                        next_record: stored.next_record,
                    },
                })
            }
        }
    }
}

/// Where to look for a coordinator: those that were told of first, then those that a person gave.
fn addresses(configured: &[String], cluster: &Cluster) -> Vec<String> {
    let told = cluster.coordinators.iter().map(|one| &one.address);
    let mut addresses: Vec<String> = Vec::new();
    for address in told.chain(configured) {
        if !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    addresses
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
            Some(LinkEvent::Connected) => engine.input(Input::Connected),
            Some(LinkEvent::Disconnected { refusal }) => {
                match refusal.reason {
                    // Another daemon speaks under this name: two must not.
                    ErrorReason::StaleIncarnation => on_fault(Fault::new(refusal.message.clone())),
                    // What runs goes on, and so does asking: that the other one ends is all that it takes.
                    ErrorReason::DuplicateWorker => tracing::error!("{}", refusal.message),
                    ErrorReason::InvalidField => {
                        tracing::error!("the coordinator takes no work from this worker: {refusal}")
                    }
                    _ => tracing::info!("the link to the coordinator is down: {refusal}"),
                }
                engine.input(Input::Disconnected);
            }
            Some(LinkEvent::Desired(desired)) => engine.input(Input::Desired(*desired)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::Duration;

    use super::*;
    use crate::worker::engine::Event;

    /// Longer than any of it takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread")]
    async fn shims_are_heard_until_the_end_and_then_nobody_listens() {
        let place = tempfile::tempdir().unwrap();
        let socket = NotifySocket::bind(place.path()).unwrap();
        let (engine, inbox) = Engine::channel();
        let stopping = CancellationToken::new();
        listen(socket, engine, stopping.clone()).unwrap();
        let shim = UnixDatagram::unbound().unwrap();
        let path = NotifySocket::path(place.path());
        for name in ["one.1", "two.1"] {
            shim.send_to(name.as_bytes(), &path).unwrap();
            let heard = inbox.recv_timeout(PATIENCE);
            assert!(matches!(heard, Ok(Event::Notified(heard)) if *heard == *name));
        }
        // The thread holds the last handle to the loop: it lets go when it ends.
        stopping.cancel();
        let nobody = inbox.recv_timeout(PATIENCE);
        assert!(matches!(nobody, Err(RecvTimeoutError::Disconnected)));
    }
}
