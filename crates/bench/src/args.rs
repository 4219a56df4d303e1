//! What can be asked for: one command per row of `docs/performance.md`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as Group, Parser, Subcommand};

use crate::contenders::group::Kind;
use crate::work::Script;

/// Measures Shoal beside its floors and peers; prints JSON lines, and a table on standard error.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Args {
    /// Which row.
    #[command(subcommand)]
    pub(crate) row: Row,
}

/// The rows.
#[derive(Debug, Subcommand)]
pub(crate) enum Row {
    /// One trivial execution at a time: submit to complete, log sealed, durable
    P1 {
        /// Who takes part.
        #[command(flatten)]
        race: Race,
        /// Executions a round
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        count: usize,
    },
    /// Many independent trivial executions at once
    P2 {
        /// Who takes part.
        #[command(flatten)]
        race: Race,
        /// Executions a round
        #[arg(long, default_value_t = 2_000, value_parser = at_least_one)]
        count: usize,
    },
    /// A chain of steps, a small file from each to the next
    P3 {
        /// Who takes part.
        #[command(flatten)]
        race: Race,
        /// Steps in the chain
        #[arg(long, default_value_t = 100, value_parser = at_least_one)]
        length: usize,
    },
    /// Scheduling alone, in the mind: a decision, by how many wait and how many workers there are
    P4(Scheduling),
    /// Writes through three coordinators, one at a time and many in flight, beside etcd
    P5(Submit),
    /// The leader of three is killed under load: the first write after it, beside etcd
    P9(Failover),
    /// Footprint: memory and disk of the daemons, start of the embedded node
    P10(Footprint),
    /// A step in a container, log and output included, beside `docker run --rm`
    P11(Containers),
    /// Cold build of the workspace
    P12(Build),
}

/// Who takes part, and for how long.
#[derive(Debug, Group)]
pub(crate) struct Race {
    /// How it is measured.
    #[command(flatten)]
    pub(crate) common: Common,
    /// Steps that run at once
    #[arg(long, default_value_t = 2, value_parser = at_least_one)]
    pub(crate) slots: usize,
    /// What the shell of a trivial step runs, in every contender: its own `true`, or a second program
    #[arg(long, value_enum, default_value = "true")]
    pub(crate) script: Script,
    /// A cluster that runs already, HOST:PORT, instead of one of its own: for profilers
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) cluster: Option<String>,
    /// A peer that takes part: its name, and the command that drives it (see peers/); repeat for several
    #[arg(long = "peer", value_name = "NAME=COMMAND")]
    pub(crate) peers: Vec<PeerCommand>,
}

/// How anything is measured.
#[derive(Debug, Group)]
pub(crate) struct Common {
    /// Rounds, each contender in turn
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// The `shoal` to measure; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    pub(crate) shoal: Option<PathBuf>,
    /// Where the data of the daemons is put: a file system whose syncs are real; by default that of temporary files
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// Decisions.
#[derive(Debug, Group)]
pub(crate) struct Scheduling {
    /// How many executions wait, one size after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000], value_parser = at_least_one)]
    pub(crate) waiting: Vec<usize>,
    /// How many workers there are, each with each
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 10_000], value_parser = at_least_one)]
    pub(crate) workers: Vec<usize>,
    /// Decisions that are measured for each size
    #[arg(long, default_value_t = 20_000, value_parser = at_least_one)]
    pub(crate) rounds: usize,
}

/// Writes.
#[derive(Debug, Group)]
pub(crate) struct Submit {
    /// How it is measured.
    #[command(flatten)]
    pub(crate) common: Common,
    /// Writes of a round that are made one at a time
    #[arg(long, default_value_t = 200, value_parser = at_least_one)]
    pub(crate) count: usize,
    /// Writes of a round that are made many at a time
    #[arg(long, default_value_t = 5_000, value_parser = at_least_one)]
    pub(crate) many: usize,
    /// How many of these are in flight
    #[arg(long, default_value_t = 256, value_parser = at_least_one)]
    pub(crate) in_flight: usize,
    /// etcd, which must be installed, takes no part
    #[arg(long)]
    pub(crate) alone: bool,
}

impl Submit {
    /// Who takes part.
    pub(crate) fn contenders(&self) -> Vec<Kind> {
        contenders(self.alone)
    }
}

/// Failover.
#[derive(Debug, Group)]
pub(crate) struct Failover {
    /// How it is measured; there are no rounds.
    #[command(flatten)]
    pub(crate) common: Common,
    /// How often the leader is killed
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub(crate) kills: usize,
    /// etcd, which must be installed, takes no part
    #[arg(long)]
    pub(crate) alone: bool,
}

impl Failover {
    /// Who takes part.
    pub(crate) fn contenders(&self) -> Vec<Kind> {
        contenders(self.alone)
    }
}

fn contenders(alone: bool) -> Vec<Kind> {
    if alone {
        vec![Kind::Shoal]
    } else {
        vec![Kind::Shoal, Kind::Etcd]
    }
}

/// Footprint.
#[derive(Debug, Group)]
pub(crate) struct Footprint {
    /// How it is measured.
    #[command(flatten)]
    pub(crate) common: Common,
    /// Finished executions by which the coordinator's growth is divided
    #[arg(long, default_value_t = 5_000, value_parser = at_least_one)]
    pub(crate) count: usize,
}

/// Containers.
#[derive(Debug, Group)]
pub(crate) struct Containers {
    /// How it is measured.
    #[command(flatten)]
    pub(crate) common: Common,
    /// Steps of a round that are run one at a time
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    pub(crate) count: usize,
    /// Steps of a round that are run many at a time
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub(crate) many: usize,
    /// How many of these run at once
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    pub(crate) slots: usize,
    /// The image; it has to be on this machine, and to have a shell
    #[arg(long, default_value = "busybox:latest")]
    pub(crate) image: String,
}

/// Build.
#[derive(Debug, Group)]
pub(crate) struct Build {
    /// Rounds; one takes minutes
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// The workspace to build; by default this directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) workspace: PathBuf,
}

/// A peer and how to drive it.
#[derive(Debug, Clone)]
pub(crate) struct PeerCommand {
    /// Name in the table.
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
}

impl FromStr for PeerCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, command) = text.split_once('=').ok_or("expected NAME=COMMAND")?;
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || command.is_empty() {
            return Err("expected NAME=COMMAND".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            command,
        })
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}
