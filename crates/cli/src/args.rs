//! What can be typed: every command, option and its help.

mod worker;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::worker::{Worker, WorkerCommand};

/// Heading of the options of every command.
const GLOBAL: &str = "Global options";

/// Runs machine-learning pipelines written in valohai.yaml, on your own machines.
#[derive(Debug, Parser)]
#[command(
    name = "shoal",
    version,
    disable_help_flag = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Start here:
  shoal lint                          check valohai.yaml, every mistake with its place
  shoal pipeline run NAME             run a pipeline; a unique prefix of its name is enough
  shoal execution run STEP --lr=0.1   run one step with a parameter
  shoal execution show 3              everything that is recorded about execution #3

Without --cluster, a coordinator and a worker run inside the command itself; their data is in
.shoal/ in the project.

Exit codes:
  0 done                                    3 it was stopped, or the server is not who it should be
  1 it failed, or the file is invalid       4 the cluster refused, or cannot be reached
  2 the arguments make no sense             130 left with Ctrl-C; what was started goes on"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How to print: human for people, json for programs
    #[arg(
        long,
        short = 'o',
        global = true,
        value_enum,
        default_value_t = Format::Human,
        value_name = "FORMAT",
        hide_possible_values = true,
        hide_default_value = true,
        help_heading = GLOBAL
    )]
    pub output: Format,
    /// Address of a coordinator, HOST:PORT, or several with commas; without it, everything runs in this command
    #[arg(
        long,
        global = true,
        env = "SHOAL_CLUSTER",
        hide_env_values = true,
        value_name = "ADDRESS",
        help_heading = GLOBAL
    )]
    pub cluster: Option<String>,
    /// Who you are and to which cluster: the name of a context that `shoal login` made, or its file
    #[arg(
        long,
        global = true,
        env = "SHOAL_CONTEXT",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = GLOBAL
    )]
    pub context: Option<String>,
    /// Project that the work belongs to; by default named after the directory
    #[arg(
        long,
        global = true,
        env = "SHOAL_PROJECT",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = GLOBAL
    )]
    pub project: Option<String>,
    /// For how long to try while the cluster cannot answer, in seconds
    #[arg(
        long,
        global = true,
        default_value_t = 60.0,
        value_name = "SECONDS",
        help_heading = GLOBAL
    )]
    pub deadline: f64,
    /// Look at what one coordinator has, at once and also without a majority; it may lack what is newest
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub stale: bool,
    /// Say more: -v for what happens, -vv for details
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    pub verbose: u8,
    /// Say less: only results and errors
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Print this help
    #[arg(long, short, global = true, action = clap::ArgAction::HelpShort, help_heading = GLOBAL)]
    pub help: Option<bool>,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text and tables
    Human,
    /// One JSON value
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a valohai.yaml: every error and warning, each with its place
    Lint(Lint),
    /// Run pipelines and look at them
    #[command(visible_alias = "pipe", subcommand)]
    Pipeline(Pipeline),
    /// Run single steps and look at executions
    #[command(visible_alias = "exec", subcommand)]
    Execution(Execution),
    /// Tell why an execution waits, or where it went
    Explain {
        /// Number of the execution
        number: i64,
    },
    /// Run a worker, or look at the workers
    Worker(Worker),
    /// Run a coordinator
    Coordinator(Coordinator),
    /// Look at the cluster, change who belongs to it, back it up
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Say who may join the cluster
    #[command(subcommand)]
    Token(TokenCommand),
    /// Become known to a cluster that runs with TLS
    Login(Login),
    /// Ask a daemon of this machine how it is, for supervisors: exits with 0 when it is well
    Probe(Probe),
    /// Print the completions of a shell
    Completions(Completions),
    /// The embedded node by itself, until nothing is left to do.
    #[command(hide = true)]
    Serve(Serve),
}

/// Checks a file.
#[derive(Debug, Args)]
pub struct Lint {
    /// Files to check; by default the valohai.yaml of this directory or above
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Count warnings as errors
    #[arg(long)]
    pub strict_warnings: bool,
}

/// The file that is meant.
#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// The valohai.yaml to use, or the directory it is in; by default that of this directory or above
    #[arg(long, short = 'f', value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// What a run may be given.
#[derive(Debug, Clone, Args)]
pub struct Launch {
    /// The file.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Set a parameter; += adds to the default of one that takes several
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Give an input its files: datum://, file://, http:// or https://; repeat for several
    #[arg(long = "input", short = 'i', value_name = "NAME=URI")]
    pub inputs: Vec<String>,
    /// Read parameters from a JSON or YAML file
    #[arg(long, value_name = "FILE")]
    pub parameter_file: Option<PathBuf>,
    /// Environment (pool of workers) for what names none
    #[arg(long, value_name = "SLUG")]
    pub environment: Option<String>,
    /// Which of the executions that wait goes first, -100 to 100: greater is sooner
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-100..=100))]
    pub priority: i32,
    /// Title, for people
    #[arg(long)]
    pub title: Option<String>,
    /// Return once it is accepted; it goes on by itself
    #[arg(long, short = 'd')]
    pub detach: bool,
    /// Only check whether it could run
    #[arg(long, conflicts_with = "detach")]
    pub dry_run: bool,
}

/// Pipelines.
#[derive(Debug, Subcommand)]
pub enum Pipeline {
    /// Run a pipeline and watch it
    #[command(after_help = "\
Examples:
  shoal pipeline run train
  shoal pipeline run train --epochs=5                 a pipeline parameter
  shoal pipeline run train --preprocess.rows=1000     a parameter of one node
  shoal pipeline run train --input preprocess.data=https://example.com/data.csv")]
    Run {
        /// Name of the pipeline, or a prefix that only it has, in any case
        name: String,
        /// What it is given.
        #[command(flatten)]
        launch: Launch,
        /// Values by name: --PARAMETER=VALUE, --NODE.PARAMETER=VALUE, --NODE.INPUT=URI
        #[arg(allow_hyphen_values = true, value_name = "--NAME=VALUE")]
        values: Vec<String>,
    },
    /// Show what a pipeline would run, without running it
    Plan {
        /// Name of the pipeline, or a prefix that only it has, in any case
        name: String,
        /// The file.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List pipelines, newest first
    List(ListOptions),
    /// Show one pipeline
    Show(Number),
    /// Watch one pipeline until it ends; exits as it does
    Watch(Number),
    /// Cancel one pipeline
    Cancel(Number),
}

/// Executions.
#[derive(Debug, Subcommand)]
pub enum Execution {
    /// Run one step and watch it
    #[command(after_help = "\
Examples:
  shoal execution run train
  shoal execution run train --lr=0.1 --epochs 5
  shoal execution run evaluate --model=datum://0b8a1f0e-…   an input by its name")]
    Run {
        /// Name of the step, or a prefix that only it has, in any case
        step: String,
        /// What it is given.
        #[command(flatten)]
        launch: Launch,
        /// Set an environment variable
        #[arg(long = "env", value_name = "NAME=VALUE")]
        environment_variables: Vec<String>,
        /// Values by name: --PARAMETER=VALUE, --INPUT=URI
        #[arg(allow_hyphen_values = true, value_name = "--NAME=VALUE")]
        values: Vec<String>,
    },
    /// Print the shell lines of a step with its default parameters
    Command {
        /// Name of the step, or a prefix that only it has, in any case
        step: String,
        /// The file.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// List executions, newest first
    List {
        /// Options of every list.
        #[command(flatten)]
        options: ListOptions,
        /// Only those of this pipeline
        #[arg(long, value_name = "NUMBER", value_parser = number)]
        pipeline: Option<i64>,
    },
    /// Show everything that is recorded about one execution
    Show(Number),
    /// Watch one execution until it ends; exits as it does
    Watch(Number),
    /// Cancel one execution
    Cancel(Number),
    /// Print what its program printed
    Logs(Logs),
    /// Print its metadata: the series, or the latest values
    Metadata {
        /// Which.
        #[command(flatten)]
        number: Number,
        /// Go on with what is printed later
        #[arg(long, short = 'F')]
        follow: bool,
        /// Only the latest value of every key
        #[arg(long)]
        latest: bool,
    },
    /// Draw what it uses of its machine: processors, memory, disk, network, devices
    #[command(after_help = "\
Examples:
  shoal execution metrics 3               curves of the whole run so far
  shoal execution metrics 3 --follow      curves that go on
  shoal execution metrics 3 -o json       every sample, for programs")]
    Metrics {
        /// Which.
        #[command(flatten)]
        number: Number,
        /// Go on with what is measured later, until it ends
        #[arg(long, short = 'F')]
        follow: bool,
        /// Of another attempt than the newest
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
        attempt: Option<i32>,
    },
    /// List its output files, or download them
    Outputs {
        /// Which.
        #[command(flatten)]
        number: Number,
        /// Download them into this directory, checked against their digests
        #[arg(long, value_name = "DIR")]
        download: Option<PathBuf>,
        /// Overwrite files that are there already
        #[arg(long, requires = "download")]
        force: bool,
    },
}

/// Options of every list.
#[derive(Debug, Clone, Args)]
pub struct ListOptions {
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub limit: i32,
    /// Only those in these states: created, queued, started, stopping, stopped, error, complete
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "STATE",
        hide_possible_values = true
    )]
    pub state: Vec<StateName>,
}

/// States by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateName {
    /// Something it needs is not there yet
    Created,
    /// It waits for a worker
    Queued,
    /// It runs
    Started,
    /// It was asked to stop
    Stopping,
    /// It was stopped
    Stopped,
    /// It failed
    Error,
    /// It succeeded
    Complete,
}

/// A number in the project.
#[derive(Debug, Clone, Args)]
pub struct Number {
    /// Its number, as `shoal pipeline list` and `shoal execution list` show it
    #[arg(value_parser = number)]
    pub number: i64,
}

/// Prints a log.
#[derive(Debug, Args)]
pub struct Logs {
    /// Which.
    #[command(flatten)]
    pub number: Number,
    /// Go on with what is printed later, until it ends
    #[arg(long, short = 'F')]
    pub follow: bool,
    /// Start with this record; the first is 0
    #[arg(long, value_name = "RECORD", conflicts_with = "tail", value_parser = clap::value_parser!(i64).range(0..))]
    pub from: Option<i64>,
    /// Only the last so many records
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i64).range(0..))]
    pub tail: Option<i64>,
    /// Of another attempt than the newest
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    pub attempt: Option<i32>,
    /// Only this stream: stdout, stderr, status for Shoal's own words, or metric for what was measured
    #[arg(long, value_enum, value_name = "STREAM", hide_possible_values = true)]
    pub stream: Option<StreamName>,
    /// The bytes exactly as printed, also on a terminal
    #[arg(long)]
    pub raw: bool,
}

/// Streams by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StreamName {
    /// Standard output
    Stdout,
    /// Standard error
    Stderr,
    /// Shoal's own words
    Status,
    /// What was measured
    Metric,
}

/// Runs a coordinator.
#[derive(Debug, Args)]
pub struct Coordinator {
    /// Read settings from this TOML file, its section `coordinator`; what is given here counts more
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where it keeps its state
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub data_dir: Option<PathBuf>,
    /// Where it serves, HOST:PORT; port 0 takes a free one [default: 127.0.0.1:7461]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address at which others reach it, if it is not the one it listens on
    #[arg(long, value_name = "ADDRESS")]
    pub advertise: Option<String>,
    /// Found a new cluster if the data directory is empty
    #[arg(long, conflicts_with = "join")]
    pub bootstrap: bool,
    /// Of coordinators that are all started alike, the one that others reach here, HOST:PORT, founds the cluster unless it has a token
    /// to join with; the others join it there
    #[arg(long, value_name = "ADDRESS", conflicts_with = "bootstrap")]
    pub founder: Option<String>,
    /// Join the cluster of these coordinators, HOST:PORT, if the data directory is empty
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub join: Vec<String>,
    /// Join as what `shoal cluster add` admitted
    #[arg(long, value_name = "ID")]
    pub admission: Option<String>,
    /// TLS.
    #[command(flatten)]
    pub security: Security,
    /// Speak TLS also on loopback
    #[arg(long, conflicts_with = "insecure")]
    pub tls: bool,
    /// For how long certificates of workers count: a number with s, m or h; they renew themselves [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub worker_certificates: Option<std::time::Duration>,
    /// For how long certificates of coordinators count; they renew themselves [default: 720h]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub coordinator_certificates: Option<std::time::Duration>,
    /// For how long certificates of users count [default: 12h]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub user_certificates: Option<std::time::Duration>,
    /// How long a worker may be out of contact before its attempts are given to others, in seconds [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub lost_after: Option<f64>,
    /// What becomes of the steps of a worker that is out of contact, unless it says otherwise: `keep_running`, `wait` (never given to others), or `stop_after=35s` [default: keep_running]
    #[arg(long, value_name = "POLICY")]
    pub on_disconnect: Option<node::OnDisconnect>,
    /// What to keep the Raft log in if the data directory is empty: `file` or `sled`; a log that is there stays as it is [default: file]
    #[arg(long, value_name = "KIND")]
    pub raft_log: Option<node::RaftLog>,
    /// For how long to keep the log of an attempt that has ended: a number with s, m, h or d [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub keep_logs: Option<std::time::Duration>,
    /// How much to keep of the logs of attempts that have ended, the newest, as they lie on the disk: such as 500MB or 20GiB [default: all]
    #[arg(long, value_name = "BYTES", value_parser = node::parse_bytes)]
    pub keep_logs_bytes: Option<u64>,
    /// Know no rules above this feature level, so that the cluster is not raised above it and an upgrade can be taken back [default: all of this version]
    #[arg(long, value_name = "LEVEL")]
    pub max_feature_level: Option<u32>,
    /// Serve /metrics, /healthz and /readyz by plain HTTP at this address, HOST:PORT [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,
    /// Write its address to this file once it serves
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
}

/// The cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show every coordinator: role, term, indexes, lag, disk and version
    Status,
    /// Admit a coordinator that will serve at an address; `shoal coordinator --join` does so by itself
    Add {
        /// Where it will serve, HOST:PORT
        address: String,
    },
    /// Remove a coordinator for good
    Remove {
        /// Its number, as `shoal cluster status` shows it
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        member: i64,
        /// Remove it although another coordinator still fetches logs or source trees that only this one may have
        #[arg(long)]
        force: bool,
    },
    /// Let another coordinator lead
    TransferLeader {
        /// Its number; by default whichever is furthest along
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        member: Option<i64>,
    },
    /// Write the whole replicated state to a file, as a backup
    Snapshot {
        /// Where to
        file: PathBuf,
    },
    /// Show who changed what and who was denied, from the audit trail of a coordinator of this machine, and check that nothing was changed in it
    Audit {
        /// Directory of the coordinator; it may run meanwhile
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Found a new cluster from a backup, for when a majority of disks is lost
    Restore {
        /// The backup
        file: PathBuf,
        /// Directory of its first coordinator; empty, or not there yet
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
}

/// Join tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token that lets one machine or person in, once
    Create {
        /// What joins: worker, coordinator, user or admin
        #[arg(long, value_enum, value_name = "ROLE", hide_possible_values = true)]
        role: TokenRoleName,
        /// The only name that may join with it; users and administrators must have one
        #[arg(long)]
        name: Option<String>,
        /// For how long it can be used, at most 24h: a number with s, m or h
        #[arg(long, default_value = "15m", value_name = "TIME", value_parser = time)]
        ttl: std::time::Duration,
        /// Write it to this file, for nobody else to read, unless the file is there; repeat for several tokens
        #[arg(long = "file", value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List the tokens of the last day
    List,
    /// Revoke a token, or the certificates of who joined: worker/NAME, user/NAME, coordinator/ID
    Revoke {
        /// The token's id, or who
        what: String,
    },
}

/// Roles by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenRoleName {
    /// A worker
    Worker,
    /// A coordinator
    Coordinator,
    /// Somebody who runs pipelines
    User,
    /// A user who may also change the cluster
    Admin,
}

impl From<TokenRoleName> for contract::api::TokenRole {
    fn from(name: TokenRoleName) -> Self {
        match name {
            TokenRoleName::Worker => Self::Worker,
            TokenRoleName::Coordinator => Self::Coordinator,
            TokenRoleName::User => Self::User,
            TokenRoleName::Admin => Self::Admin,
        }
    }
}

/// Becomes known to a cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shoal login 10.0.0.1:7461 --token jt1.…              with a token of an administrator
  shoal login 10.0.0.1:7461                            renews what is there, while it counts
  shoal login 10.0.0.1:7461 --data-dir /var/lib/shoal  on a coordinator's machine: an admin")]
pub struct Login {
    /// Address of a coordinator, HOST:PORT, or several with commas
    pub address: String,
    /// Token that an administrator made with `shoal token create --role user`
    #[arg(long)]
    pub token: Option<String>,
    /// Data directory of a coordinator, whose key makes an administrator
    #[arg(long, value_name = "DIR", conflicts_with = "token")]
    pub data_dir: Option<PathBuf>,
    /// Name of that administrator
    #[arg(long, requires = "data_dir")]
    pub name: Option<String>,
    /// Name of the context to keep it in; by default the host of the address
    #[arg(long = "as", value_name = "CONTEXT")]
    pub context_name: Option<String>,
}

/// Asks a daemon how it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  shoal probe 127.0.0.1:9461           whether it lives
  shoal probe 127.0.0.1:9461 --ready   whether it also does its work")]
pub struct Probe {
    /// Where it serves its metrics, HOST:PORT
    pub address: String,
    /// Ask for more than that it lives: whether it does its work
    #[arg(long)]
    pub ready: bool,
}

/// How a daemon speaks to others.
#[derive(Debug, Clone, Args)]
pub struct Security {
    /// Token that lets it join; needed once
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SHOAL_JOIN_TOKEN",
        hide_env_values = true
    )]
    pub join_token: Option<String>,
    /// Read that token from this file; without the file it goes on with the certificate that it has
    #[arg(long, value_name = "FILE", conflicts_with = "join_token")]
    pub join_token_file: Option<PathBuf>,
    /// Speak without TLS also off loopback: whoever reaches the port can run programs
    #[arg(long, conflicts_with_all = ["join_token", "join_token_file"])]
    pub insecure: bool,
}

/// Prints completions.
#[derive(Debug, Args)]
#[command(after_help = "\
To have them in every new shell:
  bash  shoal completions bash > ~/.local/share/bash-completion/completions/shoal
  fish  shoal completions fish > ~/.config/fish/completions/shoal.fish
  zsh   shoal completions zsh > _shoal, in a directory of $fpath")]
pub struct Completions {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub shell: clap_complete::Shell,
}

/// The embedded node by itself.
#[derive(Debug, Args)]
pub struct Serve {
    /// Its data directory
    #[arg(long)]
    pub data_dir: PathBuf,
}

/// Reads `90s`, `15m`, `24h` or `30d`.
pub(crate) fn time(text: &str) -> Result<std::time::Duration, String> {
    let expected = || "expected a number with s, m, h or d, such as 15m".to_owned();
    let unit = text.chars().next_back().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    let total = count.checked_mul(seconds).filter(|total| *total > 0);
    total
        .map(std::time::Duration::from_secs)
        .ok_or_else(expected)
}

/// Reads `3` or `#3`.
fn number(text: &str) -> Result<i64, String> {
    match text.strip_prefix('#').unwrap_or(text).parse::<i64>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a number such as 3 or #3".to_owned()),
    }
}
