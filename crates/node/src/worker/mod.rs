//! The worker role: its mind, its attempts on the disk, its server and its link to a coordinator, wired.

mod activity;
mod attempts;
mod cache;
mod checksum;
mod container;
mod devices;
mod engine;
pub(crate) mod fetch;
mod hands;
mod prepare;
mod room;
mod standing;
mod stock;
mod uplink;
mod usage;
mod wildcard;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use contract::link::{Device, DisconnectPolicy, Grants, Offer};
use coordinator::OnDisconnect;
use disk::blobs::Blobs;
use feed::WriterLimits;
use pki::Dialer;
use runtime::devices::Inventory;
use runtime::docker::{Docker, DockerConfig, Network};
use runtime::{Launcher, NotifySocket, Processes, Runtime};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use worker::program::Machine;
use worker::{Config, Worker};

use self::activity::Activities;
use self::attempts::Attempts;
use self::cache::BlobCache;
use self::container::Containers;
use self::engine::Engine;
use self::fetch::{Fetched, Fetcher};
use self::hands::Hands;
use self::prepare::{Kitchen, Measured};
use self::standing::Standing;
pub(crate) use self::stock::Stock;
use self::usage::Holdings;
use crate::blobs::BlobHost;
use crate::faults::Faults;
use crate::home::{Home, Ownership};
use crate::metrics::{self, WorkerMetrics, WorkerView};
use crate::tls::{self, Dialers, JoinToken, KeyDir};
use crate::{Fault, VERSION};

/// Most bytes that are kept of what an attempt prints, unless told otherwise.
pub const LOG_LIMIT: u64 = 4 << 30;

/// What steps are run in.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum RuntimeChoice {
    /// Plain processes of the machine.
    #[default]
    Process,
    /// Containers of their image.
    Docker(Box<DockerConfig>),
}

/// How a worker is run.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Where it keeps attempts and blobs.
    pub data_dir: PathBuf,
    /// Addresses of coordinators, `host:port`.
    pub coordinators: Vec<String>,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where it serves its blobs, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Address at which others reach it, if it is not the one it listens on.
    pub advertise: Option<String>,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// Environments it serves.
    pub environments: Vec<String>,
    /// What becomes of its attempts when it is out of contact; none means what the coordinators are configured to.
    pub on_disconnect: Option<OnDisconnect>,
    /// Whether it was made for a pool of its environment, and may be ended when it has nothing to do.
    pub provisioned: bool,
    /// Bytes to keep free on the disk of its data directory: with less it takes no new attempts. By default a twentieth of the
    /// disk, at most 1 GiB.
    pub disk_reserve: Option<u64>,
    /// Most bytes that blobs may take which it has only fetched; none means no bound, but some go when its disk lacks room.
    pub blob_cache: Option<u64>,
    /// What it runs steps in.
    pub runtime: RuntimeChoice,
    /// Where its devices are told from.
    pub devices: Inventory,
    /// Where it is told from how busy its devices are: a file, or a program that prints; none means the driver, where that tells of them.
    pub device_readings: Option<PathBuf>,
    /// How often it and its attempts are measured; zero means never.
    pub measure_every: Duration,
    /// Most bytes that are kept of what an attempt prints; none means all.
    pub log_limit: Option<u64>,
    /// What lets it join a cluster with TLS, the first time.
    pub join_token: Option<JoinToken>,
    /// Whether to do without TLS, also off loopback.
    pub insecure: bool,
    /// Where it serves metrics and answers probes by plain HTTP, `host:port`; nowhere if none.
    pub metrics: Option<String>,
}

impl WorkerConfig {
    /// The defaults, for a data directory and coordinators: named after the machine, a slot a processor.
    pub fn new(data_dir: PathBuf, coordinators: Vec<String>) -> Self {
        let machine = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let slots = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        Self {
            data_dir,
            coordinators,
            name: machine,
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            slots,
            environments: Vec::new(),
            on_disconnect: None,
            provisioned: false,
            disk_reserve: None,
            blob_cache: None,
            runtime: RuntimeChoice::default(),
            devices: Inventory::Driver,
            device_readings: None,
            measure_every: Duration::from_secs(1),
            log_limit: Some(LOG_LIMIT),
            join_token: None,
            insecure: false,
            metrics: None,
        }
    }
}

/// A running worker.
pub struct WorkerNode {
    address: String,
    metrics_address: Option<SocketAddr>,
    engine: Engine,
    faults: Faults,
    stopping: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    thread: Option<std::thread::JoinHandle<()>>,
    _ownership: Ownership,
}

impl WorkerNode {
    /// Starts a worker: takes back what runs already, then offers itself.
    ///
    /// # Errors
    /// When its data directory cannot be used, its address not be listened on, or another process runs in its data directory.
    pub async fn start(config: WorkerConfig) -> Result<Self, Fault> {
        let ownership = Home::new(&config.data_dir).own()?.ok_or_else(|| {
            Fault::new(format!(
                "another process runs in {}",
                config.data_dir.display()
            ))
        })?;
        let probed = metrics::listen(config.metrics.as_ref()).await?;
        let metrics = WorkerMetrics::new(config.slots)?;
        let listener = TcpListener::bind(&config.listen)
            .await
            .map_err(|error| Fault::new(format!("cannot listen on {}: {error}", config.listen)))?;
        let address = config
            .advertise
            .clone()
            .unwrap_or(listener.local_addr()?.to_string());
        let keys = KeyDir::of(&config.data_dir);
        let asked = config.join_token.is_some();
        let credentials = match tls::wanted(&config.listen, &keys, asked, config.insecure)? {
            false => None,
            true => Some(
                tls::worker_credentials(
                    &keys,
                    &config.name,
                    &config.coordinators,
                    config.join_token.as_ref(),
                )
                .await?,
            ),
        };
        let dialers = Dialers::of(credentials.as_ref())?;
        let (to_coordinators, to_nodes) = (dialers.coordinators, dialers.nodes);
        let incarnation = ownership.next_incarnation()?;
        let faults = Faults::default();
        let pool = tokio::runtime::Handle::current();
        let (engine, inbox) = Engine::channel();
        let opened = tokio::task::spawn_blocking({
            let (config, address, engine) = (config.clone(), address.clone(), engine.clone());
            let fetched = Some(metrics.fetched());
            move || {
                open(
                    &config,
                    address,
                    incarnation,
                    pool,
                    (to_nodes, fetched),
                    &engine,
                )
            }
        });
        let Opened {
            mind,
            attempts,
            kitchen,
            socket,
            standing,
            cluster,
            devices: found,
        } = opened
            .await
            .map_err(|error| Fault::new(error.to_string()))??;
        let blobs = kitchen.blobs.clone();
        let cache = kitchen.cache.clone();
        let activities = kitchen.activities.clone();
        let containers = kitchen.containers.as_ref();
        let docker = containers.map(|containers| containers.docker.clone());
        let hands = Hands::new(
            engine.clone(),
            kitchen,
            attempts.directories(),
            attempts.runtime(),
            tokio::runtime::Handle::current(),
        );
        let stopping = CancellationToken::new();
        uplink::listen(socket, engine.clone(), stopping.clone())?;
        if let Some(credentials) = credentials.clone() {
            let keeper = tls::Keeper::of_worker(credentials, config.coordinators.clone(), keys);
            tokio::spawn(keeper.keep(stopping.clone()));
        }
        let uplink = uplink::open(
            to_coordinators,
            config.coordinators,
            &cluster,
            engine.clone(),
            stopping.clone(),
            faults.reporter(),
        );
        let parts = engine::Parts {
            mind,
            attempts,
            hands,
            uplink,
            standing,
            metrics: metrics.clone(),
        };
        let thread = engine::start(parts, inbox, faults.reporter())?;
        let metrics_address = probed.as_ref().and_then(|probed| probed.local_addr().ok());
        let calls = probed.is_some().then(|| metrics.calls());
        if let Some(probed) = probed {
            let view = WorkerView::new(&metrics, Stock::of(blobs.clone()), &config.data_dir);
            metrics::serve(probed, metrics.registry.clone(), view, &stopping);
        }
        if !config.measure_every.is_zero() {
            let holdings = Holdings {
                blobs: Stock::of(blobs.clone()),
                images: docker.clone(),
                activities,
            };
            tokio::spawn(usage::watch(
                (config.data_dir.clone(), holdings),
                config.measure_every,
                (config.device_readings, config.devices.clone()),
                engine.clone(),
                stopping.clone(),
            ));
        }
        tokio::spawn(room::watch(
            config.data_dir,
            config.disk_reserve,
            (cache, docker),
            engine.clone(),
            stopping.clone(),
        ));
        tokio::spawn(devices::watch(
            config.devices,
            found,
            engine.clone(),
            stopping.clone(),
        ));
        let report = faults.reporter();
        let stopped = stopping.clone();
        let server = tokio::spawn(async move {
            let blobs = Arc::new(BlobHost::of_worker(blobs, metrics.sent()));
            let stopped = stopped.cancelled_owned();
            let served = net::serve_worker(listener, blobs, calls, credentials, stopped).await;
            if let Err(error) = served {
                report(Fault::new(error.to_string()));
            }
        });
        Ok(Self {
            address,
            metrics_address,
            engine,
            faults,
            stopping,
            server,
            thread: Some(thread),
            _ownership: ownership,
        })
    }

    /// Address at which it serves its blobs.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it serves its metrics, if it does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Waits until a fault ends it; for ever when none does.
    pub async fn faulted(&self) -> Fault {
        self.faults.wait().await
    }

    /// The fault that ended it, if one did.
    pub fn fault(&self) -> Option<Fault> {
        self.faults.now()
    }

    /// Ends it. Programs of steps go on; the next worker in this data directory takes them back.
    pub async fn stop(mut self) {
        self.engine.stop();
        if let Some(thread) = self.thread.take() {
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
        self.stopping.cancel();
        drop((&mut self.server).await);
    }
}

/// What is read from a worker's disk.
struct Opened {
    mind: Worker,
    attempts: Attempts,
    kitchen: Kitchen,
    socket: NotifySocket,
    standing: Standing,
    cluster: worker::Cluster,
    devices: Vec<Device>,
}

/// What coordinators are told of what is granted, so that they refuse at once what nobody would run.
fn grants(runtime: &RuntimeChoice) -> Option<Grants> {
    let RuntimeChoice::Docker(settings) = runtime else {
        return None;
    };
    let policy = &settings.policy;
    Some(Grants {
        mounts: policy.mounts.iter().map(ToString::to_string).collect(),
        host_network: policy.may_use_host_network || policy.network == Network::Host,
        images: policy.images.clone(),
        digests_only: policy.needs_digest,
    })
}

/// The addresses behind `host:port`; those that nobody knows just now are left out.
fn addresses(names: &[String]) -> Vec<SocketAddr> {
    let found = names.iter().filter_map(|name| name.to_socket_addrs().ok());
    found.flatten().collect()
}

fn open(
    config: &WorkerConfig,
    address: String,
    incarnation: u64,
    pool: tokio::runtime::Handle,
    (to_nodes, fetched): (Dialer, Fetched),
    engine: &Engine,
) -> Result<Opened, Fault> {
    let socket = NotifySocket::bind(&config.data_dir)?;
    let executable = std::env::current_exe()?;
    let mut docker = None;
    let runtime: Arc<dyn Runtime> = match &config.runtime {
        RuntimeChoice::Process => {
            let launcher = Launcher::new(&executable, &config.data_dir)?;
            Arc::new(Processes::new(launcher))
        }
        RuntimeChoice::Docker(settings) => {
            let engine = engine.clone();
            let news = Arc::new(move |name| {
                // A loop that has ended hears nothing; the next daemon looks by itself.
                let _ = engine.notified(name);
            });
            let mut settings = DockerConfig::clone(settings);
            settings.coordinators = addresses(&config.coordinators);
            let opened = Docker::open(settings, &executable, &config.data_dir, news);
            let opened = pool
                .block_on(opened)
                .map_err(|error| Fault::new(error.to_string()))?;
            docker = Some(opened.clone());
            opened
        }
    };
    let name = runtime.name().to_owned();
    let blobs = Arc::new(Blobs::open(&config.data_dir.join("blobs"))?);
    let seed = incarnation
        ^ config
            .name
            .bytes()
            .fold(0, |seed: u64, byte| seed.rotate_left(8) ^ u64::from(byte));
    let cache = Arc::new(BlobCache::new(blobs.clone(), config.blob_cache));
    // The bound may have been another one before.
    cache.trim();
    let fetcher = Fetcher::new(blobs.clone(), pool.clone(), seed, to_nodes, fetched)?;
    let fetcher = fetcher.caching(cache.clone());
    let local_ip = address
        .rsplit_once(':')
        .map(|(host, _)| host.to_owned())
        .unwrap_or_default();
    let devices = match devices::look(&config.devices) {
        Ok(devices) => devices,
        // What runs goes on; a driver that comes to its senses is asked again and again.
        Err(error) if matches!(config.devices, Inventory::Driver) => {
            tracing::warn!("the devices are not known now: {error}");
            Vec::new()
        }
        Err(error) => return Err(Fault::new(error.to_string())),
    };
    let (cpu_millis, memory_bytes) = runtime::devices::capacity();
    let machine = Machine {
        has_devices: config.devices != Inventory::Driver || !devices.is_empty(),
        worker: config.name.clone(),
        version: VERSION.to_owned(),
        runtime: name.clone(),
        local_ip,
    };
    let view = runtime.view();
    let attempts = Attempts::open(&config.data_dir.join("attempts"), runtime)?;
    let (standing, cluster) = Standing::open(&config.data_dir)?;
    let (on_disconnect, stop_after_ms) = match config.on_disconnect {
        None => (DisconnectPolicy::Unspecified, 0),
        Some(OnDisconnect::KeepRunning) => (DisconnectPolicy::KeepRunning, 0),
        Some(OnDisconnect::Wait) => (DisconnectPolicy::Wait, 0),
        Some(OnDisconnect::StopAfter { ms }) => (DisconnectPolicy::StopAfter, ms),
    };
    let mind = Worker::new(Config {
        name: config.name.clone(),
        incarnation,
        instance_id: uuid::Uuid::new_v4().into_bytes(),
        offer: Offer {
            address,
            slot_count: config.slots,
            environments: config.environments.clone(),
            version: VERSION.to_owned(),
            runtime: name,
            draining: false,
            on_disconnect: on_disconnect.into(),
            stop_after_ms,
            disk_full: false,
            devices: devices.clone(),
            cpu_millis,
            memory_bytes,
            grants: grants(&config.runtime),
            provisioned: config.provisioned,
            keeps_copies: true,
        },
        cluster: cluster.clone(),
        limits: WriterLimits::default(),
    });
    Ok(Opened {
        mind,
        attempts,
        kitchen: Kitchen {
            blobs,
            cache,
            fetcher,
            machine,
            view,
            measured: Measured {
                every: config.measure_every,
                board: usage::board(&std::path::absolute(&config.data_dir)?),
            },
            log_limit: config.log_limit,
            activities: Activities::default(),
            containers: docker.map(|docker| Containers {
                docker,
                pool,
                worker: config.name.clone(),
                cluster: RwLock::new(cluster.id.clone()),
            }),
        },
        socket,
        standing,
        cluster,
        devices,
    })
}
