//! The life of one shim: attempt after attempt, each from its request to `exit.json`.

use crate::attempt::AttemptDir;
use crate::beneath;
use crate::clock::micros;
use crate::notify::Notifier;
use crate::program::{EndReason, Exit, Program, View};
use crate::run_file::{RunFile, attempt_name};
use crate::shim::contained::Confined;
use crate::shim::feed_file::FeedFile;
use crate::shim::output::Output;
use crate::shim::request::{self, PROGRAM, Request};
use crate::shim::start::Place;
use crate::shim::supervise::{Ended, Standing, Supervisor};
use crate::shim::view::Namespace;
use crate::shim::{SIGNALS, spawner, start};
use crate::sys::{self, SingleThreaded};
use feed::Stream;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
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
    let file = RunFile::make(&dir, Some(std::process::id()))?;
    // It may hold secrets, and nobody needs it any more.
    std::fs::remove_file(&path)?;
    io::stdout().write_all(b"\n")?;
    io::stdout().flush()?;
    Shim::new()?.attempt(Request { dir, program }, file, None)
}

/// Runs what is requested, one attempt after another, until the host closes its end or something is not as it should be for
/// the next program. What runs then goes on to its end. An error means that an exit could not be written.
pub(super) fn serve(host: &UnixStream) -> io::Result<()> {
    let mut shim = Shim::new()?;
    while shim.is_fit
        && let Some((request, lock)) = Request::receive(host)?
    {
        shim.attempt(request, RunFile::from_host(lock), Some(host))?;
    }
    Ok(())
}

/// What lasts from attempt to attempt.
pub(super) struct Shim {
    standing: Standing,
    namespace: Option<Namespace>,
    notifier: Option<Notifier>,
    /// Nothing is left of any attempt that the next one could notice.
    is_fit: bool,
}

impl Shim {
    pub(super) fn new() -> io::Result<Shim> {
        // A session of its own: no signal meant for the daemon's terminal or group comes here.
        let _ = rustix::process::setsid();
        let _ = rustix::thread::set_name(c"shoal-shim");
        // Daemons that a program leaves become our children, so that none is missed at its end.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Shim {
            standing: Standing::new(sys::signal_fd(&SIGNALS)?),
            namespace: None,
            notifier: None,
            is_fit: true,
        })
    }

    /// Runs the request. `file` is locked until `exit.json` is there. An error means that not even that could be written.
    fn attempt(
        &mut self,
        request: Request,
        file: RunFile,
        host: Option<&UnixStream>,
    ) -> io::Result<()> {
        self.standing.forget_signals();
        let dir = AttemptDir::at(request.dir);
        let dir_fd = beneath::open_dir(dir.path())?;
        let name = dir.name().as_bytes().to_vec();
        let path = request.program.notify.as_deref();
        let mut notifier = Notifier::renewed(self.notifier.take(), path, name);
        let place = Place::Host {
            dir: &dir,
            dir_fd: dir_fd.as_fd(),
        };
        let feed = FeedFile::create(&dir_fd);
        let exit = self.run(&place, feed, &request.program, &file, &mut notifier);
        if let Some(namespace) = &self.namespace {
            self.is_fit &= namespace.is_as_it_was();
        }
        // Before the exit: whoever sees that knows whether we serve again, and sends nothing to a shim that does not.
        match host {
            Some(host) if self.is_fit => self.is_fit = request::say_free(host).is_ok(),
            Some(host) => host.shutdown(std::net::Shutdown::Both)?,
            None => {}
        }
        file.commit(&dir_fd, &attempt_name(dir.path()), &exit)?;
        notifier.send_last();
        self.notifier = Some(notifier);
        if self.is_fit
            && let Some(namespace) = &mut self.namespace
        {
            // What fails now fails again when the next attempt is shown, which is told it.
            let _ = namespace.hide();
        }
        Ok(())
    }

    /// Runs the one attempt of a container. `file` stays locked until this process ends, and says before how the program did.
    pub(super) fn contained(
        &mut self,
        request: &Request,
        file: RunFile,
        feed: OwnedFd,
        confined: Confined,
        board: Option<OwnedFd>,
    ) -> io::Result<()> {
        self.standing.confined = Some(confined);
        self.standing.board = board.map(File::from);
        let attempt = attempt_name(&request.dir);
        let place = Place::Container { attempt: &attempt };
        // The host watches the files themselves.
        let mut nobody = Notifier::new(None, Vec::new());
        let feed = FeedFile::of(feed);
        let exit = self.run(&place, feed, &request.program, &file, &mut nobody);
        file.write_exit(&attempt, &exit)
    }

    /// Runs the program to its end, whatever happens.
    fn run(
        &mut self,
        place: &Place<'_>,
        feed: io::Result<FeedFile>,
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
            view: place.view(),
        };
        match self.supervise(place, feed, program, file, notifier, &mut exit.view) {
            Ok(ended) => {
                exit.reason = ended.reason;
                exit.code = ended.code;
                exit.signal = ended.signal;
                exit.oom = ended.oom;
                (exit.record_count, exit.feed_bytes) = ended.written;
                self.is_fit &= ended.alone;
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

    fn supervise(
        &mut self,
        place: &Place<'_>,
        feed: io::Result<FeedFile>,
        program: &Program,
        file: &RunFile,
        notifier: &mut Notifier,
        view: &mut View,
    ) -> Result<Ended, NotStarted> {
        let mut feed = feed?;
        feed.limit(program.log_limit_bytes);
        let mut notice = |text: &str| {
            let now_us = micros(SystemTime::now());
            feed.push(Stream::Status, false, now_us, text.as_bytes());
        };
        for text in &program.notices {
            notice(&format!("{text}\n"));
        }
        if let Place::Host { dir, .. } = place
            && program.want_namespace
        {
            match self.show(dir) {
                Ok(()) => *view = View::Namespace,
                Err(error) => notice(&format!(
                    "no /valohai of its own ({error}): the VH_*_DIR variables name the real directories\n"
                )),
            }
        }
        let (stdout, stdout_end) = Output::new(Stream::Stdout)?;
        let (stderr, stderr_end) = Output::new(Stream::Stderr)?;
        let ends = [&stdout_end, &stderr_end];
        let confined = self.standing.confined.as_ref();
        confined.inspect(|confined| confined.offer_the_program());
        let started = start::start(place, program, *view, ends);
        confined.inspect(|confined| confined.keep_ourselves());
        let main = match started {
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
        Ok(Supervisor::new(
            program,
            feed,
            notifier,
            file,
            &mut self.standing,
            outputs,
            main,
        )
        .run())
    }

    /// Makes the attempt's directories the program's `/valohai`.
    fn show(&mut self, dir: &AttemptDir) -> io::Result<()> {
        let shown = match &mut self.namespace {
            Some(namespace) => namespace.show(&dir.root()),
            None => Namespace::enter(&dir.root()).map(|entered| self.namespace = Some(entered)),
        };
        // Half a namespace is nobody's.
        self.is_fit &= shown.is_ok();
        shown
    }
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
