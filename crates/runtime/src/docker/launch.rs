//! From a prepared attempt to a running container, and what goes wrong on the way.
//!
//! ```text
//!  host: run file, feed, socket ── create, start ──> engine ──> shim, first process of the container
//!  host <──────────────────────── connects by the mounted socket ─┘
//!  host ── its number into the run file; then feed and request ──> shim ── starts the program
//! ```
//!
//! Invariant: no number in the run file, no request sent, so no program started. A host that dies before can begin anew.

use crate::attempt::AttemptDir;
use crate::docker::devices::{self, Known};
use crate::docker::{Container, Docker, container, words};
use crate::launcher::LaunchError;
use crate::notify::Reachable;
use crate::program::Program;
use crate::run_file::RunFile;
use crate::shim::request::{self, Request};
use crate::shim::start::needs_a_file;
use bollard::models::SystemInfo;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::Path;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// A started container speaks within moments; one that has not after this long does not run.
const PATIENCE: Duration = Duration::from_secs(60);

impl Docker {
    /// Starts the container of an attempt. When it is there, its program runs, or has ended.
    pub(super) async fn start(
        &self,
        dir: &AttemptDir,
        program: &Program,
        container: &Container,
    ) -> Result<(), LaunchError> {
        let turn = self.starts.acquire().await;
        let _turn = turn.map_err(|error| LaunchError::Engine(error.to_string()))?;
        let Files { run, feed, socket } = self.lay_out(dir, program, container).await?;
        self.watch.add(dir.path()).map_err(LaunchError::Directory)?;
        let name = container::name(&dir.name().to_string_lossy());
        let shim = match self.bring_up(dir, &name, container, &socket).await {
            Ok(shim) => shim,
            Err(error) => {
                self.remove(&name).await;
                drop(run);
                RunFile::unmake(dir.path()).map_err(LaunchError::Directory)?;
                return Err(error);
            }
        };
        let request = Request {
            dir: dir.path().to_path_buf(),
            program: program.clone(),
        };
        let given = tokio::task::spawn_blocking(move || give(shim, &run, &feed, &request)).await;
        let given = given.unwrap_or_else(|error| Err(io::Error::other(error)));
        // Its end, if it could not take it, is found like any other.
        if let Err(error) = given {
            tracing::warn!(attempt = %dir.name().display(), "the shim in the container did not take its attempt: {error}");
        }
        Ok(())
    }

    /// Makes what the container is made with, all that takes files.
    async fn lay_out(
        &self,
        dir: &AttemptDir,
        program: &Program,
        container: &Container,
    ) -> Result<Files, LaunchError> {
        let image_user = &container.image.user;
        let user = container::user(self.config.policy.profile, image_user);
        let opens_up = self.maps_users || !matches!(user.as_str(), "" | "0" | "root" | "0:0");
        let script = needs_a_file(&program.script).then(|| program.script.clone());
        let dir = dir.clone();
        let made = tokio::task::spawn_blocking(move || {
            let run = RunFile::make(dir.path(), None).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => LaunchError::AlreadyLaunched,
                _ => LaunchError::Directory(error),
            })?;
            let files = lay_out(&dir, run, script, opens_up);
            files.map_err(LaunchError::Directory)
        });
        made.await
            .unwrap_or_else(|error| Err(LaunchError::Engine(error.to_string())))
    }

    async fn bring_up(
        &self,
        dir: &AttemptDir,
        name: &str,
        container: &Container,
        socket: &UnixListener,
    ) -> Result<UnixStream, LaunchError> {
        self.create(dir, name, container).await?;
        let started = self.engine.start_container(name, None).await;
        started.map_err(|error| LaunchError::Engine(not_started(&words::of(&error))))?;
        let options = WaitContainerOptionsBuilder::default()
            .condition("not-running")
            .build();
        let mut ended = Box::pin(self.engine.wait_container(name, Some(options)));
        tokio::select! {
            connected = socket.accept() => match connected {
                Ok((shim, _)) => Ok(shim),
                Err(error) => Err(LaunchError::Shim(error)),
            },
            answer = ended.next() => Err(LaunchError::Engine(match answer {
                Some(Err(error)) => format!("the container ended before its program began: {}", words::of(&error)),
                _ => "the container ended before its program began".to_owned(),
            })),
            () = tokio::time::sleep(PATIENCE) => {
                let seconds = PATIENCE.as_secs();
                Err(LaunchError::Engine(format!("the container did not begin within {seconds} s")))
            }
        }
    }

    async fn create(
        &self,
        dir: &AttemptDir,
        name: &str,
        container: &Container,
    ) -> Result<(), LaunchError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let policy = &self.config.policy;
        let devices = match container.devices.as_slice() {
            [] => Vec::new(),
            own => {
                let known = match self.podman {
                    None => Known::of(self.info().await?),
                    Some(version) => Known::of_podman(version).map_err(LaunchError::Engine)?,
                };
                devices::requests(own, &known)
            }
        };
        let (carried, owner) = (&self.carried, &self.data_dir);
        let body = container::body(dir, container, policy, carried, owner, devices);
        let created = self
            .engine
            .create_container(Some(options.clone()), body.clone())
            .await;
        let created = match created {
            // What an earlier daemon left of this very attempt, which never ran.
            Err(error) if words::is_conflict(&error) => {
                self.remove(name).await;
                self.engine.create_container(Some(options), body).await
            }
            Err(error) if words::is_silent(&error) => {
                self.wait_for_engine().await;
                self.engine.create_container(Some(options), body).await
            }
            created => created,
        };
        created
            .map(drop)
            .map_err(|error| LaunchError::Engine(not_started(&words::of(&error))))
    }

    /// What the engine is now: devices may have come since the worker has started.
    async fn info(&self) -> Result<SystemInfo, LaunchError> {
        let info = match self.engine.info().await {
            Err(error) if words::is_silent(&error) => {
                self.wait_for_engine().await;
                self.engine.info().await
            }
            info => info,
        };
        info.map_err(|error| LaunchError::Engine(not_started(&words::of(&error))))
    }

    /// Removes a container with all that is in it; one that runs is killed. Whether it is gone.
    pub(super) async fn remove(&self, name: &str) -> bool {
        is_removed(name, self.try_to_remove(name).await)
    }

    /// The same, and an engine that is away is waited for, however long that takes: nobody would come back to it before the next daemon does.
    pub(super) async fn remove_in_the_end(&self, name: &str) -> bool {
        loop {
            match self.try_to_remove(name).await {
                Err(error) if words::is_silent(&error) => self.wait_for_engine().await,
                removed => return is_removed(name, removed),
            }
        }
    }

    async fn try_to_remove(&self, name: &str) -> Result<(), bollard::errors::Error> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match self.engine.remove_container(name, Some(options)).await {
            // Somebody else removes it just now.
            Err(error) if words::is_missing(&error) || words::is_conflict(&error) => Ok(()),
            removed => removed,
        }
    }
}

/// Whether it is gone; why not is said.
fn is_removed(name: &str, removed: Result<(), bollard::errors::Error>) -> bool {
    if let Err(error) = &removed {
        tracing::warn!(container = name, "cannot be removed: {}", words::of(error));
    }
    removed.is_ok()
}

/// What the engine's more cryptic words mean.
fn not_started(words: &str) -> String {
    let hint = if words.contains("could not select device driver") {
        " (the worker's engine has no NVIDIA runtime, nor knows the GPU by CDI: install the NVIDIA container toolkit)"
    } else if words.contains("bind source path does not exist") {
        " (the engine does not see the worker's files: the data directory must have the same path on the engine's machine)"
    } else if words.contains("unknown or invalid runtime name") {
        " (the runtime that the worker's settings name is not known to its engine)"
    } else {
        ""
    };
    format!("the container could not be started: {words}{hint}")
}

struct Files {
    run: RunFile,
    feed: OwnedFd,
    socket: UnixListener,
}

fn lay_out(
    dir: &AttemptDir,
    run: RunFile,
    script: Option<String>,
    opens_up: bool,
) -> io::Result<Files> {
    // What the program's directories become open to, others on the machine stay shut out of.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700))?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    let flags = flags | OFlags::NOFOLLOW;
    let feed = rustix::fs::open(dir.feed(), flags, Mode::from_raw_mode(0o600))?;
    let launch = dir.launch();
    if launch.exists() {
        fs::remove_dir_all(&launch)?;
    }
    DirBuilder::new().mode(0o755).create(&launch)?;
    fs::set_permissions(&launch, Permissions::from_mode(0o755))?;
    if let Some(script) = script {
        let path = launch.join("script");
        fs::write(&path, script)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    let path = launch.join("socket");
    let socket = {
        let reachable = Reachable::new(&path)?;
        UnixListener::bind(&reachable.path)?
    };
    // Whoever the image's user is; nobody else gets as far as this directory.
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    if opens_up {
        for part in [dir.repository(), dir.inputs(), dir.outputs()] {
            open_up(&part)?;
        }
    }
    Ok(Files { run, feed, socket })
}

/// Lets everybody read and write what is below, and run what can be run.
fn open_up(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(());
    }
    let mode = found.permissions().mode();
    let runs = found.is_dir() || mode & 0o111 != 0;
    let opened = mode | if runs { 0o777 } else { 0o666 };
    fs::set_permissions(path, Permissions::from_mode(opened))?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            open_up(&entry?.path())?;
        }
    }
    Ok(())
}

/// Gives the shim its attempt. The socket has served then, and nobody in the container finds it again.
fn give(shim: UnixStream, run: &RunFile, feed: &OwnedFd, request: &Request) -> io::Result<()> {
    let credentials = shim.peer_cred()?;
    let shim: BlockingStream = shim.into_std()?;
    shim.set_nonblocking(false)?;
    shim.set_write_timeout(Some(PATIENCE))?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    run.write_shim(pid.unwrap_or(0))?;
    fs::remove_file(request.dir.join("launch/socket"))?;
    request::send_file(&shim, feed.as_fd())?;
    request.send(&shim, run.as_fd())?;
    let metrics = request.program.metrics.as_ref();
    if let Some(metrics) = metrics.filter(|metrics| !metrics.devices.is_empty()) {
        // One that says nothing stands in for a board that is not there: its shim waits for one.
        let board = fs::File::open(&metrics.board).or_else(|_| fs::File::open("/dev/null"))?;
        request::send_file(&shim, board.as_fd())?;
    }
    Ok(())
}
