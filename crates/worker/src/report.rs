//! What a worker says of its attempts, and how often.
//!
//! A state is told at once when an attempt is finished (or with the next ones, while more wait) and when the link comes up, soon when something else has changed, and every
//! few seconds when nothing has. Each message says everything, so a late one is worth as much as all that it overtook.

use contract::link::{AttemptPhase, AttemptReport, AttemptResult};

use crate::attempt::{Attempt, Life};
use crate::verdict::signed;

/// How long a change that nobody waits for may stay untold, so that several are told together.
pub(crate) const SOON_US: u64 = 20_000;
/// The same for new metadata.
pub(crate) const METADATA_US: u64 = 1_000_000;
/// The same for how busy the machine is, which is for people only.
pub(crate) const USAGE_US: u64 = 1_000_000;
/// While many attempts wait for each slot, nobody waits for one that is over. What those printed that end within so much time goes
/// to the coordinators together, and costs them one sync.
pub(crate) const PUSHED_US: u64 = 10_000;
/// Those of which all is stored are told of together too: the answers to one push come within so much time.
pub(crate) const TOLD_US: u64 = 2_500;
/// A state is told this often when nothing changes.
const REGULAR_US: u64 = 5_000_000;

/// When to say what has come up at `now`: with all else of the same `span`, if the worker `is_busy`; else at once.
pub(crate) fn gathered(now: u64, span: u64, is_busy: bool) -> u64 {
    match is_busy {
        true => (now / span + 1) * span,
        false => now,
    }
}

/// When to tell the state again, by the worker's own clock.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    due: Option<u64>,
}

impl Pace {
    /// Something has changed; it is to be told by `time`.
    pub(crate) fn by(&mut self, time: u64) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    pub(crate) fn told(&mut self, now: u64) {
        self.due = Some(now + REGULAR_US);
    }

    pub(crate) fn wakeup(&self) -> Option<u64> {
        self.due
    }
}

/// What is said of one attempt.
pub(crate) fn of_attempt(attempt: &Attempt, now: u64) -> AttemptReport {
    let phase = phase(attempt, now);
    let prepared = attempt.prepared.as_ref();
    let mut report = AttemptReport {
        fence: Some(attempt.fence.into()),
        phase: phase.into(),
        prepare_time_us: prepared.map_or(0, |prepared| signed(prepared.time_us)),
        live_outputs: attempt.live_outputs.clone(),
        ..AttemptReport::default()
    };
    if phase == AttemptPhase::Preparing {
        return report;
    }
    report.start_time_us = attempt.start.map_or(0, |start| signed(start.time_us));
    report.inputs = prepared.map_or_else(Vec::new, |prepared| prepared.inputs.clone());
    report.image_digest =
        prepared.map_or_else(String::new, |prepared| prepared.image_digest.clone());
    match &attempt.life {
        Life::Finished { result } => report.result = Some(AttemptResult::clone(result)),
        _ => report.metadata_json = attempt.printed.metadata_json(),
    }
    report
}

fn phase(attempt: &Attempt, now: u64) -> AttemptPhase {
    match attempt.life {
        Life::Finished { .. } => AttemptPhase::Finished,
        _ if attempt.is_quiet(now) => AttemptPhase::Preparing,
        Life::Collecting { .. } | Life::Draining { .. } => AttemptPhase::Finishing,
        _ => AttemptPhase::Running,
    }
}
