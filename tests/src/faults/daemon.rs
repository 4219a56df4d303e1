//! A process that serves, which can be killed, stopped, asked to end, and started again.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::time::timeout;

/// Where a daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not serve yet.
    Starting,
    /// It has said that it serves.
    Serving,
    /// It has closed its outputs: it has ended, or is about to. The last line it printed.
    Ended(String),
}

/// A daemon. Killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    /// What it is called in messages.
    pub name: String,
    ready: &'static str,
    log: PathBuf,
    child: Option<Child>,
    state: watch::Receiver<State>,
}

impl Daemon {
    /// One that was not started yet; it will print a line with `ready` in it once it serves.
    pub(super) fn new(name: String, ready: &'static str, log: PathBuf) -> Self {
        let ended = State::Ended("it was not started".to_owned());
        Self {
            name,
            ready,
            log,
            child: None,
            state: watch::channel(ended).1,
        }
    }

    /// Starts it; it need not serve when this returns.
    pub(super) fn start(&mut self, mut command: Command) -> io::Result<u32> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // A group of its own: an interrupt of the campaign does not reach it before it is ended in order.
            .process_group(0);
        let child = command.spawn()?;
        // The command keeps the writing ends open in this process too.
        drop(command);
        let (state, receiver) = watch::channel(State::Starting);
        let ready = self.ready;
        std::thread::spawn(move || follow(BufReader::new(reader), log, ready, &state));
        let process = child.id();
        self.child = Some(child);
        self.state = receiver;
        Ok(process)
    }

    /// Where it is now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Whether its process runs. What it started may outlive it and keep its outputs open.
    pub fn runs(&mut self) -> bool {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => true,
            Some(_) => {
                self.reap();
                false
            }
            None => false,
        }
    }

    /// Its process, while it was not ended by us.
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// When it ends instead, or not within `patience`.
    pub async fn serving(&self, patience: Duration) -> anyhow::Result<()> {
        let mut state = self.state.clone();
        let known = timeout(patience, state.wait_for(|state| *state != State::Starting));
        let Ok(known) = known.await else {
            bail!("{} does not serve within {patience:?}", self.name);
        };
        match known.map(|state| state.clone()) {
            Ok(State::Serving) => Ok(()),
            Ok(State::Ended(line)) => bail!("{} ended: {line}", self.name),
            Ok(State::Starting) | Err(_) => bail!("{} is not followed any more", self.name),
        }
    }

    /// Waits until it has ended by itself. The last line it printed.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub async fn ended(&mut self, patience: Duration) -> anyhow::Result<String> {
        let mut state = self.state.clone();
        let ended = timeout(
            patience,
            state.wait_for(|state| matches!(state, State::Ended(_))),
        );
        let Ok(ended) = ended.await else {
            bail!("{} does not end within {patience:?}", self.name);
        };
        let line = match ended.map(|state| state.clone()) {
            Ok(State::Ended(line)) => line,
            _ => String::new(),
        };
        self.reap();
        Ok(line)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("it does not run")?;
        let process = Pid::from_raw(child.id() as i32).context("a child has a number")?;
        // It was not waited for, so its number means no other process.
        kill_process(process, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Kills it as a crash would, and waits until it is dead. Does nothing if it does not run.
    pub fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
        }
        self.reap();
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not end within `patience`.
    pub async fn terminate(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        self.ended(patience).await.map(drop)
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A child that was not waited for can be.
            let _ = child.wait();
        }
        let last = match self.state() {
            State::Ended(line) => line,
            _ => "it was killed".to_owned(),
        };
        self.state = watch::channel(State::Ended(last)).1;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Copies what it prints into the log, and notices what is to be known.
fn follow(
    mut output: BufReader<io::PipeReader>,
    mut log: std::fs::File,
    ready: &str,
    state: &watch::Sender<State>,
) {
    let mut last = String::new();
    let mut line = Vec::new();
    while matches!(output.read_until(b'\n', &mut line), Ok(length) if length > 0) {
        // A log that cannot be written is missed only when a run fails.
        let _ = log.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if text.contains(ready) {
            state.send_replace(State::Serving);
        }
        text.trim().clone_into(&mut last);
        line.clear();
    }
    state.send_replace(State::Ended(last));
}
