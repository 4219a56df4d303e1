//! The loop of the shim: what the program prints, when it has to stop, and when it has ended.

use crate::attempt::Stop;
use crate::clock::micros;
use crate::notify::Notifier;
use crate::procfs::{self, Counter};
use crate::program::{EndReason, Program};
use crate::run_file::RunFile;
use crate::shim::contained::Confined;
use crate::shim::feed_file::FeedFile;
use crate::shim::meter::Meter;
use crate::shim::output::Output;
use crate::shim::stop;
use crate::sys;
use feed::Stream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

/// What is printed waits this long for more, so that many short lines make one write.
const GATHER: Duration = Duration::from_millis(1);
/// A notice alone may wait longer: a short program then writes its feed once.
const GATHER_NOTICE: Duration = Duration::from_millis(100);
/// More than this is written at once.
const GATHER_BYTES: usize = 256 * 1024;
/// A host whose queue was full is told again after this long.
const TELL_AGAIN: Duration = Duration::from_millis(20);
/// How long processes may take to die of SIGKILL. One that hangs in a driver would otherwise hold the attempt for ever.
const DYING: Duration = Duration::from_secs(10);
/// How often the killing looks for processes that were forked meanwhile.
const DYING_ROUND: Duration = Duration::from_millis(20);

/// What the kernel has killed for memory is counted for the whole machine, and is told slowly: a count serves the attempts that a shim begins within
/// so much time.
const COUNT_SERVES: Duration = Duration::from_secs(1);

/// Bytes of a `signalfd_siginfo`: it begins with the number of the signal, an error, and how it was sent.
const INFO: usize = 128;

/// How it ended, as far as the supervisor knows.
pub(super) struct Ended {
    pub(super) reason: EndReason,
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) oom: bool,
    /// No process of it is left.
    pub(super) alone: bool,
    /// Records and bytes of the feed.
    pub(super) written: (u64, u64),
}

/// What a shim keeps from attempt to attempt.
pub(super) struct Standing {
    pub(super) signals: OwnedFd,
    pub(super) buffer: Vec<u8>,
    /// Set where this is the first process of a container.
    pub(super) confined: Option<Confined>,
    /// Where readings of devices are seen, if it came open.
    pub(super) board: Option<File>,
    /// What the kernel had killed for memory, and when that was counted.
    oom_kills: Option<(Instant, Option<u64>)>,
}

impl Standing {
    /// `signals` is a [`sys::signal_fd`](crate::sys::signal_fd).
    pub(super) fn new(signals: OwnedFd) -> Standing {
        Standing {
            signals,
            buffer: vec![0; 64 * 1024],
            confined: None,
            board: None,
            oom_kills: None,
        }
    }

    /// Forgets signals that were meant for an earlier attempt.
    pub(super) fn forget_signals(&self) {
        let mut infos = [0; INFO * 4];
        while rustix::io::read(&self.signals, &mut infos).is_ok() {}
    }
}

pub(super) struct Supervisor<'a> {
    program: &'a Program,
    notifier: &'a mut Notifier,
    feed: FeedFile,
    file: &'a RunFile,
    signals: &'a OwnedFd,
    outputs: [Output; 2],
    meter: Option<Meter<'a>>,
    /// That the log is cut off was said.
    told_cut: bool,
    buffer: &'a mut [u8],
    /// This is the first process of a container.
    is_confined: bool,
    own: Pid,
    main: Pid,
    main_status: Option<WaitStatus>,
    /// No process of the program is left.
    alone: bool,
    began: Instant,
    last_output: Instant,
    /// When what is gathered must be written; `None` if nothing is.
    flush_at: Option<Instant>,
    stopping: Option<Stopping>,
    kill_asked: bool,
    oom_kills_before: Option<u64>,
    /// The count that the next attempt may begin with.
    counted: &'a mut Option<(Instant, Option<u64>)>,
}

struct Stopping {
    reason: EndReason,
    kill_at: Instant,
}

impl<'a> Supervisor<'a> {
    /// Takes over the program whose main process is `main`, just started. The feed already holds a notice.
    pub(super) fn new(
        program: &'a Program,
        feed: FeedFile,
        notifier: &'a mut Notifier,
        file: &'a RunFile,
        standing: &'a mut Standing,
        outputs: [Output; 2],
        main: Pid,
    ) -> Supervisor<'a> {
        let now = Instant::now();
        let Standing {
            signals,
            buffer,
            confined,
            board,
            oom_kills: counted,
        } = standing;
        let is_confined = confined.is_some();
        let own = rustix::process::getpid();
        let oom_kills_before = match *counted {
            Some((at, count)) if !is_confined && now < at + COUNT_SERVES => count,
            _ => counted.insert((now, oom_kills(is_confined))).1,
        };
        let meter = program.metrics.as_ref().filter(|asked| asked.span_ms > 0);
        let meter = meter.map(|asked| Meter::new(asked, is_confined, own, now, board.take()));
        Supervisor {
            program,
            notifier,
            feed,
            file,
            signals,
            outputs,
            meter,
            told_cut: false,
            buffer,
            is_confined,
            own,
            main,
            main_status: None,
            alone: false,
            began: now,
            last_output: now,
            flush_at: Some(now + GATHER_NOTICE),
            stopping: None,
            kill_asked: false,
            oom_kills_before,
            counted,
        }
    }

    /// Runs until no process of the program is left, and its feed is whole.
    pub(super) fn run(mut self) -> Ended {
        // Its signal may have been forgotten with those before it.
        self.look_what_is_asked();
        loop {
            let now = Instant::now();
            self.keep_limits(now);
            if self.is_over(now) {
                return self.end();
            }
            self.wait(self.next_deadline(), true);
            self.take_signals();
            self.read_outputs();
            self.measure();
            self.flush_if_due();
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        match &self.stopping {
            None => self.main_status.is_some(),
            // A shell dies of the first signal while the program it ran still saves its work: wait for the last one.
            Some(stopping) => self.alone || now >= stopping.kill_at,
        }
    }

    fn keep_limits(&mut self, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        if self.time_limit().is_some_and(|at| now >= at) {
            let limit = self.program.time_limit_ms.unwrap_or_default();
            self.stop(
                EndReason::TimeLimit,
                &format!("time limit of {} s reached", seconds(limit)),
            );
        } else if self.no_output_limit().is_some_and(|at| now >= at) {
            let limit = self.program.no_output_timeout_ms.unwrap_or_default();
            self.stop(
                EndReason::NoOutput,
                &format!("no output for {} s", seconds(limit)),
            );
        }
    }

    fn time_limit(&self) -> Option<Instant> {
        let limit = Duration::from_millis(self.program.time_limit_ms?);
        self.began.checked_add(limit)
    }

    fn no_output_limit(&self) -> Option<Instant> {
        let limit = Duration::from_millis(self.program.no_output_timeout_ms?);
        self.last_output.checked_add(limit)
    }

    /// Asks the program to stop; it has its grace from now on.
    fn stop(&mut self, reason: EndReason, why: &str) {
        let grace = Duration::from_millis(self.program.grace_ms);
        let now = Instant::now();
        self.notice(&format!(
            "{why}: stopping, to be killed after {} s\n",
            seconds(self.program.grace_ms)
        ));
        self.stopping = Some(Stopping {
            reason,
            // A grace beyond what a clock can count is as good as a year.
            kill_at: now
                .checked_add(grace)
                .unwrap_or(now + Duration::from_secs(365 * 86_400)),
        });
        if let Err(error) = stop::ask(self.own) {
            self.notice(&format!("cannot ask the program to stop: {error}\n"));
        }
    }

    /// From now on the program is to be killed, for `reason` unless there was one before.
    fn kill_now(&mut self, reason: EndReason) {
        let now = Instant::now();
        let stopping = self.stopping.get_or_insert(Stopping {
            reason,
            kill_at: now,
        });
        stopping.kill_at = now;
    }

    fn take_signals(&mut self) {
        let mut infos = [0; INFO * 4];
        let mut seen = Vec::new();
        while let Ok(n) = rustix::io::read(self.signals, &mut infos) {
            let word = |info: &[u8], at: usize| {
                let bytes = info.get(at..).and_then(<[u8]>::first_chunk);
                bytes.map_or(0, |bytes| i32::from_ne_bytes(*bytes))
            };
            let infos = infos[..n].chunks_exact(INFO);
            seen.extend(infos.map(|info| (word(info, 0), word(info, 8), word(info, 12))));
        }
        for signal in seen {
            match signal {
                (libc::SIGCHLD, ..) => self.reap(),
                // From a host, and perhaps meant for an attempt before this one.
                (_, libc::SI_QUEUE, _) => self.look_what_is_asked(),
                // The program's own processes ask for nothing; who is outside has no number in here.
                (_, _, sender) if self.is_confined && sender != 0 => {}
                (signal, ..) if self.is_confined => self.heard_from_outside(signal),
                (libc::SIGTERM, ..) => self.asked(Stop::Graceful),
                (libc::SIGUSR1, ..) => self.asked(Stop::Kill),
                _ => {}
            }
        }
    }

    /// A host that may not send signals by itself lets the engine do it; without having asked it is the engine's own.
    fn heard_from_outside(&mut self, signal: i32) {
        match (self.file.asked(), signal) {
            (Some(how), _) => self.asked(how),
            (None, libc::SIGTERM) if self.stopping.is_none() => {
                self.stop(EndReason::EngineStopped, "the container engine stops");
            }
            _ => {}
        }
    }

    fn look_what_is_asked(&mut self) {
        if let Some(how) = self.file.asked() {
            self.asked(how);
        }
    }

    fn asked(&mut self, how: Stop) {
        match how {
            Stop::Graceful if self.stopping.is_none() => {
                self.stop(EndReason::Stopped, "asked to stop");
            }
            Stop::Kill if !self.kill_asked => {
                self.kill_asked = true;
                self.notice("asked to kill\n");
                self.kill_now(EndReason::Stopped);
            }
            Stop::Graceful | Stop::Kill => {}
        }
    }

    /// Asks for the ends of all children that have ended. As subreaper we have none exactly if nothing of the program is left.
    fn reap(&mut self) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.main_status = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => {
                    self.alone = true;
                    return;
                }
            }
        }
    }

    fn read_outputs(&mut self) {
        let (now, time_us) = (Instant::now(), now_us());
        let mut printed = false;
        let mut given_out = false;
        for output in &mut self.outputs {
            printed |= output.read(self.buffer, &mut self.feed, now, time_us);
            given_out |= output.flush_partial(&mut self.feed, now, time_us);
        }
        if printed {
            self.last_output = now;
            self.tell_cut();
        }
        if (printed || given_out) && self.feed.gathered_bytes() > 0 {
            self.flush_by(now + GATHER);
        }
    }

    fn measure(&mut self) {
        let now = Instant::now();
        let sample = self.meter.as_mut().and_then(|meter| meter.sample(now));
        if let Some(sample) = sample {
            let data = sample.to_data();
            self.feed.push(Stream::Metric, false, now_us(), &data);
            self.flush_by(now + GATHER);
        }
    }

    /// Says once that what the program prints is kept no longer.
    fn tell_cut(&mut self) {
        if self.told_cut || self.feed.left_out() == 0 {
            return;
        }
        self.told_cut = true;
        let limit = self.program.log_limit_bytes.unwrap_or_default();
        self.notice(&format!(
            "TRUNCATED: the program has printed more than the {} that this worker keeps of a log; the rest is left out\n",
            mebibytes(limit)
        ));
    }

    fn flush_by(&mut self, at: Instant) {
        self.flush_at = Some(self.flush_at.map_or(at, |before| before.min(at)));
    }

    fn flush_if_due(&mut self) {
        let due = self.flush_at.is_some_and(|at| Instant::now() >= at);
        if due || self.feed.gathered_bytes() >= GATHER_BYTES {
            self.flush();
            self.notifier.send();
        } else if self.notifier.owed {
            self.notifier.send();
        }
    }

    fn flush(&mut self) {
        self.flush_at = None;
        if let Err(error) = self.feed.flush() {
            // Nothing can be written any more, this least of all; whoever looks at the machine finds it in the log.
            super::complain(&error);
            self.stopping = None;
            self.kill_now(EndReason::DiskFull);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let limits = match &self.stopping {
            Some(stopping) => [Some(stopping.kill_at), None],
            None => [self.time_limit(), self.no_output_limit()],
        };
        let [stdout, stderr] = &self.outputs;
        let owed = self.notifier.owed.then(|| Instant::now() + TELL_AGAIN);
        let others = [
            self.flush_at,
            owed,
            stdout.partial_due(),
            stderr.partial_due(),
            self.meter.as_ref().map(Meter::due),
        ];
        limits.into_iter().chain(others).flatten().min()
    }

    /// Waits for a signal, for output if `outputs`, or for the deadline.
    fn wait(&self, deadline: Option<Instant>, outputs: bool) {
        let pipes = self
            .outputs
            .iter()
            .filter_map(|output| output.pipe.as_ref());
        let pipes = pipes.filter(|_| outputs);
        let mut all: Vec<PollFd<'_>> = [self.signals]
            .into_iter()
            .chain(pipes)
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        let timeout = deadline.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        // An interruption is as good as an event: the loop looks at everything anyway.
        let _ = rustix::event::poll(&mut all, timeout.as_ref());
    }

    /// Leaves nothing of the program, takes the last of what it printed, and says how it ended.
    fn end(mut self) -> Ended {
        self.kill_all();
        self.drain();
        self.tell_limits();
        self.flush();
        let status = self.main_status;
        let code = status.and_then(WaitStatus::exit_status);
        let signal = status.and_then(WaitStatus::terminating_signal);
        // A shell reports that its program was killed by SIGKILL as 128 + 9.
        let killed = signal == Some(libc::SIGKILL) || code == Some(128 + libc::SIGKILL);
        if killed {
            *self.counted = None;
        }
        // In a container the kernel counts for this program alone: one that failed after a kill failed of it.
        let failed = killed || (self.is_confined && code != Some(0));
        let oom = failed && self.stopping.is_none() && self.kernel_killed_for_memory();
        let reason = match self.stopping {
            Some(stopping) => stopping.reason,
            None if oom => EndReason::OomKilled,
            None if signal.is_some() => EndReason::Signaled,
            None => EndReason::Exited,
        };
        Ended {
            reason,
            code,
            signal,
            oom,
            alone: self.alone,
            written: self.feed.written(),
        }
    }

    /// Says which limits of the container the program has met: what it prints about that is seldom clear.
    fn tell_limits(&mut self) {
        if !self.is_confined {
            return;
        }
        if self.kernel_killed_for_memory() {
            self.notice("the limit of memory was reached: the kernel killed a process\n");
        }
        if let Some(times) = Counter::RefusedForks.read().filter(|times| *times > 0) {
            self.notice(&format!(
                "the limit of processes was reached {times} times\n"
            ));
        }
    }

    fn kernel_killed_for_memory(&self) -> bool {
        let now = oom_kills(self.is_confined);
        self.oom_kills_before
            .zip(now)
            .is_some_and(|(before, now)| now > before)
    }

    fn kill_all(&mut self) {
        self.reap();
        let deadline = Instant::now() + DYING;
        let mut killed = 0;
        while !self.alone {
            let left = stop::kill(self.own).unwrap_or_default();
            if self.is_confined {
                // A crowd that forks faster than it can be counted.
                sys::kill_everything();
            }
            killed = killed.max(left);
            self.wait(Some(Instant::now() + DYING_ROUND), false);
            let mut infos = [0; INFO * 4];
            while rustix::io::read(self.signals, &mut infos).is_ok() {}
            self.reap();
            if Instant::now() > deadline {
                self.notice(&format!("{left} processes cannot be killed\n"));
                break;
            }
        }
        match (killed, &self.stopping) {
            (0, _) => {}
            (_, Some(_)) => self.notice("killed\n"),
            (n, None) => self.notice(&format!("killed {n} left in the background\n")),
        }
    }

    fn drain(&mut self) {
        let (now, time_us) = (Instant::now(), now_us());
        // Nobody of ours writes any more; a stranger who was handed the pipe may, and is not waited for.
        for output in &mut self.outputs {
            for _ in 0..4 {
                if !output.read(self.buffer, &mut self.feed, now, time_us) {
                    break;
                }
            }
            output.finish(&mut self.feed, time_us);
        }
        self.tell_cut();
        if self.told_cut {
            let left_out = mebibytes(self.feed.left_out());
            self.notice(&format!(
                "{left_out} of what the program printed were left out\n"
            ));
        }
    }

    fn notice(&mut self, text: &str) {
        self.feed
            .push(Stream::Status, false, now_us(), text.as_bytes());
        self.flush_by(Instant::now() + GATHER);
    }
}

fn oom_kills(is_confined: bool) -> Option<u64> {
    let own = is_confined.then(|| Counter::OomKills.read()).flatten();
    own.or_else(procfs::oom_kills)
}

fn now_us() -> u64 {
    micros(SystemTime::now())
}

/// Bytes as people read them, where it is not about single ones.
fn mebibytes(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{bytes} bytes"),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// Milliseconds as seconds, without needless digits.
fn seconds(millis: u64) -> String {
    match millis % 1000 {
        0 => (millis / 1000).to_string(),
        _ => format!("{:.1}", millis as f64 / 1000.0),
    }
}
