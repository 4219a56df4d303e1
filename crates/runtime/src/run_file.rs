//! The file by which an attempt is run: first a lock, last the exit.
//!
//! ```text
//! shim.tmp ── launch ──> shim.lock ── the end ──> exit.json ── retire ──> shim.tmp, of a later attempt
//! ```
//!
//! It is one inode with room for the exit from the beginning, so that a full disk cannot take the exit of a program, and
//! so that a short program costs as few changes to the file system as can be. It begins with a header whose fields are
//! written in place, each by itself, and the exit is written behind it; then the whole is one JSON object:
//!
//! ```text
//! {"stop":"?","shim":"      4711","main":"             4712 1234567890",
//! "attempt":"0193….1","reason":…}
//! ```
//!
//! `stop` is what the host asks for: `ask` or `kill` by their first letters; `shim` is the shim's pid, `main` the main
//! process's pid and start in clock ticks; `?` where not yet known. The name of the attempt is there because after a power
//! cut the bytes of an earlier one may show, which are not this one's exit.

use crate::attempt::{Stop, open_process};
use crate::beneath;
use crate::procfs::{self, Process};
use crate::program::Exit;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const SPARE: &str = "shim.tmp";
const LOCK: &str = "shim.lock";
const EXIT: &str = "exit.json";

/// Bytes that are reserved: more than the longest exit has.
const ROOM: u64 = 4096;
/// Bytes of the header, and where its fields are.
const HEADER: usize = 75;
const HEADER_START: &[u8; 9] = b"{\"stop\":\"";
const STOP_FIELD: Range<usize> = 9..10;
const SHIM_FIELD: Range<usize> = 20..30;
const MAIN_FIELD: Range<usize> = 40..72;

/// The locked file of an attempt that runs.
#[derive(Debug)]
pub(crate) struct RunFile {
    file: OwnedFd,
}

/// Who holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The file is not there.
    NoFile,
    /// The file is there, and nobody holds it.
    Nobody,
    /// Someone who has not written its pid yet.
    Unknown,
    /// The shim of that pid.
    Known(u32),
}

/// The content of `exit.json`.
#[derive(Serialize, Deserialize)]
struct ExitRecord {
    attempt: String,
    #[serde(flatten)]
    exit: Exit,
}

impl RunFile {
    /// Makes the file of the attempt at `dir` and locks it: the one launch. `AlreadyExists` if there was one. `shim` is
    /// the pid of the shim that it is for, where that is known.
    pub(crate) fn make(dir: &Path, shim: Option<u32>) -> io::Result<RunFile> {
        let dir = beneath::open_dir(dir)?;
        if rustix::fs::statat(&dir, EXIT, AtFlags::empty()).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = match rename(&dir, SPARE, LOCK) {
            Ok(()) => rustix::fs::openat(&dir, LOCK, flags, mode)?,
            Err(Errno::NOENT) => {
                let flags = flags | OFlags::CREATE | OFlags::EXCL;
                let file = rustix::fs::openat(&dir, LOCK, flags, mode)?;
                reserve(&file)?;
                file
            }
            Err(error) => return Err(error.into()),
        };
        // Blocks only while the shim of an earlier attempt, which has said its last word, closes the file.
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        let file = RunFile { file };
        file.write_header(shim)?;
        Ok(file)
    }

    /// Undoes [`make`](Self::make) when nothing was started.
    pub(crate) fn unmake(dir: &Path) -> io::Result<()> {
        Ok(rename(&beneath::open_dir(dir)?, LOCK, SPARE)?)
    }

    /// The file as it came from the host, locked.
    pub(crate) fn from_host(file: OwnedFd) -> RunFile {
        RunFile { file }
    }

    /// Locks the file that a dead shim left.
    pub(crate) fn inherit(dir: &Path) -> io::Result<RunFile> {
        let dir = beneath::open_dir(dir)?;
        // There is an exit if a power cut took its content; and whatever it says, it is not this attempt's.
        match rename(&dir, EXIT, LOCK) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::EXIST) => rustix::fs::unlinkat(&dir, EXIT, AtFlags::empty())?,
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, LOCK, flags, Mode::empty())?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let file = RunFile { file };
        let mut start = [0; HEADER_START.len()];
        let read = rustix::io::pread(&file, &mut start, 0)?;
        if start[..read] != *HEADER_START {
            file.write_header(None)?;
        }
        Ok(file)
    }

    /// Makes the file of an attempt that has ended ready for a later one in the same directory.
    pub(crate) fn recycle(dir: &OwnedFd) -> io::Result<()> {
        Ok(rename(dir, EXIT, SPARE)?)
    }

    fn write_header(&self, shim: Option<u32>) -> io::Result<()> {
        let shim = shim.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        let header = format!(
            "{{\"stop\":\"?\",\"shim\":\"{shim:>10}\",\"main\":\"{:>32}\",\n",
            "?"
        );
        self.write_at(header.as_bytes(), 0)
    }

    /// Says which process is the program's main one, which has just been started.
    pub(crate) fn write_main(&self, main: Pid) -> io::Result<()> {
        let Some(process) = procfs::process(main) else {
            return Ok(());
        };
        let field = format!("{} {}", main.as_raw_nonzero(), process.start_ticks);
        self.write_at(format!("{field:>32}").as_bytes(), MAIN_FIELD.start)
    }

    /// What the host asks for, if it asks for anything.
    pub(crate) fn asked(&self) -> Option<Stop> {
        let mut letter = [0; STOP_FIELD.end - STOP_FIELD.start];
        rustix::io::pread(&self.file, &mut letter, STOP_FIELD.start as u64).ok()?;
        Stop::of_letter(letter[0])
    }

    /// Asks for a stop, on the host's side; the shim looks when it is given a signal. An error if there is no shim.
    pub(crate) fn ask(dir: &Path, how: Stop) -> io::Result<()> {
        let dir = beneath::open_dir(dir)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, LOCK, flags, Mode::empty())?;
        let file = RunFile { file };
        match (file.asked(), how) {
            // What is to be killed is not asked any more.
            (Some(Stop::Kill), Stop::Graceful) => Ok(()),
            _ => file.write_at(&[how.letter()], STOP_FIELD.start),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: usize) -> io::Result<()> {
        match rustix::io::pwrite(&self.file, bytes, offset as u64)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Makes `exit.json` appear in `dir`, the attempt's, and unlocks it.
    pub(crate) fn commit(self, dir: impl AsFd, attempt: &str, exit: &Exit) -> io::Result<()> {
        self.write_exit(attempt, exit)?;
        Ok(rename(dir, LOCK, EXIT)?)
    }

    /// Writes the exit behind the header. A shim that does not see the directory leaves it at that: see [`take_exit`](Self::take_exit).
    pub(crate) fn write_exit(&self, attempt: &str, exit: &Exit) -> io::Result<()> {
        let record = ExitRecord {
            attempt: attempt.to_owned(),
            exit: exit.clone(),
        };
        // The object was opened by the header.
        let bytes = serde_json::to_vec(&record)?;
        self.write_at(&bytes[1..], HEADER)?;
        Ok(rustix::fs::ftruncate(
            &self.file,
            (HEADER + bytes.len() - 1) as u64,
        )?)
    }

    /// Makes `exit.json` of a file in which a shim has written its exit and nothing else any more; whether it has.
    pub(crate) fn take_exit(dir: &Path) -> io::Result<Option<Exit>> {
        let Some(exit) = read_exit(&dir.join(LOCK), dir)?.flatten() else {
            return Ok(None);
        };
        rename(&beneath::open_dir(dir)?, LOCK, EXIT)?;
        Ok(Some(exit))
    }

    /// Says whose file it is, on the host's side, before the shim is given it. 0 is a shim whose number nobody here can know.
    pub(crate) fn write_shim(&self, pid: u32) -> io::Result<()> {
        self.write_at(format!("{pid:>10}").as_bytes(), SHIM_FIELD.start)
    }

    /// Whether a shim was ever given the file of the attempt at `dir`.
    pub(crate) fn has_shim(dir: &Path) -> bool {
        RunFile::shim(dir).is_some()
    }

    /// Whether the attempt at `dir` has ended, however.
    pub(crate) fn has_exit(dir: &Path) -> bool {
        rustix::fs::stat(dir.join(EXIT)).is_ok()
    }

    /// How the attempt at `dir` ended; the inner `None` if there is an exit but it is not this attempt's.
    pub(crate) fn exit(dir: &Path) -> io::Result<Option<Option<Exit>>> {
        read_exit(&dir.join(EXIT), dir)
    }

    /// Who runs the attempt at `dir`.
    pub(crate) fn holder(dir: &Path) -> io::Result<Holder> {
        let file = match fs::File::open(dir.join(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::NoFile),
            Err(error) => return Err(error),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Holder::Nobody),
            Err(Errno::WOULDBLOCK) => Ok(RunFile::shim(dir).map_or(Holder::Unknown, Holder::Known)),
            Err(error) => Err(error.into()),
        }
    }

    /// The pid of the shim, alive or dead, once it is known.
    pub(crate) fn shim(dir: &Path) -> Option<u32> {
        field(dir, SHIM_FIELD)?.parse().ok()
    }

    /// The main process, if it is still the one that the shim started.
    pub(crate) fn main(dir: &Path) -> Option<Process> {
        let field = field(dir, MAIN_FIELD)?;
        let (pid, start) = field.split_once(' ')?;
        let pid: u32 = pid.parse().ok()?;
        // Held open while it is looked at, so that its number is not given to another meanwhile.
        let _held = open_process(pid).ok()??;
        let process = procfs::process(Pid::from_raw(pid as i32)?)?;
        (process.start_ticks.to_string() == start).then_some(process)
    }
}

impl AsFd for RunFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The name of an attempt's directory.
pub(crate) fn attempt_name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The exit in the file at `path`; the inner `None` if it holds none of the attempt at `dir`.
fn read_exit(path: &Path, dir: &Path) -> io::Result<Option<Option<Exit>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let record = serde_json::from_slice::<ExitRecord>(&bytes).ok();
    let own = record.filter(|record| record.attempt == attempt_name(dir));
    Ok(Some(own.map(|record| record.exit)))
}

fn field(dir: &Path, field: Range<usize>) -> Option<String> {
    let bytes = fs::read(dir.join(LOCK)).ok()?;
    let text = std::str::from_utf8(bytes.get(field)?).ok()?;
    Some(text.trim_start().to_owned())
}

fn rename(dir: impl AsFd, from: &str, to: &str) -> Result<(), Errno> {
    let dir = dir.as_fd();
    match rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
        // A file system without that flag: ours are the only ones who rename here.
        Err(Errno::INVAL) => rustix::fs::renameat(dir, from, dir, to),
        result => result,
    }
}

fn reserve(file: &OwnedFd) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, ROOM) {
        // A file system without reservation: zeros take the room as well.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            rustix::io::pwrite(file, &[0; ROOM as usize], 0)?;
            Ok(())
        }
        result => Ok(result?),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::program::{EndReason, View};

    #[test]
    fn fields_are_written_apart_and_the_whole_is_json() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        assert_eq!(RunFile::holder(dir).unwrap(), Holder::NoFile);
        let file = RunFile::make(dir, None).unwrap();
        assert_eq!(RunFile::holder(dir).unwrap(), Holder::Unknown);
        drop(file);
        RunFile::unmake(dir).unwrap();
        let file = RunFile::make(dir, Some(u32::MAX)).unwrap();
        file.write_main(rustix::process::getpid()).unwrap();
        assert_eq!(file.asked(), None);
        RunFile::ask(dir, Stop::Graceful).unwrap();
        assert_eq!(file.asked(), Some(Stop::Graceful));
        RunFile::ask(dir, Stop::Kill).unwrap();
        RunFile::ask(dir, Stop::Graceful).unwrap();
        assert_eq!(file.asked(), Some(Stop::Kill));
        assert_eq!(RunFile::holder(dir).unwrap(), Holder::Known(u32::MAX));
        assert_eq!(RunFile::main(dir).unwrap().pid, rustix::process::getpid());
        assert!(RunFile::exit(dir).unwrap().is_none());
        let exit = Exit {
            reason: EndReason::StartFailed {
                message: "m".repeat(1024),
            },
            code: None,
            signal: None,
            started_us: u64::MAX,
            ended_us: u64::MAX,
            oom: false,
            record_count: u64::MAX,
            feed_bytes: u64::MAX,
            view: View::Namespace,
        };
        file.commit(beneath::open_dir(dir).unwrap(), &attempt_name(dir), &exit)
            .unwrap();
        assert_eq!(RunFile::exit(dir).unwrap(), Some(Some(exit)));
        assert_eq!(RunFile::holder(dir).unwrap(), Holder::NoFile);
        let bytes = fs::read(dir.join(EXIT)).unwrap();
        assert!((bytes.len() as u64) < ROOM);
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["shim"], u32::MAX.to_string());
        assert!(RunFile::ask(dir, Stop::Kill).is_err(), "it has ended");
    }
}
