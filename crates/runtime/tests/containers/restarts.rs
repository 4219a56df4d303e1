//! The engine goes down under running containers, and comes back. Each test has an engine of its own for that; where this cannot be, it says
//! that it is skipped.

use crate::engine::Engine;
use crate::harness::tests;
use crate::machine::{Machine, Ran, policy, script};
use runtime::{AttemptDir, AttemptState, EndReason, Stop};
use rustix::event::{PollFd, PollFlags};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

tests![
    an_engine_that_stops_lets_programs_save_their_work,
    an_engine_that_is_killed_and_comes_back_takes_its_containers_along,
    with_live_restore_nothing_happens,
];

/// An engine that can be killed.
struct Daemon {
    home: TempDir,
    live_restore: bool,
    process: Option<Child>,
    engine: Option<&'static Engine>,
}

/// Waiting for an engine to answer ends after this long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Daemon {
    /// None where there is none to be had, which is said.
    fn start(live_restore: bool) -> Option<Daemon> {
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
            live_restore,
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
    fn bring_up(&mut self) -> Result<Engine, String> {
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
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if self.live_restore {
            command.arg("--live-restore");
        }
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

    fn kill(&mut self) {
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

    fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let pid = Pid::from_raw(process.id() as i32).unwrap();
        // One that has ended is as good.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
        process.wait().unwrap();
    }

    fn machine(&self) -> Machine {
        let data = tempfile::tempdir().unwrap();
        Machine::at(self.engine.unwrap(), data, policy()).unwrap()
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

const SAVES: &str = "trap 'echo saved; exit 0' TERM\necho ready\nwhile [ ! -e go ]; do sleep 0.05; done\necho went on\nexit 5";

fn begin(machine: &Machine) -> AttemptDir {
    let dir = machine.start("long.1.7", &script(SAVES));
    machine.wait_for_output(&dir, "ready");
    dir
}

fn let_go(machine: &Machine, dir: AttemptDir) -> Ran {
    std::fs::write(dir.repository().join("go"), "").unwrap();
    machine.finish(dir)
}

fn an_engine_that_stops_lets_programs_save_their_work() {
    let Some(mut daemon) = Daemon::start(false) else {
        return;
    };
    let machine = daemon.machine();
    let dir = begin(&machine);
    daemon.stop();
    let ran = machine.finish(dir);
    assert_eq!(ran.exit.reason, EndReason::EngineStopped);
    assert_eq!(ran.stdout(), "ready\nsaved\n");
    daemon.bring_up().unwrap();
    machine.forget(ran);
    assert_eq!(machine.containers(), Vec::<String>::new());
    // The same runtime goes on with the engine that came back.
    let ran = machine.run("again.1.7", &script("echo again"));
    assert_eq!(ran.stdout(), "again\n");
    machine.forget(ran);
}

fn an_engine_that_is_killed_and_comes_back_takes_its_containers_along() {
    let Some(mut daemon) = Daemon::start(false) else {
        return;
    };
    let machine = daemon.machine();
    let dir = begin(&machine);
    daemon.kill();
    // The shim needs no engine: the program runs, is followed, and could be stopped.
    let state = machine.runtime.look(&dir).unwrap();
    assert!(matches!(state, AttemptState::Running { .. }), "{state:?}");
    daemon.bring_up().unwrap();
    let ran = machine.finish(dir);
    assert_eq!(
        ran.exit.reason,
        EndReason::EngineStopped,
        "{}",
        ran.status()
    );
    machine.forget(ran);
    assert_eq!(machine.containers(), Vec::<String>::new());
}

fn with_live_restore_nothing_happens() {
    let Some(mut daemon) = Daemon::start(true) else {
        return;
    };
    let machine = daemon.machine();
    let dir = begin(&machine);
    daemon.kill();
    daemon.bring_up().unwrap();
    let ran = let_go(&machine, dir);
    assert_eq!(
        (ran.exit.reason.clone(), ran.exit.code),
        (EndReason::Exited, Some(5))
    );
    assert_eq!(ran.stdout(), "ready\nwent on\n");
    machine.forget(ran);
    // Gracefully as well, and one can be stopped while there is no engine at all.
    let dir = machine.attempts.create("other.1.7").unwrap();
    machine
        .launch(&dir, &script(SAVES), &Default::default())
        .unwrap();
    machine.wait_for_output(&dir, "ready");
    daemon.stop();
    assert!(machine.runtime.stop(&dir, Stop::Graceful).unwrap());
    let ran = machine.finish(dir);
    assert_eq!(
        (ran.exit.reason.clone(), ran.stdout().as_str()),
        (EndReason::Stopped, "ready\nsaved\n")
    );
    daemon.bring_up().unwrap();
    machine.forget(ran);
    assert_eq!(machine.containers(), Vec::<String>::new());
}
