//! What clients asked about single executions and were answered, for the judge of histories.

use std::collections::BTreeMap;

use check::Operation;
use check::models::{LifeCall, Phase};
use contract::api::{EndReason, State};
use ledger::Ledger;

use super::PROJECT;

/// Operations by the number of the execution that they were about.
#[derive(Debug, Default)]
pub(crate) struct History(BTreeMap<i64, Vec<Operation<LifeCall, Phase>>>);

impl History {
    /// An execution was made.
    pub(crate) fn created(&mut self, number: i64, start_us: u64, end_us: u64) {
        self.add(
            number,
            Operation::answered(LifeCall::Create, Phase::Live, start_us, end_us),
        );
    }

    /// Somebody was shown where an execution is.
    pub(crate) fn seen(&mut self, number: i64, phase: Phase, start_us: u64, end_us: u64) {
        self.add(
            number,
            Operation::answered(LifeCall::Read, phase, start_us, end_us),
        );
    }

    /// A cancel was answered. It took effect at some moment since it was asked for the first time; the answer, which may be to any of the tries, shows where
    /// the execution was at another such moment.
    pub(crate) fn cancelled(&mut self, number: i64, phase: Phase, first_us: u64, end_us: u64) {
        self.add(number, Operation::unknown(LifeCall::Cancel, first_us));
        self.seen(number, phase, first_us, end_us);
    }

    /// The histories of all executions.
    pub(crate) fn of_each(&self) -> impl Iterator<Item = (i64, &[Operation<LifeCall, Phase>])> {
        self.0
            .iter()
            .map(|(number, history)| (*number, &history[..]))
    }

    fn add(&mut self, number: i64, operation: Operation<LifeCall, Phase>) {
        self.0.entry(number).or_default().push(operation);
    }
}

/// Where an execution is in a ledger. One that was stopped for another reason than a cancel came to its end by itself.
pub(crate) fn phase(ledger: &Ledger, number: i64) -> Phase {
    let Some(execution) = ledger.execution(PROJECT, number) else {
        return Phase::Absent;
    };
    match execution.state() {
        State::Stopping => Phase::Stopping,
        State::Stopped if execution.end_reason == EndReason::Cancelled => Phase::Stopped,
        State::Stopped | State::Error => Phase::Error,
        State::Complete => Phase::Complete,
        _ => Phase::Live,
    }
}
