//! A container engine of a test's own, which can go down and come back, and be told what others are not.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::machine::{Machine, policy};

/// An engine that can be killed.
pub(crate) struct Daemon {
    home: TempDir,
    arguments: Vec<String>,
    process: Option<Child>,
    engine: Option<&'static Engine>,
}

/// Waiting for an engine to answer ends after this long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Daemon {
    /// One with more arguments than others have; none where there is none to be had, which is said.
    pub(crate) fn start(more: &[&str]) -> Option<Daemon> {
        let skip = |why: &str| println!("SKIPPED, as it needs an engine of its own: {why}");
        if !rustix::process::geteuid().is_root() {
            skip("starting one takes root");
            return None;
        }
        if Command::new("dockerd").arg("--version").output().is_err() {
            skip("there is no dockerd");
            return None;
        }
        // Short, for a socket's address is.
        let home = tempfile::Builder::new()
            .prefix("shoal-e")
            .tempdir_in("/tmp")
            .unwrap();
        let mut daemon = Daemon {
            home,
            arguments: more.iter().map(|&word| word.to_owned()).collect(),
            process: None,
            engine: None,
        };
        match daemon.bring_up() {
            Ok(engine) => {
                daemon.engine = Some(Box::leak(Box::new(engine)));
                Some(daemon)
            }
            Err(error) => {
                skip(&error);
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Starts it, again or for the first time, and waits until it answers.
    pub(crate) fn bring_up(&mut self) -> Result<Engine, String> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        // In a network of its own: without a bridge an engine removes the one that another engine of the machine may have.
        let mut command = Command::new("unshare");
        command
            .args(["--net", "dockerd"])
            .arg(option("data-root", &self.path("data")))
            .arg(option("exec-root", &self.path("exec")))
            .arg(option("pidfile", &self.path("pid")))
            .arg(format!("--host={}", self.host()))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(command.spawn().unwrap());
        let began = Instant::now();
        loop {
            match Engine::reach(Some(self.host())) {
                Ok(engine) => return Ok(engine),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => {
                    let ended = self.process.as_mut().unwrap().try_wait().unwrap();
                    if let Some(status) = ended {
                        return Err(format!("it ends with {status}"));
                    }
                }
            }
        }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    pub(crate) fn kill(&mut self) {
        let helper = self.helper();
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        // Its containerd dies with it. A new engine must not take it for alive, though nobody may have asked for its end yet.
        if let Some(helper) = helper {
            let _ = rustix::process::pidfd_send_signal(&helper, Signal::KILL);
            let mut ended = [PollFd::new(&helper, PollFlags::IN)];
            rustix::event::poll(&mut ended, None).unwrap();
        }
        let _ = std::fs::remove_file(self.path("exec/containerd/containerd.pid"));
    }

    /// The containerd that it started.
    fn helper(&self) -> Option<OwnedFd> {
        let text = std::fs::read_to_string(self.path("exec/containerd/containerd.pid"));
        let pid = Pid::from_raw(text.ok()?.trim().parse().ok()?)?;
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
    }

    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let pid = Pid::from_raw(process.id() as i32).unwrap();
        // One that has ended is as good.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
        process.wait().unwrap();
    }

    pub(crate) fn engine(&self) -> &'static Engine {
        self.engine.unwrap()
    }

    pub(crate) fn machine(&self) -> Machine {
        let data = tempfile::tempdir().unwrap();
        Machine::at(self.engine(), data, policy()).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that is up again ends what a killed one has left.
        if self.process.is_none() {
            let _ = self.bring_up();
        }
        if self.process.is_some() {
            self.stop();
        }
        // It leaves its directory mounted on itself, and it may have left more.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let own: Vec<&str> = own
            .filter(|place| Path::new(place).starts_with(self.home.path()))
            .collect();
        for place in own.into_iter().rev() {
            let _ = rustix::mount::unmount(place, UnmountFlags::DETACH);
        }
    }
}
