//! A container engine of a test's own, which can be killed and started again.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use tempfile::TempDir;

use super::{Engine, PATIENCE};

/// An engine with `live-restore`: what it runs does not end with it.
#[derive(Debug)]
pub struct OwnEngine {
    home: TempDir,
    process: Option<Child>,
    engine: Option<Engine>,
}

impl OwnEngine {
    /// Starts one; none where there is none to be had, which is said.
    pub fn start() -> Option<Self> {
        let made = if rustix::process::geteuid().is_root() {
            Self::make()
        } else {
            Err("starting one takes root".to_owned())
        };
        match made {
            Ok(engine) => Some(engine),
            Err(reason) => {
                eprintln!("SKIPPED, as it needs a container engine of its own: {reason}");
                None
            }
        }
    }

    fn make() -> Result<Self, String> {
        // Short, for a socket's address is.
        let home = tempfile::Builder::new()
            .prefix("shoal-e")
            .tempdir_in("/tmp")
            .map_err(|error| error.to_string())?;
        let mut own = Self {
            home,
            process: None,
            engine: None,
        };
        own.bring_up()?;
        own.engine = Some(Engine::at(&own.host())?);
        Ok(own)
    }

    /// Where it is, as `--docker-host` takes it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    /// What speaks to it.
    ///
    /// # Panics
    /// Never: one that was started has it.
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it was started")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Starts it again where it was, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn bring_up(&mut self) -> Result<(), String> {
        let words = |error: std::io::Error| error.to_string();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .map_err(words)?;
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        // In a network of its own: without a bridge an engine removes the one that another engine of the machine may have.
        let mut command = Command::new("unshare");
        command
            .args(["--net", "dockerd"])
            .arg(option("data-root", &self.path("data")))
            .arg(option("exec-root", &self.path("exec")))
            .arg(option("pidfile", &self.path("pid")))
            .arg(format!("--host={}", self.host()))
            .arg("--live-restore")
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(words)?)
            .stderr(log);
        let mut process = command
            .spawn()
            .map_err(|error| format!("dockerd: {error}"))?;
        let began = Instant::now();
        let answers = loop {
            // The command waits by itself for an engine that takes its time.
            match super::engine::docker(&self.host(), &["version"]) {
                Ok(_) => break Ok(()),
                Err(error) if began.elapsed() > PATIENCE => break Err(error),
                Err(_) => {
                    if let Some(status) = process.try_wait().map_err(words)? {
                        break Err(format!("dockerd ends with {status}"));
                    }
                }
            }
        };
        self.process = Some(process);
        answers
    }

    /// Kills it as a crash would. What it runs goes on.
    ///
    /// # Panics
    /// When it was not up.
    pub fn kill(&mut self) {
        let helper = self.helper();
        let mut process = self.process.take().expect("it is up");
        process.kill().expect("it can be killed");
        process.wait().expect("it is our child");
        // Its containerd dies with it. A new engine must not take it for alive, though nobody may have asked for its end yet.
        if let Some(helper) = helper {
            let _ = rustix::process::pidfd_send_signal(&helper, Signal::KILL);
            let mut ended = [PollFd::new(&helper, PollFlags::IN)];
            let _ = rustix::event::poll(&mut ended, None);
        }
        let _ = fs::remove_file(self.path("exec/containerd/containerd.pid"));
    }

    /// The containerd that it started.
    fn helper(&self) -> Option<OwnedFd> {
        let text = fs::read_to_string(self.path("exec/containerd/containerd.pid"));
        let pid = Pid::from_raw(text.ok()?.trim().parse().ok()?)?;
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.process.is_none() {
            let _ = self.bring_up();
        }
        // Containers outlive it: what a failed test has left ends now.
        let host = self.host();
        let left = super::engine::docker(&host, &["ps", "--all", "--quiet"]).unwrap_or_default();
        for container in left.lines() {
            drop(super::engine::docker(&host, &["rm", "--force", container]));
        }
        if let Some(mut process) = self.process.take()
            && let Some(pid) = Pid::from_raw(process.id() as i32)
        {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
            let _ = process.wait();
        }
        // It leaves its directory mounted on itself, and it may have left more.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|place| Path::new(place).starts_with(self.home.path()))
            .collect();
        for place in own.into_iter().rev() {
            let _ = rustix::mount::unmount(place, UnmountFlags::DETACH);
        }
    }
}
