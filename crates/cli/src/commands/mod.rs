//! What each command does: one file a command.

mod lint;

mod pipeline;

mod execution;

mod config;
mod values;

mod run;

mod watch;

mod explain;
mod interrupts;

mod cancel;

mod cluster;

mod worker;

mod coordinator;

mod token;

mod login;

mod probe;

mod serve;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::CommandFactory as _;
use contract::api::Consistency;
use node::home::Home;
use serde_json::Value;

use crate::args::{Cli, Command, Format, Global};
use crate::connect::{Connection, Runs};
use crate::contexts::{self, Cluster};
use crate::{Exit, Failure};
use crate::{place, print};

/// What every command knows.
pub(crate) struct Context {
    /// Options of every command.
    pub(crate) global: Global,
    /// The directory the command was started in.
    pub(crate) current: PathBuf,
    /// The cluster that is meant; nothing for the embedded node.
    pub(crate) cluster: Option<Cluster>,
    /// Whether it was said what goes on beside this command's own work.
    told_resumed: AtomicBool,
}

impl Context {
    /// Name of the project that is meant.
    pub(crate) fn project(&self) -> String {
        self.global
            .project
            .clone()
            .unwrap_or_else(|| place::project(&place::root(&self.current)))
    }

    /// `projects/P`.
    pub(crate) fn parent(&self) -> String {
        format!("projects/{}", self.project())
    }

    /// `projects/P/executions/N`.
    pub(crate) fn execution(&self, number: i64) -> String {
        format!("{}/executions/{number}", self.parent())
    }

    /// `projects/P/pipelines/N`.
    pub(crate) fn pipeline(&self, number: i64) -> String {
        format!("{}/pipelines/{number}", self.parent())
    }

    /// Where the embedded node lives.
    pub(crate) fn home(&self) -> Home {
        Home::new(place::root(&self.current).join(place::SHOAL))
    }

    /// A way to the cluster that is meant. Connects to nothing yet.
    pub(crate) fn connect(&self) -> Connection {
        self.connect_as(Runs::Us)
    }

    /// The same, saying who runs the embedded node.
    pub(crate) fn connect_as(&self, runs: Runs) -> Connection {
        match &self.cluster {
            Some(cluster) => self.connect_to(cluster),
            None => Connection::embedded(self.home(), runs),
        }
    }

    /// A way to the cluster that is meant, or the only one that is known: for what an embedded node does not have.
    pub(crate) fn connect_to_cluster(&self) -> Result<Connection, Failure> {
        match &self.cluster {
            Some(cluster) => Ok(self.connect_to(cluster)),
            None => Ok(self.connect_to(&contexts::only()?)),
        }
    }

    fn connect_to(&self, cluster: &Cluster) -> Connection {
        let tell: fn(&str) = if self.global.quiet {
            |_| {}
        } else {
            |text| print::tell(&format!("{text}\n"))
        };
        Connection::to(cluster.clone(), self.deadline(), tell)
    }

    /// A way to look at what has run. Where nothing has, nothing is made to look at.
    pub(crate) fn connect_to_look(&self) -> Result<Connection, Failure> {
        if self.nothing_here() {
            let root = place::root(&self.current);
            return Err(
                Failure::nothing_here(format!("nothing has run in {}", root.display()))
                    .hint("go to the directory it ran in, or name a cluster with --cluster"),
            );
        }
        Ok(self.connect())
    }

    /// Whether there is no embedded node and never was one.
    pub(crate) fn nothing_here(&self) -> bool {
        self.cluster.is_none() && !self.home().path().exists()
    }

    /// For how long a call is tried.
    fn deadline(&self) -> Duration {
        // Below a millisecond it would not be tried again at all.
        Duration::try_from_secs_f64(self.global.deadline)
            .unwrap_or(Duration::MAX)
            .clamp(Duration::from_millis(1), Duration::from_secs(1 << 24))
    }

    /// How fresh what is looked at must be.
    pub(crate) fn consistency(&self) -> i32 {
        if self.global.stale {
            Consistency::Stale.into()
        } else {
            Consistency::Unspecified.into()
        }
    }

    /// Whether programs read what is printed.
    pub(crate) fn json(&self) -> bool {
        self.global.output == Format::Json
    }

    /// Prints a result: the value for programs, or the text for people.
    pub(crate) fn print(
        &self,
        value: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = if self.json() {
            format!("{:#}\n", value())
        } else {
            text()
        };
        write_out(text.as_bytes())
    }

    /// Says something beside the result, on standard error, unless quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.global.quiet {
            print::tell(&format!("{text}\n"));
        }
    }

    /// Text that follows what was shown, with a line between; nothing was shown to who wants it quiet.
    pub(crate) fn apart(&self, text: String) -> String {
        if self.global.quiet {
            text
        } else {
            format!("\n{text}")
        }
    }

    /// A bar for bytes on their way; hidden where nobody would see it.
    pub(crate) fn progress(&self, bytes: u64, what: &str) -> indicatif::ProgressBar {
        const WORTH_SHOWING: u64 = 1 << 20;
        if self.global.quiet || self.json() || bytes < WORTH_SHOWING {
            return indicatif::ProgressBar::hidden();
        }
        let bar = indicatif::ProgressBar::new(bytes).with_message(what.to_owned());
        let template =
            "{msg}  {wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}";
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    }

    /// Says, once, that the node that was started for this command goes on with what an earlier one left; `watched` of it
    /// need not be told.
    pub(crate) async fn note_resumed(&self, connection: &Connection, watched: usize) {
        if self.told_resumed.swap(true, Ordering::Relaxed) {
            return;
        }
        match connection
            .resumed()
            .await
            .unwrap_or(0)
            .saturating_sub(watched)
        {
            0 => {}
            1 => self.note("note: 1 run that an earlier command left goes on while this one runs"),
            count => self.note(&format!(
                "note: {count} runs that earlier commands left go on while this one runs"
            )),
        }
    }

    /// Ends a connection, having said what went on beside it.
    pub(crate) async fn close(&self, connection: Connection) {
        self.note_resumed(&connection, 0).await;
        connection.close().await;
    }
}

/// A fault of a node as a failure of the command that runs it.
pub(crate) fn failure(fault: node::Fault) -> Failure {
    match fault.is_untrusted() {
        true => Failure::untrusted(fault.to_string()),
        false => Failure::new(fault.to_string()),
    }
}

/// Writes to standard output. Who closes it has read enough: then the command ends quietly.
pub(crate) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Does what was typed.
pub(crate) async fn execute(cli: Cli) -> Result<Exit, Failure> {
    let current = std::env::current_dir()
        .map_err(|error| Failure::new(format!("the current directory cannot be used: {error}")))?;
    let context = Context {
        cluster: contexts::chosen(&cli.global)?,
        global: cli.global,
        current,
        told_resumed: false.into(),
    };
    match cli.command {
        Command::Lint(arguments) => lint::lint(&context, &arguments),
        Command::Pipeline(command) => pipeline::execute(&context, command).await,
        Command::Execution(command) => execution::execute(&context, command).await,
        Command::Explain { number } => explain::execute(&context, number).await,
        Command::Worker(command) => worker::execute(&context, command).await,
        Command::Cluster(command) => cluster::execute(&context, &command).await,
        Command::Coordinator(arguments) => coordinator::run(&context, arguments).await,
        Command::Token(command) => token::execute(&context, command).await,
        Command::Login(arguments) => login::run(&context, &arguments).await,
        Command::Probe(arguments) => probe::run(&context, &arguments),
        Command::Serve(arguments) => serve::run(&arguments).await,
        Command::Completions(arguments) => {
            let mut script = Vec::new();
            clap_complete::generate(arguments.shell, &mut Cli::command(), "shoal", &mut script);
            write_out(&script)?;
            Ok(Exit::Done)
        }
    }
}
