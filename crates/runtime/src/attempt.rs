//! The directory of one attempt: everything that host and shim know of each other.
//!
//! ```text
//! <execution-uuid>.<attempt>/
//!   root/{repository,inputs,outputs,config}   what the program sees as /valohai
//!   shim.lock     made once, at launch; locked as long as the shim lives; holds its pid
//!   exit.tmp      room for exit.json, taken before the program starts
//!   feed          frames of what the program printed, appended
//!   program.pid   the main process and when it started, to find what a killed shim left
//!   exit.json     how it ended; appears whole, and last
//! ```
//!
//! In time: `shim.lock ≤ feed ≤ program.pid ≤ exit.json`. `exit.json` exists only when no process of the program does.

use crate::program::{EndReason, Exit};
use crate::{beneath, procfs};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    pub(crate) const fn signal(self) -> Signal {
        match self {
            Stop::Graceful => Signal::TERM,
            Stop::Kill => Signal::USR1,
        }
    }
}

/// One attempt found on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Name of its directory.
    pub name: OsString,
    /// The directory.
    pub dir: AttemptDir,
    /// What it says.
    pub state: AttemptState,
}

/// Finds all attempts in a directory, by name: what a daemon does before it offers any capacity.
pub fn scan(attempts: &Path) -> io::Result<Vec<Scanned>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(attempts)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let dir = AttemptDir::new(&entry.path())?;
            let state = dir.state()?;
            let name = entry.file_name();
            found.push(Scanned { name, dir, state });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

impl AttemptDir {
    /// The attempt at `path`, which need not exist yet.
    pub fn new(path: &Path) -> io::Result<AttemptDir> {
        let path = std::path::absolute(path)?;
        Ok(AttemptDir { path })
    }

    /// Makes the directory and what the program will see in it. An error if it exists.
    pub fn create(path: &Path) -> io::Result<AttemptDir> {
        let dir = AttemptDir::new(path)?;
        fs::create_dir(&dir.path)?;
        fs::create_dir(dir.root())?;
        for part in [dir.repository(), dir.inputs(), dir.outputs(), dir.config()] {
            fs::create_dir(part)?;
        }
        Ok(dir)
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

    /// The frames of what the program printed.
    pub fn feed(&self) -> PathBuf {
        self.path.join("feed")
    }

    /// What the attempt is doing. Costs a few system calls; the shim does not notice.
    pub fn state(&self) -> io::Result<AttemptState> {
        if let Some(exit) = self.exit() {
            return Ok(AttemptState::Ended(exit));
        }
        // Whoever launches makes the lock file and locks it in the next call, and the shim writes its pid soon after:
        // a few tries bridge both.
        for _ in 0..1000 {
            match self.lock_holder()? {
                Holder::NoFile => return Ok(AttemptState::New),
                Holder::Known(pid) => return Ok(AttemptState::Running { pid }),
                Holder::Unknown => std::thread::yield_now(),
                // It may have ended between the two looks.
                Holder::Nobody => {
                    return Ok(self.exit().map_or(AttemptState::Gone, AttemptState::Ended));
                }
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
        match rustix::process::pidfd_send_signal(&process, how.signal()) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends an attempt that is [`AttemptState::Gone`]: kills what its program left, cuts a torn frame off the feed, and
    /// writes `exit.json`. For one that has ended, gives how; for any other, an error.
    ///
    /// What was left is found by the main process's group, and by the variable `SHOAL_ATTEMPT` in the environment; a
    /// process that left the group *and* wiped its environment is not found.
    pub fn bury(&self) -> io::Result<Exit> {
        match self.state()? {
            AttemptState::Ended(exit) => return Ok(exit),
            AttemptState::Gone => {}
            AttemptState::New | AttemptState::Running { .. } => {
                return Err(io::Error::other(
                    "only an attempt whose shim died is buried",
                ));
            }
        }
        self.kill_leftovers()?;
        let (record_count, feed_bytes) = self.cut_feed()?;
        let modified = |name| fs::metadata(self.path.join(name)).and_then(|m| m.modified());
        let exit = Exit {
            reason: EndReason::Gone,
            code: None,
            signal: None,
            started_us: modified("shim.lock").map_or(0, micros),
            ended_us: micros(SystemTime::now()),
            oom: false,
            record_count,
            feed_bytes,
            view: Default::default(),
        };
        ExitFile::reserve(beneath::open_dir(&self.path)?, Reserve::Again)?.commit(&exit)?;
        Ok(exit)
    }

    /// Removes the directory and all in it.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }

    /// Makes the lock file and locks it: the one launch of this attempt. `AlreadyExists` if there was one.
    pub(crate) fn take_lock(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let lock = rustix::fs::open(self.lock_path(), flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    }

    /// Undoes [`take_lock`](Self::take_lock) when the shim was not started.
    pub(crate) fn forget_lock(&self) -> io::Result<()> {
        fs::remove_file(self.lock_path())
    }

    /// The variable by which processes of this attempt are recognised.
    pub(crate) fn mark(&self) -> Vec<u8> {
        [MARK.as_bytes(), b"=", self.path.as_os_str().as_bytes()].concat()
    }

    /// The pid of the shim, alive or dead, once it is known.
    pub(crate) fn lock_pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.lock_path()).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("shim.lock")
    }

    fn exit(&self) -> Option<Exit> {
        let bytes = fs::read(self.path.join(EXIT)).ok()?;
        // Not readable means that a power cut took its content with the machine and all its processes: then it is gone.
        serde_json::from_slice(&bytes).ok()
    }

    fn lock_holder(&self) -> io::Result<Holder> {
        let lock = match fs::File::open(self.lock_path()) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::NoFile),
            Err(error) => return Err(error),
        };
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Holder::Nobody),
            Err(Errno::WOULDBLOCK) => Ok(self.lock_pid().map_or(Holder::Unknown, Holder::Known)),
            Err(error) => Err(error.into()),
        }
    }

    fn kill_leftovers(&self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.leftovers()?;
            if left.is_empty() {
                return Ok(());
            }
            for pid in left {
                let Some(process) = open_process(pid.as_raw_nonzero().get() as u32)? else {
                    continue;
                };
                let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
                let wait = Timespec {
                    tv_sec: 1,
                    tv_nsec: 0,
                };
                let mut ended = [PollFd::new(&process, PollFlags::IN)];
                rustix::event::poll(&mut ended, Some(&wait))?;
            }
            if Instant::now() > deadline {
                let message = "processes of the program do not die";
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }

    fn leftovers(&self) -> io::Result<Vec<Pid>> {
        let main = fs::read(self.path.join(MAIN)).ok();
        let main: Option<MainProcess> = main.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // The number of the group is only trusted while its leader is there and started when it should have.
        let group = main.filter(|main| {
            let now = Pid::from_raw(main.pid).and_then(procfs::process);
            now.is_some_and(|now| now.start_ticks == main.start_ticks)
        });
        let mark = self.mark();
        let mut all = procfs::processes()?;
        all.retain(|p| {
            let in_group = group.as_ref().is_some_and(|main| main.pid == p.group);
            !p.zombie && (in_group || procfs::has_variable(p.pid, &mark))
        });
        Ok(all.into_iter().map(|p| p.pid).collect())
    }

    /// Cuts the feed after its last whole frame; gives its records and bytes.
    fn cut_feed(&self) -> io::Result<(u64, u64)> {
        let mut tail = crate::FeedTail::new(self, 0, 0);
        while tail.read(1 << 20)?.count > 0 {}
        if tail.next_record() > 0 {
            let feed = fs::OpenOptions::new().write(true).open(self.feed())?;
            feed.set_len(tail.offset())?;
        }
        Ok((tail.next_record(), tail.offset()))
    }
}

enum Holder {
    NoFile,
    Nobody,
    Unknown,
    Known(u32),
}

const EXIT: &str = "exit.json";
const EXIT_TEMPORARY: &str = "exit.tmp";
const MAIN: &str = "program.pid";
/// The environment variable by which processes of an attempt are recognised; its value is the directory.
pub(crate) const MARK: &str = "SHOAL_ATTEMPT";

/// The content of `program.pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MainProcess {
    pub(crate) pid: i32,
    pub(crate) start_ticks: u64,
}

impl MainProcess {
    pub(crate) fn write(self, dir: impl AsFd) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, MAIN, flags, Mode::from_raw_mode(0o600))?;
        write_all(&file, &serde_json::to_vec(&self)?)
    }
}

/// Room for `exit.json`, so that a full disk cannot take the exit of a program.
pub(crate) struct ExitFile {
    dir: OwnedFd,
    file: OwnedFd,
}

/// Whether the room may be there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// No: an attempt is run once.
    Once,
    /// Yes: a dead shim's.
    Again,
}

impl ExitFile {
    /// Longest `exit.json`.
    const ROOM: u64 = 4096;

    pub(crate) fn reserve(dir: OwnedFd, how: Reserve) -> io::Result<ExitFile> {
        let mut flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        if how == Reserve::Once {
            flags |= OFlags::EXCL;
        }
        let mode = Mode::from_raw_mode(0o644);
        let file = rustix::fs::openat(&dir, EXIT_TEMPORARY, flags, mode)?;
        let reserved = rustix::fs::fallocate(
            &file,
            rustix::fs::FallocateFlags::empty(),
            0,
            ExitFile::ROOM,
        );
        match reserved {
            Ok(()) => {}
            // A file system without reservation: zeros take the room as well.
            Err(Errno::OPNOTSUPP) => write_all(&file, &[0; ExitFile::ROOM as usize])?,
            Err(error) => return Err(error.into()),
        }
        Ok(ExitFile { dir, file })
    }

    /// Makes `exit.json` appear.
    pub(crate) fn commit(self, exit: &Exit) -> io::Result<()> {
        let bytes = serde_json::to_vec(exit)?;
        rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Start(0))?;
        write_all(&self.file, &bytes)?;
        rustix::fs::ftruncate(&self.file, bytes.len() as u64)?;
        rustix::fs::renameat(&self.dir, EXIT_TEMPORARY, &self.dir, EXIT)?;
        Ok(())
    }
}

pub(crate) fn write_all(file: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = rustix::io::retry_on_intr(|| rustix::io::write(&file, bytes))?;
        bytes = &bytes[n..];
    }
    Ok(())
}

/// Microseconds since the Unix epoch.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u64
}

fn open_process(pid: u32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid as i32) else {
        return Ok(None);
    };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
