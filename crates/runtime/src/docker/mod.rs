//! Steps in containers, by the API of a Docker engine.
//!
//! The same shim as for plain processes is the first process of the container: it writes the feed, keeps the limits, and says how
//! the program ended, whatever the engine does or does not do meanwhile. So of the engine no more is asked than to start containers and to
//! remove them; its logs, exit codes and health checks are not used.
//!
//! Participants: the host, the engine, the shim, and a program that is taken to be **hostile**. It sees of the machine
//! its own directories, what the worker's policy grants, and this program, read-only. It does not see the attempt's directory: what
//! the shim writes, it writes to files that it was given open.
//!
//! What is indeterminate: as with processes, how a program would have ended whose shim was killed. That is asked of the engine
//! ([`EndReason::OomKilled`](crate::EndReason::OomKilled), [`EndReason::EngineStopped`](crate::EndReason::EngineStopped)) before it is called [`EndReason::Gone`](crate::EndReason::Gone).
//!
//! Unlike the rest of this crate this part is asynchronous within: the engine may take its time.

mod policy;

mod image;

mod cache;

mod credentials;

mod carried;

mod container;

mod devices;

mod launch;

mod reconcile;

mod check;

mod firewall;

mod quota;

mod watch;

mod words;

use crate::attempt::{AttemptDir, AttemptState, Stop};
use crate::devices::Device;
use crate::docker::cache::Cache;
use crate::docker::carried::Carried;
use crate::docker::quota::Watched;
use crate::docker::watch::Watch;
use crate::launcher::LaunchError;
use crate::program::{Program, View};
use crate::run_file::RunFile;
use crate::runtime::{Launched, OverQuota, Runtime, Told};
use bollard::query_parameters::KillContainerOptionsBuilder;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use image::{Image, ImageError, PullPolicy};
pub use policy::{Ask, AskedMount, Grant, GrantedMount, Network, Policy, Profile, Refusal};
pub use watch::News;

/// The bridge that steps are on.
const NETWORK: &str = "shoal";
/// How many containers are started at once, for each processor: more only wait for each other.
const STARTS: usize = 2;

/// How long a step waits for an engine that has gone.
const ENGINE_PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked whether it is back.
const ENGINE_AGAIN: Duration = Duration::from_millis(200);

/// How containers are run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DockerConfig {
    /// Where the engine is: `unix:///var/run/docker.sock`, `tcp://…`; none means what `DOCKER_HOST` says, or the usual place.
    pub host: Option<String>,
    /// When images are fetched.
    pub pull: PullPolicy,
    /// Most bytes that fetched images may take, those aside that are in use; none means no bound.
    pub image_cache: Option<u64>,
    /// What steps are granted.
    pub policy: Policy,
    /// Where coordinators serve: steps on the bridge are kept from there.
    pub coordinators: Vec<SocketAddr>,
}

/// Why containers cannot be run on this machine; in words for people.
#[derive(Debug, Error)]
pub enum DockerError {
    /// The engine does not answer.
    #[error("the container engine cannot be used: {0}")]
    Engine(String),
    /// It answers, but is not fit for programs that nobody knows.
    #[error("the container engine is refused: {0}")]
    Unfit(String),
    /// Files of the data directory.
    #[error("data directory: {0}")]
    Directory(#[from] io::Error),
}

/// What the container of an attempt is made of.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its image.
    pub image: Image,
    /// What it is granted.
    pub grant: Grant,
    /// The devices that are its own.
    pub devices: Vec<Device>,
    /// UUID of the cluster, for its label; empty where it is not known.
    pub cluster: String,
    /// Name of the worker, for its label.
    pub worker: String,
}

/// The containers of one worker.
pub struct Docker {
    /// Itself, for what goes on beside.
    own: Weak<Docker>,
    engine: bollard::Docker,
    handle: Handle,
    config: DockerConfig,
    data_dir: PathBuf,
    carried: Carried,
    cache: Cache,
    watch: Watch,
    news: News,
    starts: Semaphore,
    /// The first number of Podman's version; none where the engine is Docker's.
    podman: Option<u32>,
    /// Users in containers are others on the machine.
    maps_users: bool,
    /// Bytes of the machine's memory.
    memory: u64,
    /// When the engine was last seen to go, in microseconds since the Unix epoch; 0 means never.
    lost_us: Arc<AtomicU64>,
    /// Attempts whose end is being found out.
    burying: Mutex<BTreeSet<OsString>>,
    watched: Watched,
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Docker {
    /// Connects to the engine, and sees whether it is fit. `exe` is the running program, whose `shim` subcommand is
    /// [`crate::shim::main`]; `news` is told of attempts to look at.
    ///
    /// # Errors
    /// When there is no engine, or one that programs are not to be trusted to.
    pub async fn open(
        config: DockerConfig,
        exe: &Path,
        data_dir: &Path,
        news: News,
    ) -> Result<Arc<Docker>, DockerError> {
        let handle = Handle::current();
        let engine = check::connect(config.host.as_deref()).await?;
        let facts = check::facts(&engine).await?;
        if config.policy.network == Network::Bridge && facts.podman.is_some() {
            return Err(DockerError::Unfit(
                "Podman keeps steps on a bridge neither from each other nor from what only this machine should reach; start the worker with \
                 `--container-network none`, or with `host` where steps may reach all of it"
                    .to_owned(),
            ));
        }
        if config.policy.network == Network::Bridge {
            check::network(&engine).await?;
            let coordinators = config.coordinators.clone();
            let closed = tokio::task::spawn_blocking(move || firewall::close(&coordinators));
            if let Ok(Err(error)) = closed.await {
                tracing::warn!(
                    "steps in containers may reach this machine's own ports and its cloud's metadata: {error}"
                );
            }
        }
        let data_dir = std::path::absolute(data_dir)?;
        let carried = Carried::make(exe, &data_dir)?;
        let cache = Cache::open(&data_dir, config.image_cache);
        let watch = Watch::new(news.clone())?;
        let lost_us = Arc::<AtomicU64>::default();
        handle.spawn(check::notice_losses(
            engine.clone(),
            Arc::downgrade(&lost_us),
        ));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let docker = Arc::new_cyclic(|own| Docker {
            own: own.clone(),
            watch,
            engine,
            handle,
            config,
            data_dir,
            carried,
            cache,
            news,
            starts: Semaphore::new(STARTS * processors),
            maps_users: facts.maps_users,
            memory: facts.memory,
            podman: facts.podman,
            lost_us,
            burying: Mutex::default(),
            watched: Watched::default(),
        });
        docker.trim_images();
        Ok(docker)
    }

    /// Checks what a step asks for.
    ///
    /// # Errors
    /// The first thing that the worker's policy does not grant.
    pub fn grant(&self, ask: &Ask) -> Result<Grant, Refusal> {
        self.config.policy.grant(ask, self.memory)
    }

    /// Finds the image of that name, and fetches it where the pull policy says so. `progress` is told how far that is.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn image(
        &self,
        name: &str,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Image, ImageError> {
        let (engine, cache, pull) = (&self.engine, &self.cache, self.config.pull);
        let found = image::ensure(engine, cache, name, pull, progress).await;
        let found = match found {
            Err(error) if error.is_silence => {
                self.wait_for_engine().await;
                image::ensure(engine, cache, name, pull, progress).await
            }
            found => found,
        };
        self.trim_images();
        found
    }

    /// Nobody waits for it: to remove a large image takes the engine a while.
    fn trim_images(&self) {
        if let Some(docker) = self.own.upgrade().filter(|docker| docker.cache.is_over()) {
            let trim = async move { docker.cache.trim(&docker.engine).await };
            self.handle.spawn(trim);
        }
    }

    /// What the images take that this worker has fetched, in bytes; layers that several share count for each.
    pub fn fetched_image_bytes(&self) -> u64 {
        self.cache.size_bytes()
    }

    /// Removes the longest unused image that this worker has fetched and no step needs; false if there is none.
    pub async fn give_an_image_up(&self) -> bool {
        self.cache.give_one_up(&self.engine).await
    }

    /// An engine that is being restarted is back within moments: attempts are not worth losing for that.
    async fn wait_for_engine(&self) {
        let began = tokio::time::Instant::now();
        while self.engine.ping().await.is_err() && began.elapsed() < ENGINE_PATIENCE {
            tokio::time::sleep(ENGINE_AGAIN).await;
        }
    }

    /// What is to be told to who starts a worker: of the engine, and of what it lacks.
    pub async fn describe(&self) -> String {
        check::describe(&self.engine).await
    }

    /// Lets the engine send the signal that this process may not.
    fn signal(&self, dir: &AttemptDir, how: Stop) {
        let engine = self.engine.clone();
        let name = container::name(&dir.name().to_string_lossy());
        let signal = match how {
            Stop::Graceful => "SIGTERM",
            Stop::Kill => "SIGUSR1",
        };
        self.handle.spawn(async move {
            let options = KillContainerOptionsBuilder::default()
                .signal(signal)
                .build();
            if let Err(error) = engine.kill_container(&name, Some(options)).await {
                tracing::warn!(container = name, "cannot be stopped: {}", words::of(&error));
            }
        });
    }
}

impl Runtime for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn view(&self) -> View {
        View::Container
    }

    fn launch(
        &self,
        dir: &AttemptDir,
        program: &Program,
        container: Option<Container>,
        told: Told,
    ) -> Launched {
        let (Some(docker), Some(container)) = (self.own.upgrade(), container) else {
            let message = "the attempt has no container".to_owned();
            return Launched::Now(Err(LaunchError::Engine(message)));
        };
        let (dir, program) = (dir.clone(), program.clone());
        self.handle.spawn(async move {
            told(docker.start(&dir, &program, &container).await);
        });
        Launched::Later
    }

    fn look(&self, dir: &AttemptDir) -> io::Result<AttemptState> {
        if self.is_burying(dir) {
            return Ok(AttemptState::Running { pid: 0 });
        }
        let state = dir.state()?;
        if let AttemptState::Running { .. } | AttemptState::Gone = &state
            && let Some(exit) = RunFile::take_exit(dir.path())?
        {
            return Ok(AttemptState::Ended(exit));
        }
        if state == AttemptState::Gone {
            self.bury(dir);
            // Not known to have ended before it is known how; nothing runs, though.
            return Ok(AttemptState::Running { pid: 0 });
        }
        Ok(state)
    }

    fn stop(&self, dir: &AttemptDir, how: Stop) -> io::Result<bool> {
        match dir.stop(how) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.signal(dir, how);
                Ok(true)
            }
            // A shim whose number is not known here: this worker is in a container itself.
            Ok(false) if dir.state()? == (AttemptState::Running { pid: 0 }) => {
                RunFile::ask(dir.path(), how)?;
                self.signal(dir, how);
                Ok(true)
            }
            stopped => stopped,
        }
    }

    fn adopt(&self, kept: &[AttemptDir]) -> io::Result<()> {
        self.handle.block_on(self.reconcile(kept))
    }

    fn over_quota(&self, dir: &AttemptDir) -> Option<OverQuota> {
        self.look_at_disk(dir)
    }

    fn forget(&self, dir: &AttemptDir) -> io::Result<()> {
        self.watched.forget(dir);
        let name = container::name(&dir.name().to_string_lossy());
        match self.handle.block_on(self.remove_in_the_end(&name)) {
            true => {
                // What was too much while it was in use may go now.
                self.trim_images();
                Ok(())
            }
            false => Err(io::Error::other("the container is not removed")),
        }
    }
}
