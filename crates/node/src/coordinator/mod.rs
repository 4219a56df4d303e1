//! The coordinator role: its mind, its disk and its server, wired.

mod audit;
mod engine;
mod feeds;
mod hands;
mod peers;
mod pools;
mod recover;
mod requests;
mod restore;
mod sources;
mod upkeep;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use contract::peer::Promise;
use coordinator::{Coordinator, OnDisconnect};
pub use disk::audit::{Keep, Verified};
use disk::blobs::Blobs;
use disk::feeds::Feeds;
use disk::member::Identity;
use disk::raft_log::{self, LogConfig, LogKind, LogStore};
use ledger::{Knows, Ledger};
pub use net::async_trait;
use net::audit::Audit;
use net::{CoordinatorParts, PeerLinks};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::audit::AuditTrail;
pub(crate) use self::engine::Engine;
use self::engine::Found;
use self::feeds::FeedHost;
use self::peers::Peers;
pub use self::pools::{PoolConfig, PoolMaker};
use self::requests::Requests;
pub use self::restore::{Restored, restore};
use self::sources::Sources;
pub use self::upkeep::FeedKeeping;
use crate::Fault;
use crate::blobs::BlobHost;
use crate::faults::Faults;
use crate::home::{Home, Ownership};
use crate::metrics::{self, CoordinatorMetrics, CoordinatorView};
use crate::tls::{self, Dialers, KeyDir, Lifetimes};

/// The directory of the audit trail in that of a coordinator.
const AUDIT: &str = "audit";

/// How often what the others have promised is written to the disk.
const NOTING: Duration = Duration::from_secs(3);

/// Asks a cluster to take in a new member.
#[async_trait]
pub trait Join: Send + Sync + 'static {
    /// Becomes a member that serves at `address`. A repeat with the same request id gives the same answer.
    ///
    /// # Errors
    /// What the cluster said, in words for the operator.
    async fn join(&self, address: &str, request_id: &str) -> Result<Joined, Fault>;
}

/// Which member of which cluster a coordinator has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// UUID of the cluster.
    pub cluster_id: String,
    /// Raft id in it.
    pub member_id: u64,
}

/// How a coordinator is run.
#[derive(Clone)]
pub struct CoordinatorConfig {
    /// Where it keeps its state.
    pub data_dir: PathBuf,
    /// Where it serves, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Address at which others reach it, if it is not the one it listens on.
    pub advertise: Option<String>,
    /// Whether to found a new cluster if the data directory is empty.
    pub bootstrap: bool,
    /// How to join a cluster if the data directory is empty.
    pub join: Option<Arc<dyn Join>>,
    /// Whether to speak TLS also on loopback. Off loopback it is spoken in any case.
    pub tls: bool,
    /// Whether to do without TLS, also off loopback.
    pub insecure: bool,
    /// For how long certificates count that it signs.
    pub lifetimes: Lifetimes,
    /// How long a worker may be out of contact before its attempts are given to others.
    pub lost_after: Duration,
    /// Time a program has between the first signal and the kill.
    pub stop_grace: Duration,
    /// What becomes of the attempts of a worker that is out of contact, unless it offers otherwise.
    pub on_disconnect: OnDisconnect,
    /// Entries applied between two snapshots.
    pub snapshot_entries: u64,
    /// What the Raft log is to be kept in, if the data directory is empty; what is there stays as it is. None for the usual.
    pub raft_log: Option<LogKind>,
    /// How feeds are kept that have ended.
    pub feeds: FeedKeeping,
    /// How much of the audit trail is kept.
    pub audit: Keep,
    /// The highest feature level that it says it knows, if that is to be lower than it is: the cluster is then not raised above, and can be
    /// taken back to an older version.
    pub max_feature_level: Option<u32>,
    /// Where it serves metrics and answers probes by plain HTTP, `host:port`; nowhere if none.
    pub metrics: Option<String>,
    /// Pools of machines that come and go, and who makes them.
    pub pools: Vec<PoolConfig>,
}

impl CoordinatorConfig {
    /// The defaults, for a data directory.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            bootstrap: false,
            join: None,
            tls: false,
            insecure: false,
            lifetimes: Lifetimes::default(),
            lost_after: Duration::from_secs(60),
            stop_grace: Duration::from_secs(10),
            on_disconnect: OnDisconnect::default(),
            snapshot_entries: 20_000,
            raft_log: None,
            feeds: FeedKeeping::default(),
            audit: Keep::default(),
            max_feature_level: None,
            metrics: None,
            pools: Vec::new(),
        }
    }

    /// How much it takes part in.
    pub fn knows(&self) -> Knows {
        let all = Knows::all(crate::VERSION);
        Knows {
            level: all.level.min(self.max_feature_level.unwrap_or(u32::MAX)),
            ..all
        }
    }
}

/// A running coordinator.
pub struct CoordinatorNode {
    address: String,
    metrics_address: Option<SocketAddr>,
    engine: Engine,
    feeds: FeedHost,
    peers: Arc<Peers>,
    audit: Option<Arc<AuditTrail>>,
    noting: tokio::task::JoinHandle<()>,
    following: tokio::task::JoinHandle<()>,
    faults: Faults,
    stopping: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    thread: Option<std::thread::JoinHandle<()>>,
    _ownership: Ownership,
}

impl CoordinatorNode {
    /// Starts a coordinator; it serves when this returns. The only member of a group has caught up by then; one of several
    /// serves before it has, because they elect a leader through what they serve.
    ///
    /// # Errors
    /// When its state cannot be read or must not be used, its address not be listened on, or another process runs in its data
    /// directory.
    pub async fn start(config: CoordinatorConfig) -> Result<Self, Fault> {
        let (grace_ms, lost_us) = (config.stop_grace.as_millis(), config.lost_after.as_micros());
        config
            .on_disconnect
            .check(grace_ms as u64, lost_us as u64)
            .map_err(Fault::new)?;
        let ownership = Home::new(&config.data_dir).own()?.ok_or_else(|| {
            Fault::new(format!(
                "another process runs in {}",
                config.data_dir.display()
            ))
        })?;
        let probed = metrics::listen(config.metrics.as_ref()).await?;
        let metrics = CoordinatorMetrics::new()?;
        let listener = TcpListener::bind(&config.listen)
            .await
            .map_err(|error| Fault::new(format!("cannot listen on {}: {error}", config.listen)))?;
        let address = config
            .advertise
            .clone()
            .unwrap_or(listener.local_addr()?.to_string());
        let keys = KeyDir::of(&config.data_dir);
        let secure = tls::wanted(&config.listen, &keys, config.tls, config.insecure)?;
        join(&config, &address).await?;
        let faults = Faults::default();
        let opened = tokio::task::spawn_blocking({
            let (config, address) = (config.clone(), address.clone());
            move || open(&config, &address)
        });
        let Opened {
            mind,
            store,
            found,
            identity,
            alone,
            feeds,
            blobs,
            ledger,
        } = opened
            .await
            .map_err(|error| Fault::new(error.to_string()))??;
        // Who is alone may have run without TLS before: nobody else has to follow.
        let founds = config.bootstrap && alone;
        let coordinator_tls = match secure {
            false => None,
            true => Some(tls::coordinator_tls(
                &keys,
                &identity.cluster_id,
                identity.member_id,
                founds,
                &address,
                config.lifetimes,
            )?),
        };
        let dialers = Dialers::of(coordinator_tls.as_ref().map(|tls| &tls.credentials))?;
        let (engine, inbox) = Engine::new(&config.data_dir, ledger.clone());
        let sender = net::Sender {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
            address: address.clone(),
            holds: net::Holds::default(),
            dialer: dialers.coordinators.clone(),
            feature_level: config.knows().level,
        };
        sender.holds.set(found.holds);
        let peers = Arc::new(Peers::open(
            &config.data_dir,
            &sender.cluster_id,
            sender.member_id,
            config.knows(),
            engine.clone(),
        )?);
        let (members, removed) = members_of(&ledger);
        peers.set_members(&members, removed);
        let feeds = FeedHost::start(
            feeds,
            sender.member_id,
            engine.ledger(),
            dialers.coordinators.clone(),
            config.feeds,
            &metrics,
            faults.reporter(),
        )?;
        // Without TLS nobody has a name.
        let audit = match coordinator_tls {
            None => None,
            Some(_) => Some(AuditTrail::open(
                &config.data_dir.join(AUDIT),
                config.audit,
            )?),
        };
        let sources = Sources::new(sender.member_id, &address, blobs.clone(), &dialers)?;
        let stopping = CancellationToken::new();
        let parts = CoordinatorParts {
            mutations: Arc::new(Requests {
                engine: engine.clone(),
                sources: sources.clone(),
            }),
            ledgers: engine.ledger(),
            fresh: Arc::new(engine.clone()),
            members: peers.clone(),
            surroundings: Arc::new(engine.clone()),
            feeds: Arc::new(feeds.clone()),
            feed_store: Arc::new(feeds.clone()),
            sessions: Arc::new(engine.clone()),
            blobs: Arc::new(BlobHost::of_coordinator(blobs)),
            sources: Arc::new(sources.clone()),
            calls: probed.is_some().then(|| metrics.calls()),
            audit: audit.clone().map(|audit| audit as Arc<dyn Audit>),
            tls: coordinator_tls.clone(),
        };
        let metrics_address = probed.as_ref().and_then(|probed| probed.local_addr().ok());
        if let Some(probed) = probed {
            let view = CoordinatorView::new(&metrics, &engine, &config.data_dir);
            metrics::serve(probed, metrics.registry.clone(), view, &stopping);
        }
        // The others are answered before this member has heard of them: all may be starting at once.
        let report = faults.reporter();
        let stopped = stopping.clone();
        let server = tokio::spawn(async move {
            if let Err(error) =
                net::serve_coordinator(listener, parts, stopped.cancelled_owned()).await
            {
                report(Fault::new(error.to_string()));
            }
        });
        let greeted = peers.greet(&sender).await;
        if let Err(fault) = greeted {
            stopping.cancel();
            drop(server.await);
            return Err(fault);
        }
        let mut links = PeerLinks::new(sender.clone(), {
            let engine = engine.clone();
            move |event| engine.sent(event)
        });
        for (member, address) in peers.addresses() {
            links.meet(member, &address);
        }
        let loop_parts = engine::Parts {
            mind,
            store,
            found,
            feeds: feeds.clone(),
            sources: sources.clone(),
            peers: peers.clone(),
            links,
            sender,
            established: identity.established,
            metrics,
            pools: config.pools.into(),
        };
        let thread = engine.run(inbox, loop_parts, faults.reporter())?;
        if alone {
            engine.caught_up().await;
        }
        if let Some(fault) = faults.now() {
            return Err(fault);
        }
        if let Some(tls) = coordinator_tls {
            let keeper = tls::Keeper::of_coordinator(tls, keys);
            tokio::spawn(keeper.keep(stopping.clone()));
        }
        let noting = tokio::spawn(keep_noting(peers.clone()));
        let following = tokio::spawn(sources.follow(engine.ledger()));
        Ok(Self {
            address,
            metrics_address,
            engine,
            feeds,
            peers,
            audit,
            noting,
            following,
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

    /// Where it serves its metrics, if it does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
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

    /// Ends it: leadership is handed over first, so that nobody waits for an election; then calls are finished, streams told to
    /// go on elsewhere, and the loop ends.
    pub async fn stop(mut self) {
        self.engine.step_down().await;
        self.stopping.cancel();
        // The server ends by itself within its grace.
        drop((&mut self.server).await);
        self.engine.stop();
        self.feeds.stop();
        if let Some(thread) = self.thread.take() {
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
        if let Some(audit) = self.audit.take() {
            drop(tokio::task::spawn_blocking(move || audit.stop()).await);
        }
        self.noting.abort();
        self.following.abort();
        let peers = self.peers.clone();
        drop(tokio::task::spawn_blocking(move || peers.save()).await);
    }
}

/// Reads the audit trail of a coordinator, which may run meanwhile, giving each line to `each`, and checks that nothing was changed in it.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn read_audit(data_dir: &Path, each: impl FnMut(&str)) -> Result<Verified, Fault> {
    let dir = data_dir.join(AUDIT);
    if !dir.is_dir() {
        return Err(Fault::new(format!(
            "there is no audit trail in {}: expected the data directory of a coordinator",
            data_dir.display()
        )));
    }
    Ok(disk::audit::verify(&dir, each)?)
}

/// Becomes a member of a cluster, if the data directory belongs to nobody yet and it was asked for. A try that was cut short goes
/// on where it was.
async fn join(config: &CoordinatorConfig, address: &str) -> Result<(), Fault> {
    let Some(cluster) = &config.join else {
        return Ok(());
    };
    let dir = &config.data_dir;
    // A log without a file that says whose it is: opening it says what is wrong.
    if disk::member::identity(dir)?.is_some() || dir.join("raft").exists() {
        return Ok(());
    }
    let request_id = disk::member::join_request(dir, &uuid::Uuid::new_v4().to_string())?;
    let joined = cluster.join(address, &request_id).await?;
    let identity = Identity {
        cluster_id: joined.cluster_id,
        member_id: joined.member_id,
        established: false,
    };
    disk::member::set_identity(dir, &identity)?;
    Ok(())
}

/// Where the members of a ledger are, and who was removed.
fn members_of(ledger: &Ledger) -> (BTreeMap<u64, String>, Vec<u64>) {
    let (mut members, mut removed) = (BTreeMap::new(), Vec::new());
    for member in ledger.members() {
        if member.remove_time_ms == 0 {
            members.insert(member.member_id, member.address.to_string());
        } else {
            removed.push(member.member_id);
        }
    }
    (members, removed)
}

/// Writes now and then what the others have promised.
async fn keep_noting(peers: Arc<Peers>) {
    loop {
        tokio::time::sleep(NOTING).await;
        let peers = peers.clone();
        drop(tokio::task::spawn_blocking(move || peers.save()).await);
    }
}

/// What is read from a coordinator's disk.
struct Opened {
    mind: Coordinator,
    store: Box<dyn LogStore>,
    found: Found,
    identity: Identity,
    alone: bool,
    feeds: Feeds,
    blobs: Arc<Blobs>,
    ledger: Ledger,
}

fn open(config: &CoordinatorConfig, address: &str) -> Result<Opened, Fault> {
    let directory = |name: &str| -> PathBuf { Path::new(&config.data_dir).join(name) };
    let mut store = raft_log::open(&directory("raft"), config.raft_log, LogConfig::default())?;
    let new_cluster = config.bootstrap.then(|| uuid::Uuid::new_v4().to_string());
    let start = recover::recover(&config.data_dir, store.as_mut(), new_cluster.as_deref())?;
    let alone = recover::is_alone(&start);
    let recover::Start {
        identity,
        recovered,
        ledger,
    } = start;
    recover::check_feature_level(&config.knows(), &recovered, &ledger)?;
    let last = recovered.entries.last();
    let found = Found {
        holds: Promise {
            term: recovered.hard_state.term,
            index: last.map_or(recovered.base.index, |entry| entry.index),
        },
        snapshot: recovered.base.index,
    };
    let settings = coordinator::Config {
        member_id: identity.member_id,
        cluster_id: identity.cluster_id.clone(),
        address: address.to_owned(),
        knows: config.knows(),
        // Another one in every life: reads of an earlier one may still be on their way.
        seed: uuid::Uuid::new_v4().as_u64_pair().0,
        snapshot_entries: config.snapshot_entries,
        lost_after_us: config.lost_after.as_micros() as u64,
        stop_grace_ms: config.stop_grace.as_millis() as u64,
        on_disconnect: config.on_disconnect,
    };
    let mut mind = Coordinator::new(settings, recovered, ledger.clone())
        .map_err(|error| Fault::new(format!("the raft log cannot be used: {error}")))?;
    mind.set_pools(config.pools.iter().map(|pool| pool.pool.clone()).collect());
    let feeds = Feeds::open(&directory("feeds"))?;
    for damage in feeds.damage() {
        tracing::error!("a log is damaged: {damage}");
    }
    let blobs = Arc::new(Blobs::open(&directory("blobs"))?);
    Ok(Opened {
        mind,
        store,
        found,
        identity,
        alone,
        feeds,
        blobs,
        ledger,
    })
}
