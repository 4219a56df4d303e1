//! Ending an attempt whose shim was killed: its processes, its feed, its exit.

use crate::attempt::{AttemptDir, AttemptState, open_process};
use crate::clock::micros;
use crate::program::{EndReason, Exit, View};
use crate::run_file::{RunFile, attempt_name};
use crate::tail::FeedTail;
use crate::{beneath, procfs};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant, SystemTime};

/// The environment variable by which processes of an attempt are recognised; its value is the directory.
pub(crate) const MARK: &str = "SHOAL_ATTEMPT";

/// How long what is left may take to die of SIGKILL.
const DYING: Duration = Duration::from_secs(10);

impl AttemptDir {
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
                let message = "only an attempt whose shim died is buried";
                return Err(io::Error::other(message));
            }
        }
        let file = RunFile::inherit(self.path())?;
        self.kill_leftovers()?;
        self.write_end(file, EndReason::Gone)
    }

    /// The same for one of which nothing can be left but files, where more is known of why.
    pub(crate) fn bury_as(&self, reason: EndReason) -> io::Result<Exit> {
        let file = RunFile::inherit(self.path())?;
        self.write_end(file, reason)
    }

    fn write_end(&self, file: RunFile, reason: EndReason) -> io::Result<Exit> {
        let (record_count, feed_bytes) = self.cut_feed()?;
        let begun = fs::metadata(self.feed()).and_then(|feed| feed.created());
        let ended_us = micros(SystemTime::now());
        let exit = Exit {
            oom: reason == EndReason::OomKilled,
            reason,
            code: None,
            signal: None,
            started_us: begun.map_or(ended_us, micros),
            ended_us,
            record_count,
            feed_bytes,
            view: View::default(),
        };
        let dir = beneath::open_dir(self.path())?;
        file.commit(dir, &attempt_name(self.path()), &exit)?;
        Ok(exit)
    }

    fn kill_leftovers(&self) -> io::Result<()> {
        let deadline = Instant::now() + DYING;
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
        let path = self.path().as_os_str().as_bytes();
        let of = |pid| procfs::variable(pid, MARK);
        // The number of the group is only trusted while its leader is there, and is not of another directory: then this one is a copy of
        // that, made while the program ran, and the program is not this one's to end.
        let main = RunFile::main(self.path());
        let main = main.filter(|main| of(main.pid).is_none_or(|other| other == path));
        let group = main.map(|main| main.pid.as_raw_nonzero().get());
        let mut all = procfs::processes()?;
        all.retain(|p| {
            let is_own = || of(p.pid).is_some_and(|value| value == path);
            !p.zombie && (group == Some(p.group) || is_own())
        });
        Ok(all.into_iter().map(|p| p.pid).collect())
    }

    /// Cuts the feed after its last whole frame; gives its records and bytes.
    fn cut_feed(&self) -> io::Result<(u64, u64)> {
        let mut tail = FeedTail::new(self, 0, 0);
        while tail.read(1 << 20)?.count > 0 {}
        if tail.next_record() > 0 {
            let feed = fs::OpenOptions::new().write(true).open(self.feed())?;
            feed.set_len(tail.offset())?;
        }
        Ok((tail.next_record(), tail.offset()))
    }
}
