//! A host for tests: launches programs, waits for what shims announce, reads their feeds.

use feed::{Record, Stream};
use runtime::{
    AttemptDir, AttemptState, Attempts, Exit, FeedTail, Launcher, NotifySocket, Program,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use std::os::fd::AsFd;
use std::path::PathBuf;
use tempfile::TempDir;

/// Longer than anything here takes on the slowest machine: a test that waits this long has failed.
const DEADLINE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

pub(crate) struct Host {
    pub(crate) launcher: Launcher,
    pub(crate) attempts: Attempts,
    pub(crate) data: TempDir,
    notify: NotifySocket,
}

impl Host {
    pub(crate) fn new() -> Host {
        Host::at(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(data: TempDir) -> Host {
        let exe = std::env::current_exe().unwrap();
        Host {
            launcher: Launcher::new(&exe, data.path()).unwrap(),
            attempts: Attempts::open(&data.path().join("attempts")).unwrap(),
            notify: NotifySocket::bind(data.path()).unwrap(),
            data,
        }
    }

    pub(crate) fn dir(&self, name: &str) -> AttemptDir {
        self.attempts.create(name).unwrap()
    }

    /// Starts a script under a name.
    pub(crate) fn start(&self, name: &str, program: &Program) -> AttemptDir {
        let dir = self.dir(name);
        self.launcher.launch(&dir, program).unwrap();
        dir
    }

    /// Runs a script to its end.
    pub(crate) fn run(&self, name: &str, program: &Program) -> Ran {
        let dir = self.start(name, program);
        self.finish(dir)
    }

    /// Waits for the end of an attempt, and reads its feed.
    pub(crate) fn finish(&self, dir: AttemptDir) -> Ran {
        let exit = self.wait_for(|| match dir.state().unwrap() {
            AttemptState::Ended(exit) => Some(exit),
            AttemptState::Running { .. } => None,
            other => panic!("{other:?}"),
        });
        let mut tail = FeedTail::new(&dir, 0, 0);
        let records = read_all(&mut tail);
        assert_eq!(exit.record_count, records.len() as u64);
        assert_eq!(exit.feed_bytes, tail.offset());
        assert_eq!(
            dir.feed().metadata().unwrap().len(),
            tail.offset(),
            "a torn frame"
        );
        Ran { dir, exit, records }
    }

    /// Asks `look` now and after each datagram, until it answers.
    pub(crate) fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            let mut fds = [PollFd::new(&self.notify, PollFlags::IN)];
            let n = rustix::event::poll(&mut fds, Some(&DEADLINE)).unwrap();
            assert_eq!(n, 1, "nothing came in time");
            while self.notify.receive().unwrap().is_some() {}
        }
    }

    /// Waits until the program has printed `text`; gives the reader as it then is.
    pub(crate) fn wait_for_output(&self, dir: &AttemptDir, text: &str) -> FeedTail {
        let mut tail = FeedTail::new(dir, 0, 0);
        let mut seen = String::new();
        self.wait_for(|| {
            let records = read_all(&mut tail);
            seen.push_str(&String::from_utf8(joined(&records, Stream::Stdout)).unwrap());
            seen.contains(text).then_some(())
        });
        tail
    }
}

/// An attempt that has ended.
pub(crate) struct Ran {
    pub(crate) dir: AttemptDir,
    pub(crate) exit: Exit,
    pub(crate) records: Vec<Record>,
}

impl Ran {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(joined(&self.records, Stream::Stdout)).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(joined(&self.records, Stream::Stderr)).unwrap()
    }

    pub(crate) fn status(&self) -> String {
        String::from_utf8(joined(&self.records, Stream::Status)).unwrap()
    }
}

pub(crate) fn joined(records: &[Record], stream: Stream) -> Vec<u8> {
    let of_stream = records.iter().filter(|record| record.stream == stream);
    of_stream
        .flat_map(|record| record.data.iter().copied())
        .collect()
}

pub(crate) fn read_all(tail: &mut FeedTail) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let batch = tail.read(1 << 20).unwrap();
        if batch.is_empty() {
            return records;
        }
        records.extend(feed::frames(&batch.frames).map(|frame| frame.unwrap().to_record()));
    }
}

/// A program with the PATH of this process and no namespace.
pub(crate) fn script(script: &str) -> Program {
    Program {
        script: script.to_owned(),
        pass_env: vec!["PATH".to_owned()],
        grace_ms: 60_000,
        ..Program::default()
    }
}

/// Waits until a process has ended (it may still be a zombie), whoever its parent is.
pub(crate) fn wait_until_dead(pid: i32) {
    let Ok(process) = rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty())
    else {
        return;
    };
    let mut fds = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    let n = rustix::event::poll(&mut fds, Some(&DEADLINE)).unwrap();
    assert_eq!(n, 1, "process {pid} does not end");
}

/// Whether a process is there and not a zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
    state.is_some_and(|state| !matches!(state, b'Z' | b'X'))
}

/// A FIFO by which a script can be held: it waits at `read x <NAME` until [`open`](Gate::open).
pub(crate) struct Gate {
    pub(crate) path: PathBuf,
}

impl Gate {
    pub(crate) fn new(host: &Host, name: &str) -> Gate {
        let path = host.data.path().join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
        Gate { path }
    }

    /// The line of script that waits.
    pub(crate) fn wait(&self) -> String {
        format!("read x <{}", self.path.display())
    }

    pub(crate) fn open(&self) {
        std::fs::write(&self.path, "go\n").unwrap();
    }
}
