//! Real processes under real faults: workloads by nemeses, power cuts, damaged files.
//!
//!     cargo run --release -p cluster-tests --bin campaign -- run --workload register --nemesis kill-leader --seconds 60
//!     cargo run --release -p cluster-tests --bin campaign -- run --workload all --nemesis all --seconds 60 --record
//!     cargo run --release -p cluster-tests --bin campaign -- power-cut --cuts 300
//!     cargo run --release -p cluster-tests --bin campaign -- damage --trials 200
//!
//! One line a run; exit code 1 when something that was promised does not hold. Some faults need the right to mount.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Parser, Subcommand};
use cluster_tests::faults::campaign::{self, LEAST_OPERATIONS, Outcome, Plan};
use cluster_tests::faults::load::{self, Load};
use cluster_tests::faults::nemesis::Nemesis;
use cluster_tests::faults::power::{self, Cuts};
use cluster_tests::faults::workload::Workload;
use cluster_tests::faults::{damages, storage};
use futures::StreamExt as _;

/// Set in the process whose mounts nobody else sees.
const PRIVATE: &str = "SHOAL_CAMPAIGN_PRIVATE";

/// Breaks clusters of real processes and looks whether what was promised holds.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A workload under a nemesis
    Run(Run),
    /// The power of all coordinators at once
    PowerCut(PowerCut),
    /// Files of one coordinator
    Damage(DamageTrials),
    /// Full load while nothing is broken: nobody may call an election
    Load(Loaded),
    /// Print the names of workloads and nemeses
    List,
}

/// What holds for all.
#[derive(Debug, Args)]
struct Common {
    /// How many coordinators
    #[arg(long, default_value_t = 3)]
    coordinators: usize,
    /// Chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Append a line to docs/reliability/ledger.tsv
    #[arg(long)]
    record: bool,
}

impl Common {
    /// Appends a line to the ledger, if that was asked for.
    fn note(
        &self,
        layer: &str,
        faults: u64,
        operations: u64,
        violations: usize,
        command: &str,
    ) -> anyhow::Result<()> {
        if !self.record {
            return Ok(());
        }
        let Self {
            coordinators, seed, ..
        } = self;
        let command = format!("campaign {command} --coordinators {coordinators} --seed {seed}");
        storage::record(layer, *seed, faults, operations, violations, &command)
    }
}

#[derive(Debug, Args)]
struct Run {
    /// Its name, several with commas, or `all`
    #[arg(long, default_value = "all")]
    workload: String,
    /// Its name, several with commas, or `all`
    #[arg(long, default_value = "all")]
    nemesis: String,
    /// For how long things break, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many clusters are broken at once
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct PowerCut {
    /// How often
    #[arg(long, default_value_t = 300)]
    cuts: u64,
    /// Writes that are acknowledged between two cuts, at most
    #[arg(long, default_value_t = 1_500)]
    writes: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct DamageTrials {
    /// How often
    #[arg(long, default_value_t = 200)]
    trials: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Loaded {
    /// For how long, in seconds
    #[arg(long, default_value_t = 3_600)]
    seconds: u64,
    #[command(flatten)]
    common: Common,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if std::env::var_os(PRIVATE).is_none()
        && let Some(code) = in_private()
    {
        return Ok(code);
    }
    storage::commit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let is_good = runtime.block_on(async {
        match &arguments.what {
            What::Run(run) => runs(run).await,
            What::PowerCut(cuts) => power_cut(cuts).await,
            What::Damage(trials) => damage(trials).await,
            What::Load(load) => loaded(load).await,
            What::List => {
                println!("{}", names(&Workload::ALL));
                println!("{}", names(&Nemesis::ALL));
                Ok(true)
            }
        }
    })?;
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs this command again where its mounts end with it; none where that cannot be had.
fn in_private() -> Option<ExitCode> {
    let unshare = ["--mount", "--propagation", "private"];
    let probe = Command::new("unshare").args(unshare).arg("true").output();
    if !probe.is_ok_and(|done| done.status.success()) {
        return None;
    }
    // Private first, so that nothing is seen outside; then shared among all that is started here: the standing shims of one fleet have mounts of their
    // own, and would keep the disks of another one mounted for as long as they live if they were not told that these are unmounted.
    let status = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", "mount --make-rshared / && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().ok()?)
        .args(std::env::args_os().skip(1))
        .env(PRIVATE, "1")
        .status()
        .ok()?;
    Some(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn names(all: &[impl ToString]) -> String {
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    names.join(" ")
}

/// What a list of names means.
fn chosen<T: Copy + ToString>(
    asked: &str,
    all: &[T],
    named: impl Fn(&str) -> Option<T>,
) -> anyhow::Result<Vec<T>> {
    if asked == "all" {
        return Ok(all.to_vec());
    }
    asked
        .split(',')
        .map(|name| named(name).with_context(|| format!("{name:?} is none of: {}", names(all))))
        .collect()
}

async fn runs(run: &Run) -> anyhow::Result<bool> {
    let workloads = chosen(&run.workload, &Workload::ALL, Workload::named)?;
    let nemeses = chosen(&run.nemesis, &Nemesis::ALL, Nemesis::named)?;
    let mut plans = Vec::new();
    for nemesis in &nemeses {
        plans.extend(workloads.iter().map(|workload| Plan {
            workload: *workload,
            nemesis: *nemesis,
            faulty: Duration::from_secs(run.seconds),
            coordinators: run.common.coordinators,
            least_operations: LEAST_OPERATIONS,
            seed: run.common.seed,
        }));
    }
    let all = plans.len();
    let mut outcomes = futures::stream::iter(plans)
        .map(|plan| async move { (plan.clone(), campaign::run(plan).await) })
        .buffer_unordered(run.jobs.max(1));
    let mut bad = 0;
    while let Some((plan, outcome)) = outcomes.next().await {
        bad += usize::from(!told(run, &plan, outcome)?);
    }
    println!("{} of {all} runs are good", all - bad);
    Ok(bad == 0)
}

/// Prints and records how a run ended; whether it was good.
fn told(run: &Run, plan: &Plan, outcome: anyhow::Result<Outcome>) -> anyhow::Result<bool> {
    let Plan {
        workload, nemesis, ..
    } = plan;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            println!("{workload} x {nemesis}: FAILED: {error:#}");
            return Ok(false);
        }
    };
    println!("{outcome}");
    for violation in &outcome.report.violations {
        println!("    {violation}");
    }
    // Too few operations show nothing, so there is nothing to record.
    if outcome.is_good() || !outcome.report.violations.is_empty() {
        let (done, violations) = (outcome.report.tally.ok, outcome.report.violations.len());
        let command = format!(
            "run --workload {workload} --nemesis {nemesis} --seconds {}",
            run.seconds
        );
        run.common
            .note("L4", outcome.faults, done, violations, &command)?;
    }
    Ok(outcome.is_good())
}

async fn power_cut(cuts: &PowerCut) -> anyhow::Result<bool> {
    let start = Instant::now();
    let common = &cuts.common;
    let plan = Cuts {
        coordinators: common.coordinators,
        count: cuts.cuts,
        writes: 1..cuts.writes.max(2),
        snapshot_entries: 20..2_000,
        seed: common.seed,
    };
    let found = power::power_cuts(&plan, |so_far| {
        if so_far.trials.is_multiple_of(10) || !so_far.violations.is_empty() {
            eprintln!(
                "{} cuts, {} acknowledged, {} violations",
                so_far.trials,
                so_far.acknowledged,
                so_far.violations.len()
            );
        }
    })
    .await?;
    for violation in &found.violations {
        println!("    {violation}");
    }
    println!(
        "power cuts of {} coordinators: {} cuts, {} acknowledged writes, {} violations, {}",
        common.coordinators,
        found.trials,
        found.acknowledged,
        found.violations.len(),
        storage::seconds(start)
    );
    let command = format!("power-cut --cuts {} --writes {}", cuts.cuts, cuts.writes);
    let violations = found.violations.len();
    common.note("L5", found.trials, found.acknowledged, violations, &command)?;
    Ok(found.violations.is_empty())
}

async fn damage(asked: &DamageTrials) -> anyhow::Result<bool> {
    let start = Instant::now();
    let common = &asked.common;
    ensure!(common.coordinators > 0, "there must be a coordinator");
    if asked.trials == 0 {
        bail!("no trials show nothing");
    }
    let each = |trial: &str| eprintln!("{trial}");
    let found = damages::damages(common.coordinators, asked.trials, common.seed, each).await?;
    for violation in &found.violations {
        println!("    {violation}");
    }
    println!(
        "damage to one of {} coordinators: {} trials, {} noticed, {} harmless, {} acknowledged writes, {} violations, {}",
        common.coordinators,
        found.trials,
        found.detected,
        found.harmless,
        found.acknowledged,
        found.violations.len(),
        storage::seconds(start)
    );
    let command = format!("damage --trials {}", asked.trials);
    let violations = found.violations.len();
    common.note("L5", found.trials, found.acknowledged, violations, &command)?;
    Ok(found.violations.is_empty())
}

async fn loaded(asked: &Loaded) -> anyhow::Result<bool> {
    let common = &asked.common;
    let plan = Load {
        lasts: Duration::from_secs(asked.seconds),
        coordinators: common.coordinators,
        seed: common.seed,
    };
    let seen = load::run(plan, |line| eprintln!("{line}")).await?;
    for violation in &seen.violations {
        println!("    {violation}");
    }
    println!(
        "full load on {} coordinators for {} s: {} executions, {} elections, {} violations, processors idle {:.0} %, coordinators take {:?} MiB",
        common.coordinators,
        asked.seconds,
        seen.completed,
        seen.elections,
        seen.violations.len(),
        seen.idle_percent.unwrap_or(f64::NAN),
        seen.memory_mib
    );
    let command = format!("load --seconds {}", asked.seconds);
    common.note("L4", 0, seen.completed, seen.violations.len(), &command)?;
    Ok(seen.violations.is_empty())
}
