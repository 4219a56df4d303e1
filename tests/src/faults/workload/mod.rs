//! What clients do while things break, and what must hold when all is mended.

pub(super) mod calls;

mod register;

mod cas;

mod dag;

mod fence;

mod tail;

mod witness;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use client::{Client, Fixed, Options};
use tokio::sync::watch;

use super::{Clock, Tally};

/// A kind of load with its promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Executions are made and looked for: their numbers behave as those of one counter (I-01, I-02, I-03).
    Register,
    /// Executions are cancelled while they run and end (I-02, I-03, I-05, I-08, I-10).
    Cas,
    /// Pipelines: no step starts before those that it waits for are complete (I-06, I-08, I-09).
    Dag,
    /// Steps leave their tokens in a file outside: what counts is one whole attempt of each (I-06, I-08).
    Fence,
    /// Many read logs while these are written, now from one coordinator, now from another (I-21).
    Tail,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Register,
        Self::Cas,
        Self::Dag,
        Self::Fence,
        Self::Tail,
    ];

    /// The workload of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|workload| workload.to_string() == name)
    }

    /// Drives a cluster until faults are mended, waits until all has come to its end, and looks whether what was promised holds.
    ///
    /// # Errors
    /// When something fails that is not the cluster's.
    pub async fn drive(self, context: Arc<Context>) -> anyhow::Result<Report> {
        match self {
            Self::Register => register::drive(context).await,
            Self::Cas => cas::drive(context).await,
            Self::Dag => dag::drive(context).await,
            Self::Fence => fence::drive(context).await,
            Self::Tail => tail::drive(context).await,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "register",
            Self::Cas => "cas",
            Self::Dag => "dag",
            Self::Fence => "fence",
            Self::Tail => "tail",
        })
    }
}

/// What of a run a workload is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Things break.
    Faults,
    /// All is mended and stays so.
    Healed,
}

/// What a workload knows of its run.
#[derive(Debug)]
pub struct Context {
    /// Where clients find the coordinators.
    pub addresses: Vec<String>,
    /// Where each coordinator can be reached by itself, past its proxy.
    pub direct: Vec<String>,
    /// A directory for files of the workload.
    pub place: PathBuf,
    /// The clock of the histories.
    pub clock: Clock,
    /// How many operations were answered as they should be, so far.
    pub succeeded: Arc<AtomicU64>,
    /// What of the run it is.
    pub phase: watch::Receiver<Phase>,
    /// Chance.
    pub seed: u64,
    /// Whether a fault of this run may cost attempts: workers are lost, or their machines.
    pub may_cost_attempts: bool,
}

/// How long one call may take while things break. Who waits longer learns less.
const IMPATIENT: Duration = Duration::from_secs(4);

/// How long a call may take when all is mended.
const PATIENT: Duration = Duration::from_secs(60);

/// How long everything may take to come to its end when all is mended.
const SETTLING: Duration = Duration::from_secs(180);

impl Context {
    /// A client that tries coordinator `first` first.
    pub fn client(&self, first: usize, deadline: Duration) -> Client {
        let mut addresses = self.addresses.clone();
        let first = first % addresses.len().max(1);
        addresses.rotate_left(first);
        let options = Options {
            deadline,
            patience: deadline,
            silence: Duration::from_secs(15),
        };
        Client::with_options(Fixed(addresses), options)
    }

    /// A tally of a part of the run.
    pub fn tally(&self) -> Tally {
        Tally::of_run(&self.succeeded)
    }

    /// Whether things still break.
    pub fn faulty(&self) -> bool {
        *self.phase.borrow() == Phase::Faults
    }
}

/// What a workload found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How calls ended.
    pub tally: Tally,
    /// What was promised and does not hold, in words.
    pub violations: Vec<String>,
    /// What is worth to be known, in words.
    pub notes: Vec<String>,
}

impl Report {
    /// Notes a broken promise.
    fn broken(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }
}
