//! The directory of one attempt: everything that host and shim know of each other.
//!
//! ```text
//! <execution-uuid>.<attempt>/
//!   root/{repository,inputs,outputs,config}   what the program sees as /valohai
//!   shim.lock     made at launch; locked as long as the shim lives; see `run_file`
//!   feed          frames of what the program printed, appended
//!   exit.json     how it ended: what `shim.lock` becomes, last
//!   launch/       what a container begins with; only there
//! ```
//!
//! In time: `shim.lock ≤ feed ≤ exit.json`. `exit.json` exists only when no process of the program does.

use crate::program::Exit;
use crate::run_file::{Holder, RunFile};
use crate::sys;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The directory of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptDir {
    path: PathBuf,
}

/// What an attempt's directory says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// It was never launched.
    New,
    /// Its shim lives.
    Running {
        /// The shim's process.
        pid: u32,
    },
    /// It ended, and this is how.
    Ended(Exit),
    /// Its shim died without saying how it ended; processes of the program may be left. See [`AttemptDir::bury`].
    Gone,
}

/// How to stop a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ask it; kill what is left after the program's grace. Asking again changes nothing.
    Graceful,
    /// Kill it now.
    Kill,
}

impl Stop {
    const fn signal(self) -> Signal {
        match self {
            Stop::Graceful => Signal::TERM,
            Stop::Kill => Signal::USR1,
        }
    }

    /// How the run file says it.
    pub(crate) const fn letter(self) -> u8 {
        match self {
            Stop::Graceful => b'a',
            Stop::Kill => b'k',
        }
    }

    /// What the run file says; `None` if it says nothing.
    pub(crate) const fn of_letter(letter: u8) -> Option<Stop> {
        match letter {
            b'a' => Some(Stop::Graceful),
            b'k' => Some(Stop::Kill),
            _ => None,
        }
    }
}

impl AttemptDir {
    /// The attempt at `path`, which is absolute and need not exist.
    pub(crate) fn at(path: PathBuf) -> AttemptDir {
        AttemptDir { path }
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name, which notifications carry.
    pub fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// What the program sees as `/valohai`.
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// The source tree, the program's working directory.
    pub fn repository(&self) -> PathBuf {
        self.path.join("root/repository")
    }

    /// The inputs, one directory each.
    pub fn inputs(&self) -> PathBuf {
        self.path.join("root/inputs")
    }

    /// What the program leaves behind.
    pub fn outputs(&self) -> PathBuf {
        self.path.join("root/outputs")
    }

    /// The configuration files.
    pub fn config(&self) -> PathBuf {
        self.path.join("root/config")
    }

    /// What a container begins with: a socket, and sometimes a script. Attempts of plain processes have none.
    pub(crate) fn launch(&self) -> PathBuf {
        self.path.join("launch")
    }

    /// Whether any shim was ever given this attempt. If none was, its program never ran.
    pub fn was_given(&self) -> bool {
        RunFile::has_exit(&self.path) || RunFile::has_shim(&self.path)
    }

    /// The frames of what the program printed.
    pub fn feed(&self) -> PathBuf {
        self.path.join("feed")
    }

    /// What the attempt is doing. Costs a few system calls; the shim does not notice.
    pub fn state(&self) -> io::Result<AttemptState> {
        // Two things last a moment: a launch, from the lock to the pid in it, and an end, between two looks.
        for _ in 0..1000 {
            if let Some(exit) = RunFile::exit(&self.path)? {
                return Ok(exit.map_or(AttemptState::Gone, AttemptState::Ended));
            }
            match RunFile::holder(&self.path)? {
                Holder::Known(pid) => return Ok(AttemptState::Running { pid }),
                Holder::Unknown => std::thread::yield_now(),
                // It may have ended between the two looks.
                nobody => match RunFile::exit(&self.path)? {
                    Some(_) => {}
                    None if nobody == Holder::NoFile => return Ok(AttemptState::New),
                    None => return Ok(AttemptState::Gone),
                },
            }
        }
        Err(io::Error::other(
            "the lock is held, but its holder writes no pid",
        ))
    }

    /// Stops the program. `false` if it was not running. Returns at once: the end is told by `exit.json`.
    pub fn stop(&self, how: Stop) -> io::Result<bool> {
        let AttemptState::Running { pid } = self.state()? else {
            return Ok(false);
        };
        let Some(process) = open_process(pid)? else {
            return Ok(false);
        };
        // Only now is it sure that the descriptor means the shim and not a later process with its number.
        if self.state()? != (AttemptState::Running { pid }) {
            return Ok(false);
        }
        // The signal only says "look": the shim may have ended this attempt meanwhile and run another.
        match RunFile::ask(&self.path, how) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            asked => asked?,
        }
        match sys::queue_signal(process.as_fd(), how.signal().as_raw()) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn open_process(pid: u32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid as i32) else {
        return Ok(None);
    };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
