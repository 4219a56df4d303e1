//! The life of one shim, from its request to `exit.json`.

use crate::attempt::AttemptDir;
use crate::beneath;
use crate::clock::micros;
use crate::notify::Notifier;
use crate::program::{EndReason, Exit, Program, View};
use crate::run_file::{RunFile, attempt_name};
use crate::shim::feed_file::FeedFile;
use crate::shim::output::Output;
use crate::shim::request::{PROGRAM, Request};
use crate::shim::supervise::{Ended, Supervisor};
use crate::shim::{SIGNALS, spawner, start, view};
use crate::sys::{self, SingleThreaded};
use feed::Stream;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

/// Longest message of an error in `exit.json`, in bytes: it has to fit into the room that was taken for it.
const MAX_MESSAGE: usize = 1024;

/// Is the shim of `dir`, whose `program.json` says what to run. Tells on standard output when the lock is held.
pub(super) fn direct(dir: &Path) -> io::Result<()> {
    SingleThreaded::check()?;
    spawner::stdin_from_null()?;
    sys::block_signals(&SIGNALS)?;
    let dir = std::path::absolute(dir)?;
    let path = dir.join(PROGRAM);
    let program = serde_json::from_slice(&std::fs::read(&path)?)?;
    let file = RunFile::make(&dir)?;
    // It may hold secrets, and nobody needs it any more.
    std::fs::remove_file(&path)?;
    file.write_shim(std::process::id())?;
    io::stdout().write_all(b"\n")?;
    io::stdout().flush()?;
    attempt(Request { dir, program }, file)
}

/// Runs the request. `file` is locked until `exit.json` is there. An error means that not even that could be written.
pub(super) fn attempt(request: Request, file: RunFile) -> io::Result<()> {
    // A session of its own: no signal meant for the daemon's terminal or group comes here.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"shoal-shim");
    file.write_shim(std::process::id())?;
    let dir = AttemptDir::at(request.dir);
    let dir_fd = beneath::open_dir(dir.path())?;
    let name = dir.name().as_bytes().to_vec();
    let mut notifier = Notifier::new(request.program.notify.as_deref(), name);
    let exit = run(&dir, &dir_fd, &request.program, &file, &mut notifier);
    file.commit(&dir_fd, &attempt_name(dir.path()), &exit)?;
    notifier.send_last();
    Ok(())
}

/// Runs the program to its end, whatever happens.
fn run(
    dir: &AttemptDir,
    dir_fd: &OwnedFd,
    program: &Program,
    file: &RunFile,
    notifier: &mut Notifier,
) -> Exit {
    let mut exit = Exit {
        reason: EndReason::Exited,
        code: None,
        signal: None,
        started_us: micros(SystemTime::now()),
        ended_us: 0,
        oom: false,
        record_count: 0,
        feed_bytes: 0,
        view: View::Direct,
    };
    match supervise(dir, dir_fd, program, file, notifier, &mut exit.view) {
        Ok(ended) => {
            exit.reason = ended.reason;
            exit.code = ended.code;
            exit.signal = ended.signal;
            exit.oom = ended.oom;
            (exit.record_count, exit.feed_bytes) = ended.written;
        }
        Err(NotStarted::Disk(error)) if is_full(&error) => exit.reason = EndReason::DiskFull,
        Err(NotStarted::Disk(error)) => exit.reason = failed(error.to_string()),
        Err(NotStarted::Program(message, written)) => {
            exit.reason = failed(message);
            (exit.record_count, exit.feed_bytes) = written;
        }
    }
    exit.ended_us = micros(SystemTime::now());
    exit
}

enum NotStarted {
    Disk(io::Error),
    /// With what is in the feed.
    Program(String, (u64, u64)),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> NotStarted {
        NotStarted::Disk(error)
    }
}

fn supervise(
    dir: &AttemptDir,
    dir_fd: &OwnedFd,
    program: &Program,
    file: &RunFile,
    notifier: &mut Notifier,
    view: &mut View,
) -> Result<Ended, NotStarted> {
    let mut feed = FeedFile::create(dir_fd)?;
    // Daemons that the program leaves become our children, so that none is missed at the end.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(io::Error::from)?;
    let signals = sys::signal_fd(&SIGNALS)?;
    let mut notice = |text: &str| {
        let now_us = micros(SystemTime::now());
        feed.push(Stream::Status, false, now_us, text.as_bytes());
    };
    for text in &program.notices {
        notice(&format!("{text}\n"));
    }
    if program.want_namespace {
        match view::enter(&dir.root()) {
            Ok(()) => *view = View::Namespace,
            Err(error) => notice(&format!(
                "no /valohai of its own ({error}): the VH_*_DIR variables name the real directories\n"
            )),
        }
    }
    let (stdout, stdout_end) = Output::new(Stream::Stdout)?;
    let (stderr, stderr_end) = Output::new(Stream::Stderr)?;
    let ends = [&stdout_end, &stderr_end];
    let main = match start::start(dir, dir_fd.as_fd(), program, *view, ends) {
        Ok(main) => main,
        Err(message) => {
            let message = clip(message);
            notice(&format!("could not start: {message}\n"));
            feed.flush()?;
            return Err(NotStarted::Program(message, feed.written()));
        }
    };
    notice("started\n");
    drop((stdout_end, stderr_end));
    // Only needed if we are killed.
    let _ = file.write_main(main);
    let outputs = [stdout, stderr];
    Ok(Supervisor::new(program, feed, notifier, signals, outputs, main).run())
}

fn failed(message: String) -> EndReason {
    EndReason::StartFailed {
        message: clip(message),
    }
}

fn clip(mut message: String) -> String {
    let ends = (0..=MAX_MESSAGE.min(message.len())).rev();
    let end = ends.into_iter().find(|at| message.is_char_boundary(*at));
    message.truncate(end.unwrap_or_default());
    message
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
