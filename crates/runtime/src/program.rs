//! What to run, and how it ended: the two values that pass between host and shim.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// One step's program. Durations are milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Program {
    /// The step's commands, joined by newlines: one script. A leading `#!` line names its interpreter.
    pub script: String,
    /// What runs a script that names no interpreter.
    pub interpreter: Interpreter,
    /// Environment variables, exactly. A later one of the same name wins. The shim adds the four `VH_*_DIR` and
    /// `SHOAL_ATTEMPT`, which cannot be overridden.
    pub env: Vec<(String, String)>,
    /// Names of variables that are passed on from the daemon's own environment unless `env` has them.
    pub pass_env: Vec<String>,
    /// The program is stopped when it has run this long.
    pub time_limit_ms: Option<u64>,
    /// The program is stopped when it has printed nothing for this long.
    pub no_output_timeout_ms: Option<u64>,
    /// Between being asked to stop and being killed.
    pub grace_ms: u64,
    /// Where to send a datagram when there is something to read. See [`crate::NotifySocket`].
    pub notify: Option<PathBuf>,
    /// Give the program its own `/valohai` where the kernel allows it.
    pub want_namespace: bool,
    /// What a person should be told about the attempt before its program prints anything, a sentence each.
    pub notices: Vec<String>,
    /// What is measured while it runs; none for nothing.
    pub metrics: Option<Metrics>,
    /// Most bytes of what it prints that are kept; what follows is left out, and said to be. None for no limit.
    pub log_limit_bytes: Option<u64>,
}

/// What is measured of a program while it runs, as records of its feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Between two samples of a young attempt; see [`feed::span_us`].
    pub span_ms: u64,
    /// It has a network of its own, so that what goes over it is its own.
    pub own_network: bool,
    /// Devices that are its own.
    pub devices: Vec<String>,
    /// Where the daemon shows what devices' drivers tell: see [`Board`](crate::measure::Board).
    pub board: PathBuf,
}

/// What runs a script that has no `#!` line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpreter {
    /// `bash` if the program's PATH has one, else `sh`.
    #[default]
    BashOrSh,
    /// `sh`.
    Sh,
}

/// Where the program finds its directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Under `/valohai`, in a mount namespace of its own.
    Namespace,
    /// Under their real paths in the attempt's directory; only the `VH_*_DIR` variables tell.
    #[default]
    Direct,
    /// Under `/valohai` of a container.
    Container,
}

impl View {
    /// What the program knows as `/valohai`, given the attempt's `root` directory.
    pub fn base(self, root: &Path) -> PathBuf {
        match self {
            View::Namespace | View::Container => PathBuf::from(VALOHAI),
            View::Direct => root.to_path_buf(),
        }
    }
}

/// The directory that programs written for Valohai expect.
pub(crate) const VALOHAI: &str = "/valohai";

/// How an attempt ended: the content of `exit.json`, which the shim writes last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why it ended.
    pub reason: EndReason,
    /// Exit code of the main shell, if it exited, whatever the reason.
    pub code: Option<i32>,
    /// Number of the signal that ended the main shell, if one did.
    pub signal: Option<i32>,
    /// When the program was started, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// When the last of its processes was gone, in microseconds since the Unix epoch.
    pub ended_us: u64,
    /// The kernel killed a process for want of memory while the program ran, and the program ended by SIGKILL.
    pub oom: bool,
    /// Records in the feed.
    pub record_count: u64,
    /// Bytes of the feed.
    pub feed_bytes: u64,
    /// Where the program found its directories.
    pub view: View,
}

/// Why an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EndReason {
    /// The main shell exited; see [`Exit::code`].
    Exited,
    /// A signal that was not ours ended the main shell; see [`Exit::signal`].
    Signaled,
    /// It ran longer than its time limit.
    TimeLimit,
    /// It printed nothing for too long.
    NoOutput,
    /// It was asked to stop.
    Stopped,
    /// It never ran.
    StartFailed {
        /// What was in the way.
        message: String,
    },
    /// Its feed could not be written, and it was killed.
    DiskFull,
    /// The kernel killed it for want of memory.
    OomKilled,
    /// The container engine went down and took it along.
    EngineStopped,
    /// The shim was killed; how the program would have ended is not known.
    Gone,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::Exited => "exited",
            EndReason::Signaled => "ended by a signal",
            EndReason::TimeLimit => "time limit reached",
            EndReason::NoOutput => "no output for too long",
            EndReason::Stopped => "stopped",
            EndReason::StartFailed { message } => return write!(f, "could not start: {message}"),
            EndReason::DiskFull => "disk full",
            EndReason::OomKilled => "out of memory",
            EndReason::EngineStopped => "stopped by the container engine",
            EndReason::Gone => "lost with its shim",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    /// A shim may outlive the daemon's version: these bytes must stay readable.
    #[test]
    fn the_exit_of_an_older_shim_is_readable() {
        let text = r#"{"reason":{"kind":"start_failed","message":"no"},"code":null,"signal":9,"started_us":1,"ended_us":2,"oom":false,"record_count":3,"feed_bytes":4,"view":"namespace"}"#;
        let exit: Exit = serde_json::from_str(text).unwrap();
        assert_eq!(
            exit.reason,
            EndReason::StartFailed {
                message: "no".into()
            }
        );
        assert_eq!(serde_json::to_string(&exit).unwrap(), text);
    }

    #[test]
    fn a_program_needs_only_its_script() {
        let program: Program = serde_json::from_str(r#"{"script":"true"}"#).unwrap();
        let expected = Program {
            script: "true".into(),
            ..Program::default()
        };
        assert_eq!(program, expected);
    }
}
