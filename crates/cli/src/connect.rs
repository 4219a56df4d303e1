//! How a command reaches a cluster: the one it was told of, or the embedded node.
//!
//! The embedded node belongs to whichever command comes first; others find it by its home and speak to it. When that command
//! ends, the next one that needs a connection starts a node over the same home and everything goes on: nothing is kept in memory only.

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Error, Kind, Resolve};
use node::embedded::Embedded;
use node::home::Home;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::containers;
use crate::contexts::Cluster;

/// How long to wait for another command's node to say where it serves.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK: Duration = Duration::from_millis(20);
/// After how long without an answer to tell that this may take a while.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// A need for an address that comes this long after the last one has nothing to do with it.
const APART: Duration = Duration::from_secs(15);

/// A way to the cluster.
pub struct Connection {
    /// Speaks to it.
    pub client: Client,
    embedded: Option<Arc<Local>>,
}

/// Who runs the embedded node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// This command, unless another one does.
    Us,
    /// Another process: it was started for it.
    Others,
}

impl Connection {
    /// A connection to the coordinators at these addresses. `tell` is told when they cannot be reached for a while.
    pub fn to(cluster: Cluster, deadline: Duration, tell: fn(&str)) -> Self {
        let remote = Remote {
            addresses: cluster.addresses,
            tell,
            need: Mutex::default(),
        };
        let options = client::Options {
            deadline,
            ..client::Options::default()
        };
        Self {
            client: Client::with_credentials(remote, options, cluster.credentials),
            embedded: None,
        }
    }

    /// A connection to the embedded node of a home.
    pub fn embedded(home: Home, runs: Runs) -> Self {
        let local = Arc::new(Local {
            home,
            runs,
            node: Mutex::new(None),
        });
        Self {
            client: Client::new(Handle(local.clone())),
            embedded: Some(local),
        }
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

/// Coordinators somewhere else. An address is asked for again after every failure: who waits is told once what for.
struct Remote {
    addresses: Vec<String>,
    tell: fn(&str),
    need: Mutex<Option<Need>>,
}

/// A time in which no address has worked.
struct Need {
    since: Instant,
    last: Instant,
    told: bool,
}

#[tonic::async_trait]
impl Resolve for Remote {
    async fn resolve(&self) -> Result<Vec<String>, Error> {
        let now = Instant::now();
        let mut need = self.need.lock().await;
        match need.as_mut().filter(|need| now - need.last < APART) {
            None => {
                *need = Some(Need {
                    since: now,
                    last: now,
                    told: false,
                })
            }
            Some(need) => {
                need.last = now;
                if !need.told && now - need.since >= TELL_AFTER {
                    need.told = true;
                    (self.tell)(&format!(
                        "note: {} cannot be reached, still trying",
                        self.addresses.join(", ")
                    ));
                }
            }
        }
        Ok(self.addresses.clone())
    }
}

/// The embedded node of a home, ours or another command's.
struct Local {
    home: Home,
    runs: Runs,
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
                return Err(Error::new(
                    Kind::Internal,
                    format!("the embedded node ended: {fault}"),
                ));
            }
            return Ok(vec![running.address().to_owned()]);
        }
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if let Some(started) = self.0.start().await? {
                let address = started.address().to_owned();
                *node = Some(started);
                return Ok(vec![address]);
            }
            if let Some(address) = self.0.home.endpoint() {
                return Ok(vec![address]);
            }
            if Instant::now() >= deadline {
                let message = format!(
                    "another shoal command owns {} but serves nothing",
                    self.0.home.path().display()
                );
                return Err(Error::new(Kind::Unavailable, message));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn has_others(&self) -> bool {
        false
    }
}

impl Local {
    /// Starts a node unless another process runs one, or should.
    async fn start(&self) -> Result<Option<Embedded>, Error> {
        if self.runs == Runs::Others {
            return Ok(None);
        }
        let owned = self.home.own().map_err(|error| {
            Error::new(
                Kind::Local,
                format!("cannot use {}: {error}", self.home.path().display()),
            )
        })?;
        let Some(ownership) = owned else {
            return Ok(None);
        };
        let options = containers::embedded().map_err(|error| Error::new(Kind::Local, error))?;
        let started = Embedded::start(ownership, options).await;
        started.map(Some).map_err(|fault| {
            Error::new(
                Kind::Internal,
                format!("the embedded node does not start: {fault}"),
            )
        })
    }
}
