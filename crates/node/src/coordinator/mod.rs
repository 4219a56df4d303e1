//! The coordinator role: its mind, its disk and its server, wired.

mod engine;
mod feeds;
mod recover;
mod requests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coordinator::Coordinator;
use disk::blobs::Blobs;
use disk::feeds::Feeds;
use disk::raft_log::{SledLog, SledLogConfig};
use ledger::Ledger;
use net::CoordinatorParts;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::engine::Engine;
use self::feeds::FeedHost;
use self::requests::Requests;
use crate::Fault;
use crate::blobs::BlobHost;
use crate::faults::Faults;
use crate::home::{Home, Ownership};

/// How a coordinator is run.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// Where it keeps its state.
    pub data_dir: PathBuf,
    /// Where it serves, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Address at which others reach it, if it is not the one it listens on.
    pub advertise: Option<String>,
    /// Whether to found a new cluster if the data directory is empty.
    pub bootstrap: bool,
    /// How long a worker may be out of contact before its attempts are given to others.
    pub lost_after: Duration,
    /// Time a program has between the first signal and the kill.
    pub stop_grace: Duration,
    /// Entries applied between two snapshots.
    pub snapshot_entries: u64,
}

impl CoordinatorConfig {
    /// The defaults, for a data directory.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            bootstrap: false,
            lost_after: Duration::from_secs(60),
            stop_grace: Duration::from_secs(10),
            snapshot_entries: 20_000,
        }
    }
}

/// A running coordinator.
pub struct CoordinatorNode {
    address: String,
    engine: Engine,
    feeds: FeedHost,
    faults: Faults,
    stopping: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    thread: Option<std::thread::JoinHandle<()>>,
    _ownership: Ownership,
}

impl CoordinatorNode {
    /// Starts a coordinator; it serves when this returns.
    ///
    /// # Errors
    /// When its state cannot be read, its address not be listened on, or another process runs in its data directory.
    pub async fn start(config: CoordinatorConfig) -> Result<Self, Fault> {
        let ownership = Home::new(&config.data_dir).own()?.ok_or_else(|| {
            Fault::new(format!(
                "another process runs in {}",
                config.data_dir.display()
            ))
        })?;
        let listener = TcpListener::bind(&config.listen)
            .await
            .map_err(|error| Fault::new(format!("cannot listen on {}: {error}", config.listen)))?;
        let address = config
            .advertise
            .clone()
            .unwrap_or(listener.local_addr()?.to_string());
        let faults = Faults::default();
        let opened = tokio::task::spawn_blocking({
            let (config, address) = (config.clone(), address.clone());
            move || open(&config, &address)
        });
        let Opened {
            mind,
            store,
            feeds,
            blobs,
            ledger,
        } = opened
            .await
            .map_err(|error| Fault::new(error.to_string()))??;
        let published = watch::channel(ledger);
        let feeds = FeedHost::start(feeds, published.1.clone(), faults.reporter())?;
        let (engine, thread) = Engine::start(
            mind,
            store,
            feeds.clone(),
            address.clone(),
            published,
            faults.reporter(),
        )?;
        engine.caught_up().await;
        if let Some(fault) = faults.now() {
            return Err(fault);
        }
        let stopping = CancellationToken::new();
        let parts = CoordinatorParts {
            mutations: Arc::new(Requests {
                engine: engine.clone(),
                blobs: blobs.clone(),
            }),
            ledgers: engine.ledger(),
            surroundings: Arc::new(engine.clone()),
            feeds: Arc::new(feeds.clone()),
            feed_store: Arc::new(feeds.clone()),
            sessions: Arc::new(engine.clone()),
            blobs: Arc::new(BlobHost::of_coordinator(blobs)),
        };
        let report = faults.reporter();
        let stopped = stopping.clone();
        let server = tokio::spawn(async move {
            if let Err(error) =
                net::serve_coordinator(listener, parts, stopped.cancelled_owned()).await
            {
                report(Fault::new(error.to_string()));
            }
        });
        Ok(Self {
            address,
            engine,
            feeds,
            faults,
            stopping,
            server,
            thread: Some(thread),
            _ownership: ownership,
        })
    }

    /// Address at which it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The published ledger: now and whenever it moves.
    pub fn ledger(&self) -> watch::Receiver<Ledger> {
        self.engine.ledger()
    }

    /// Waits until a fault ends it; for ever when none does.
    pub async fn faulted(&self) -> Fault {
        self.faults.wait().await
    }

    /// The fault that ended it, if one did.
    pub fn fault(&self) -> Option<Fault> {
        self.faults.now()
    }

    /// Ends it: calls are finished first, then the loop.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        // The server ends by itself within its grace.
        drop((&mut self.server).await);
        self.engine.stop();
        self.feeds.stop();
        if let Some(thread) = self.thread.take() {
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }
}

/// What is read from a coordinator's disk.
struct Opened {
    mind: Coordinator,
    store: Box<SledLog>,
    feeds: Feeds,
    blobs: Arc<Blobs>,
    ledger: Ledger,
}

fn open(config: &CoordinatorConfig, address: &str) -> Result<Opened, Fault> {
    let directory = |name: &str| -> PathBuf { Path::new(&config.data_dir).join(name) };
    let mut store = Box::new(SledLog::open(&directory("raft"), SledLogConfig::default())?);
    let (recovered, ledger) = recover::recover(store.as_mut(), config.bootstrap)?;
    let id = recover::FOUNDER;
    let settings = coordinator::Config {
        member_id: id,
        cluster_id: uuid::Uuid::new_v4().to_string(),
        address: address.to_owned(),
        seed: id,
        snapshot_entries: config.snapshot_entries,
        lost_after_us: config.lost_after.as_micros() as u64,
        stop_grace_ms: config.stop_grace.as_millis() as u64,
    };
    let mind = Coordinator::new(settings, recovered, ledger.clone())
        .map_err(|error| Fault::new(format!("the raft log cannot be used: {error}")))?;
    let feeds = Feeds::open(&directory("feeds"))?;
    for damage in feeds.damage() {
        tracing::error!("a log is damaged: {damage}");
    }
    seal_again(&feeds, &ledger);
    let blobs = Arc::new(Blobs::open(&directory("blobs"))?);
    Ok(Opened {
        mind,
        store,
        feeds,
        blobs,
        ledger,
    })
}

/// A seal reaches the disk with the next records that are stored; one that a crash forgot is said again by the ledger.
/// What was sealed after the snapshot is sealed again when its entries are applied.
fn seal_again(feeds: &Feeds, ledger: &Ledger) {
    for key in feeds
        .keys()
        .into_iter()
        .filter(|key| feeds.sealed(*key).is_none())
    {
        let execution = ledger.execution_by_id(&uuid::Uuid::from_bytes(key.execution));
        let attempt = execution.and_then(|execution| {
            execution
                .attempts
                .iter()
                .find(|known| known.number == key.attempt)
        });
        let Some((attempt, digest)) =
            attempt.and_then(|attempt| Some((attempt, attempt.feed_digest?)))
        else {
            continue;
        };
        let seal = feed::Seal {
            record_count: attempt.record_count,
            digest,
        };
        if let Err(error) = feeds.seal(key, seal) {
            tracing::error!("a log is not what it was sealed as: {error}");
        }
    }
}
