//! Ending the processes of a place, and none other.
//!
//! Every process of a place carries the place's path in its environment: commands because the harness puts it there, shims because
//! they are children of commands, steps' programs because Shoal marks them with their attempt's directory.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Kinds of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `shoal` as a person or a service manager starts it.
    Command,
    /// What stands between it and the programs: shims, and the process that forks them.
    Shim,
    /// A step's program and all that it started.
    Program,
}

/// A process of a place, held by a handle that cannot come to mean another one.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) pid: Pid,
    handle: OwnedFd,
}

/// The processes whose environment has `mark` in it.
pub(super) fn marked(mark: &Path) -> Vec<Held> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids =
        entries.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?));
    let hold = |pid: Pid| {
        // The handle first: what is read afterwards is said of the process that the handle means.
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
        contains(&environment, mark.as_os_str().as_bytes()).then_some(Held { pid, handle })
    };
    pids.filter_map(hold).collect()
}

/// What a process of a place is.
pub(super) fn kind(pid: Pid) -> Kind {
    let read =
        |file: &str| fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default();
    let holds = |bytes: &[u8], start: &[u8]| {
        bytes
            .split(|byte| *byte == 0)
            .any(|part| part.starts_with(start))
    };
    if holds(&read("environ"), b"SHOAL_ATTEMPT=") {
        Kind::Program
    } else if holds(&read("cmdline"), b"shim") {
        Kind::Shim
    } else {
        Kind::Command
    }
}

/// Kills these processes and waits until they are dead.
pub(super) fn kill(processes: &[Held], deadline: Instant) {
    for process in processes {
        // One that has ended already is as dead as it can be.
        let _ = pidfd_send_signal(&process.handle, Signal::KILL);
    }
    for process in processes {
        ended(process.handle.as_fd(), deadline);
    }
}

/// Waits until a handle can be read: until a process has ended, or a pipe has something. False when the deadline came first.
pub(super) fn ended(handle: BorrowedFd<'_>, deadline: Instant) -> bool {
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = Timespec {
            tv_sec: rest.as_secs() as i64,
            tv_nsec: i64::from(rest.subsec_nanos()),
        };
        match poll(
            &mut [PollFd::from_borrowed_fd(handle, PollFlags::IN)],
            Some(&rest),
        ) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("cannot wait for a process: {error}"),
        }
    }
}

/// A handle of a child that has not been waited for.
pub(super) fn handle(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(pid as i32).expect("a child has a number");
    pidfd_open(pid, PidfdFlags::empty()).expect("a child that was not waited for can be held")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
