//! One workload under one nemesis.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

use super::nemesis::Nemesis;
use super::workload::{Context, Phase, Report, Workload};
use super::{Clock, Fleet, Settings};

/// Fewer operations than this show nothing.
pub const LEAST_OPERATIONS: u64 = 500;
/// A run in which little succeeds, because everything comes late, say, may go on for so many times as long; see [`Plan::faulty`].
const LONGER: u32 = 5;

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What clients do.
    pub workload: Workload,
    /// What breaks.
    pub nemesis: Nemesis,
    /// For how long things break; up to five times as long until [`least_operations`](Self::least_operations) have succeeded.
    pub faulty: Duration,
    /// How many coordinators there are.
    pub coordinators: usize,
    /// How many operations must succeed at least.
    pub least_operations: u64,
    /// Chance.
    pub seed: u64,
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// What the workload found.
    pub report: Report,
    /// How many faults there were.
    pub faults: u64,
    /// How long all of it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether everything that was promised holds, and enough was done to say so.
    pub fn is_good(&self) -> bool {
        self.report.violations.is_empty() && self.report.tally.ok >= self.plan.least_operations
    }
}

/// One line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            tally,
            violations,
            notes,
        } = &self.report;
        let verdict = match (violations.is_empty(), self.is_good()) {
            (true, true) => "good",
            (true, false) => "TOO FEW OPERATIONS",
            (false, _) => "VIOLATED",
        };
        let refused: u64 = tally.refused.values().sum();
        write!(
            f,
            "{} x {}: {verdict}: {} ok, {} unknown, {refused} refused, {} faults, {} violations, {:.0} s ({})",
            self.plan.workload,
            self.plan.nemesis,
            tally.ok,
            tally.unknown,
            self.faults,
            violations.len(),
            self.took.as_secs_f64(),
            notes.join("; ")
        )
    }
}

/// Runs it. A cluster whose run was not good is kept, with all its data and logs.
///
/// # Errors
/// When something fails that is not a promise: nothing can be mounted, say, or a daemon does not come back when all is mended.
pub async fn run(plan: Plan) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let mut chance = ChaCha8Rng::seed_from_u64(plan.seed);
    let mut fleet = Fleet::start(Settings {
        name: format!("{}-{}", plan.workload, plan.nemesis),
        coordinators: plan.coordinators,
        workers: 2,
        slots: 3,
        lost_after: if plan.nemesis.may_cost_attempts() {
            4.0
        } else {
            60.0
        },
        forgets: plan.nemesis.needs_disks().then(|| chance.random()),
        set_clocks: plan.nemesis.needs_clocks(),
        snapshot_entries: None,
    })
    .await?;
    let result = under_faults(&mut fleet, &plan, &mut chance).await;
    let outcome = result.map(|(report, faults)| Outcome {
        plan,
        report,
        faults,
        took: start.elapsed(),
    });
    if !outcome.as_ref().is_ok_and(Outcome::is_good) {
        fleet.place.keep();
    }
    outcome
}

async fn under_faults(
    fleet: &mut Fleet,
    plan: &Plan,
    chance: &mut ChaCha8Rng,
) -> anyhow::Result<(Report, u64)> {
    let (phase, follow) = watch::channel(Phase::Faults);
    let succeeded = Arc::new(AtomicU64::new(0));
    let context = Arc::new(Context {
        addresses: fleet.addresses(),
        direct: (0..fleet.size())
            .map(|at| fleet.direct(at).to_owned())
            .collect(),
        place: fleet.place.path().to_owned(),
        clock: Clock::new(),
        succeeded: succeeded.clone(),
        phase: follow,
        seed: chance.random(),
        may_cost_attempts: plan.nemesis.may_cost_attempts(),
    });
    let workload = tokio::spawn(plan.workload.drive(context));
    let begun = tokio::time::Instant::now();
    let (until, last) = (begun + plan.faulty, begun + plan.faulty * LONGER);
    let enough = plan.least_operations;
    let is_over = || {
        let now = tokio::time::Instant::now();
        let is_enough = succeeded.load(Ordering::Relaxed) >= enough;
        now >= last || (is_enough && now >= until)
    };
    let faults = plan.nemesis.rage(fleet, chance, until, is_over).await;
    let healed = fleet.heal().await;
    phase.send_replace(Phase::Healed);
    let faults = faults.and_then(|faults| healed.map(|()| faults));
    let faults = faults.context("the cluster does not come back when all is mended")?;
    let report = workload.await??;
    Ok((report, faults))
}
