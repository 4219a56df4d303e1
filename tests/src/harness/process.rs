//! A command that runs while the test goes on: its lines are events.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use super::{PATIENCE, kill};

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line that a command printed, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub source: Source,
    /// What; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A running command. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    what: String,
    log: PathBuf,
    child: Child,
    lines: Receiver<Line>,
}

impl Process {
    /// Starts a command. What it prints goes to `log` too.
    pub(super) fn start(mut command: Command, what: String, log: &Path) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{what} does not start: {error}"));
        let file = File::create(log).expect("a log can be written");
        let (sender, lines) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            relay(out, Source::Out, &file, sender.clone());
        }
        if let Some(err) = child.stderr.take() {
            relay(err, Source::Err, &file, sender);
        }
        Self {
            what,
            log: log.to_path_buf(),
            child,
            lines,
        }
    }

    /// Waits for a line of either output with `part` in it.
    pub fn wait_for(&mut self, part: &str) -> Line {
        for line in self.by_ref() {
            if line.text.contains(part) {
                return line;
            }
        }
        panic!(
            "`{}` ended without printing {part:?}; see {}",
            self.what,
            self.log.display()
        );
    }

    /// Kills it as a crash would, and waits until it is dead.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        rustix::process::pidfd_send_signal(
            kill::handle(self.child.id()),
            rustix::process::Signal::TERM,
        )
        .expect("a running child can be asked to end");
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status;
        }
        let handle = kill::handle(self.child.id());
        assert!(
            kill::ended(handle.as_fd(), Instant::now() + PATIENCE),
            "`{}` does not end; see {}",
            self.what,
            self.log.display()
        );
        self.child.wait().expect("a child can be waited for")
    }

    /// The rest of its standard output, after its end, which must be with this exit code.
    pub fn ends_with(&mut self, code: i32) -> Vec<String> {
        let mut rest = Vec::new();
        for line in self.by_ref() {
            if line.source == Source::Out {
                rest.push(line.text);
            }
        }
        let status = self.wait();
        assert_eq!(
            status.code(),
            Some(code),
            "`{}` ended with {status}; see {}",
            self.what,
            self.log.display()
        );
        rest
    }
}

/// The lines of both outputs as they come; none when the command has closed them.
impl Iterator for Process {
    type Item = Line;

    /// Waits for the next line.
    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!(
                "`{}` prints nothing more; see {}",
                self.what,
                self.log.display()
            ),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands each line to the test and to the log, until the end of the output.
fn relay(output: impl Read + Send + 'static, source: Source, log: &File, lines: Sender<Line>) {
    let mut log = log.try_clone().expect("a log can be shared");
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while matches!(output.read_until(b'\n', &mut bytes), Ok(length) if length > 0) {
            // A log that cannot be written is missed only when the test fails; the lines still come.
            let _ = log.write_all(&bytes);
            let text = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\n', '\r'])
                .to_owned();
            // Whoever waits for no more lines has dropped the other end; the output is drained all the same.
            let _ = lines.send(Line { source, text });
            bytes.clear();
        }
    });
}
