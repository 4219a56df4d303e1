//! Starting attempts: by a shim that is free, by a new one from the spawner, or by one of our own where that fails.

use crate::attempt::{AttemptDir, AttemptState};
use crate::notify::NotifySocket;
use crate::program::{Program, View};
use crate::run_file::RunFile;
use crate::shim::request::{self, Request};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// A spawner answers within a millisecond; one that has not after this long is replaced.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a program was not launched. Nothing of it runs.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// An attempt is launched once; this one was.
    #[error("the attempt was launched before")]
    AlreadyLaunched,
    /// The attempt's directory cannot be used.
    #[error("attempt directory: {0}")]
    Directory(#[source] io::Error),
    /// No shim could be started.
    #[error("cannot start a shim: {0}")]
    Shim(#[source] io::Error),
    /// The container engine did not do it; in words for people.
    #[error("{0}")]
    Engine(String),
}

/// Most shims that are kept while they have nothing to do.
const MAX_FREE: usize = 32;

/// Gives each attempt a shim of its own for as long as it runs. Keeps one spawner, whose end does not touch the shims it made;
/// so neither does ours, but that those go which have nothing to do.
#[derive(Debug)]
pub struct Launcher {
    exe: PathBuf,
    data_dir: PathBuf,
    shims: Mutex<Shims>,
    /// Shims started without a spawner: our children, to be asked for when they end.
    direct: Mutex<Vec<Child>>,
}

impl Launcher {
    /// A launcher for the daemon of `data_dir`. `exe` is the program whose `shim` subcommand is [`crate::shim::main`].
    pub fn new(exe: &Path, data_dir: &Path) -> io::Result<Launcher> {
        let launcher = Launcher {
            exe: exe.to_path_buf(),
            data_dir: std::path::absolute(data_dir)?,
            shims: Mutex::default(),
            direct: Mutex::new(Vec::new()),
        };
        // Started now so that the first step need not wait. If it fails, the first launch tries again and says why not.
        lock(&launcher.shims).spawner = launcher.start_spawner().ok();
        Ok(launcher)
    }

    /// Where programs that want a namespace will find their directories on this machine: tries it out. What is written
    /// into `root/config` depends on it.
    pub fn probe_view(&self) -> io::Result<View> {
        let output = Command::new(&self.exe)
            .args(["shim", "--probe"])
            .arg(&self.data_dir)
            .stdin(Stdio::null())
            .output()?;
        Ok(match output.stdout.as_slice() {
            b"namespace\n" => View::Namespace,
            _ => View::Direct,
        })
    }

    /// Starts an attempt. Returns before the program runs; that it could not be started is told like every other end. A
    /// missing `program.notify` becomes the socket of our data directory.
    pub fn launch(&self, dir: &AttemptDir, program: &Program) -> Result<(), LaunchError> {
        let mut request = Request {
            dir: dir.path().to_path_buf(),
            program: program.clone(),
        };
        let notify = &mut request.program.notify;
        notify.get_or_insert_with(|| NotifySocket::path(&self.data_dir));
        let mut shims = lock(&self.shims);
        shims.gather_free();
        let namespace = program.want_namespace;
        // Again while it was one that was killed with nothing to do.
        while let Some(shim) = shims
            .take(namespace)
            .or_else(|| self.fork(&mut shims, namespace))
        {
            let file = make_run_file(dir, shim.pid)?;
            if request.send(&shim.socket, file.as_fd()).is_ok() {
                shims.busy.push(shim);
                return Ok(());
            }
            // It starts nothing before it has all of the request. When it is gone, so is its hold on the lock.
            drop((shim, file));
            RunFile::unmake(dir.path()).map_err(LaunchError::Directory)?;
        }
        drop(shims);
        self.launch_direct(dir, &request.program)
    }

    /// A new shim from the spawner, which is replaced once if it was killed.
    fn fork(&self, shims: &mut Shims, namespace: bool) -> Option<Shim> {
        for _ in 0..2 {
            if shims.spawner.is_none() {
                shims.spawner = self.start_spawner().ok();
            }
            let forked = shims.spawner.as_ref()?.fork(namespace);
            match forked {
                Ok(shim) => return Some(shim),
                Err(_) => shims.spawner = None,
            }
        }
        None
    }

    /// Starts the shim of an attempt as a child of this process: slower, but it needs no spawner.
    pub fn launch_direct(&self, dir: &AttemptDir, program: &Program) -> Result<(), LaunchError> {
        let bytes = serde_json::to_vec(program).map_err(|e| LaunchError::Directory(e.into()))?;
        let path = dir.path().join(request::PROGRAM);
        request::write_private(&path, &bytes).map_err(LaunchError::Directory)?;
        let mut child = self
            .shim("--attempt", Stdio::null(), Stdio::piped())
            .and_then(|mut command| command.arg(dir.path()).spawn())
            .map_err(LaunchError::Shim)?;
        // It answers with one byte when it holds the lock, and with the end of the file if it cannot.
        let mut answer = Vec::new();
        let held = match child.stdout.take() {
            Some(stdout) => stdout.take(1).read_to_end(&mut answer),
            None => Ok(0),
        };
        if matches!(held, Ok(1)) {
            let mut children = lock(&self.direct);
            children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            children.push(child);
            return Ok(());
        }
        let _ = child.wait();
        match dir.state().map_err(LaunchError::Directory)? {
            AttemptState::New => {
                let message = format!("see {}", self.log().display());
                Err(LaunchError::Shim(io::Error::other(message)))
            }
            _ => Err(LaunchError::AlreadyLaunched),
        }
    }

    fn start_spawner(&self) -> io::Result<Spawner> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let process = self
            .shim("--serve", theirs.into(), Stdio::null())?
            .spawn()?;
        let socket = UnixStream::from(ours);
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Spawner { socket, process })
    }

    fn shim(&self, mode: &str, stdin: Stdio, stdout: Stdio) -> io::Result<Command> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut command = Command::new(&self.exe);
        command.args(["shim", mode]);
        command.stdin(stdin).stdout(stdout).stderr(log);
        Ok(command)
    }

    /// What shims have to say that cannot be said in an attempt.
    fn log(&self) -> PathBuf {
        self.data_dir.join("shim.log")
    }

    /// The spawner's process, for tests that kill it.
    pub fn spawner_pid(&self) -> Option<u32> {
        let shims = lock(&self.shims);
        shims.spawner.as_ref().map(|s| s.process.id())
    }
}

fn make_run_file(dir: &AttemptDir, shim: u32) -> Result<RunFile, LaunchError> {
    RunFile::make(dir.path(), Some(shim)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => LaunchError::AlreadyLaunched,
        _ => LaunchError::Directory(error),
    })
}

/// The lock's holder cannot leave what it guards half changed, so a panic there does not matter here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shims of this daemon.
#[derive(Debug, Default)]
struct Shims {
    spawner: Option<Spawner>,
    /// Those that were given an attempt and have not said that they are free again.
    busy: Vec<Shim>,
    /// The one that was busy last comes last: its memory is still warm.
    free: Vec<Shim>,
}

impl Shims {
    /// Notes which of the busy ones have become free, and forgets those that are gone.
    fn gather_free(&mut self) {
        let mut at = 0;
        while let Some(shim) = self.busy.get(at) {
            match request::heard_free(&shim.socket) {
                Ok(false) => at += 1,
                Ok(true) => self.free.push(self.busy.remove(at)),
                Err(_) => drop(self.busy.remove(at)),
            }
        }
        let surplus = self.free.len().saturating_sub(MAX_FREE);
        self.free.drain(..surplus);
    }

    /// A free one; those that have been in a namespace stay among themselves.
    fn take(&mut self, namespace: bool) -> Option<Shim> {
        let found = self
            .free
            .iter()
            .rposition(|shim| shim.namespace == namespace);
        found.map(|at| self.free.remove(at))
    }
}

/// A shim that the spawner made. It ends when our end of the socket closes and nothing runs.
#[derive(Debug)]
struct Shim {
    pid: u32,
    socket: UnixStream,
    /// Its programs have a `/valohai` of their own.
    namespace: bool,
}

/// The process that forks shims. It ends when our end of the socket closes.
#[derive(Debug)]
struct Spawner {
    socket: UnixStream,
    process: Child,
}

impl Spawner {
    fn fork(&self, namespace: bool) -> io::Result<Shim> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(PATIENCE))?;
        let pid = request::ask_for_shim(&self.socket, theirs.as_fd())?;
        Ok(Shim {
            pid,
            socket: ours,
            namespace,
        })
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // It would end by itself when the socket closes, unless it hangs; and nothing of it needs to be tidied up.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
