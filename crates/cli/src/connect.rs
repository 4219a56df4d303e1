//! How a command reaches a cluster: the one it was told of, or the embedded node.
//!
//! The embedded node belongs to whichever command comes first; others find it by its home and speak to it. When that command
//! ends, the next one that needs a connection starts a node over the same home and everything goes on: nothing is kept in memory only.

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Error, Fixed, Kind, Resolve};
use node::embedded::{Embedded, Options};
use node::home::Home;
use tokio::sync::Mutex;

/// How long to wait for another command's node to say where it serves.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK: Duration = Duration::from_millis(20);

/// A way to the cluster.
pub struct Connection {
    /// Speaks to it.
    pub client: Client,
    embedded: Option<Arc<Local>>,
}

impl Connection {
    /// A connection to the coordinators at these addresses.
    pub fn to(addresses: Vec<String>) -> Self {
        Self { client: Client::new(Fixed(addresses)), embedded: None }
    }

    /// A connection to the embedded node of a home.
    pub fn embedded(home: Home) -> Self {
        let local = Arc::new(Local { home, node: Mutex::new(None) });
        Self { client: Client::new(Handle(local.clone())), embedded: Some(local) }
    }

    /// Whether everything runs on this machine for the sake of this command.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// What was left unfinished when the node that this command runs was started; none if it runs none.
    pub async fn resumed(&self) -> Option<usize> {
        let local = self.embedded.as_ref()?;
        local.node.lock().await.as_ref().map(Embedded::resumed)
    }

    /// Ends the node, if this command runs one. Programs of steps go on.
    pub async fn close(self) {
        if let Some(local) = &self.embedded
            && let Some(node) = local.node.lock().await.take()
        {
            node.stop().await;
        }
    }
}

/// The embedded node of a home, ours or another command's.
struct Local {
    home: Home,
    node: Mutex<Option<Embedded>>,
}

/// The resolver's share of it.
struct Handle(Arc<Local>);

#[tonic::async_trait]
impl Resolve for Handle {
    async fn resolve(&self) -> Result<Vec<String>, Error> {
        let mut node = self.0.node.lock().await;
        if let Some(running) = node.as_ref() {
            if let Some(fault) = running.fault() {
                return Err(Error::new(Kind::Internal, format!("the embedded node ended: {fault}")));
            }
            return Ok(vec![running.address().to_owned()]);
        }
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        loop {
            let owned = self.0.home.own().map_err(|error| {
                Error::new(Kind::Internal, format!("cannot use {}: {error}", self.0.home.path().display()))
            })?;
            if let Some(ownership) = owned {
                let started = Embedded::start(ownership, Options::default()).await.map_err(|fault| {
                    Error::new(Kind::Internal, format!("the embedded node does not start: {fault}"))
                })?;
                let address = started.address().to_owned();
                *node = Some(started);
                return Ok(vec![address]);
            }
            if let Some(address) = self.0.home.endpoint() {
                return Ok(vec![address]);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("another shoal command owns {} but serves nothing", self.0.home.path().display()),
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
