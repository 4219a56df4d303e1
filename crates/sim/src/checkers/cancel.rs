//! I-10: after a cancel no attempt begins, a worker that hears of it asks its program to end within a second, and the end is
//! STOPPED unless the program came to its own end first.

use std::collections::{BTreeMap, BTreeSet};

use contract::api::State;
use coordinator::{Answer, Request};
use ledger::Ledger;
use worker::{ExitReason, Fence};

use super::{Checker, Fact, Moment, Outcome};
use crate::clients::PROJECT;
use crate::event::MachineId;
use crate::stage;
use crate::swarm::SECOND;

/// How long a worker may take to ask.
const WITHIN_US: u64 = SECOND;

/// What was cancelled, and what was done about it.
#[derive(Debug, Default)]
pub(super) struct Cancel {
    /// Executions whose cancel was answered, with the revision of the answer.
    cancelled: BTreeMap<i64, u64>,
    running: BTreeMap<Fence, MachineId>,
    signalled: BTreeSet<Fence>,
    /// Programs that came to their own end.
    by_itself: BTreeSet<Fence>,
    /// What each daemon was told to stop.
    told: BTreeMap<MachineId, BTreeSet<Fence>>,
    deadlines: BTreeMap<Fence, u64>,
}

impl Cancel {
    fn note(&mut self, number: i64, ledger: &Ledger) -> Result<(), String> {
        let Some(execution) = ledger.execution(PROJECT, number) else {
            return Ok(());
        };
        if !execution.is_final() && execution.state() != State::Stopping {
            return Err(format!(
                "the cancel of #{number} was answered, and it is {:?}",
                execution.state()
            ));
        }
        if !execution.is_final() {
            self.cancelled.entry(number).or_insert(ledger.revision());
        }
        Ok(())
    }

    fn check(&self, ledger: &Ledger) -> Result<(), String> {
        for (number, revision) in &self.cancelled {
            let Some(execution) = ledger.execution(PROJECT, *number) else {
                continue;
            };
            if let Some(late) = execution
                .attempts
                .iter()
                .find(|attempt| attempt.fence_index > *revision)
            {
                return Err(format!(
                    "#{number} was cancelled at {revision}, and attempt {} began",
                    late.number
                ));
            }
            let last = execution
                .attempts
                .last()
                .map(|attempt| stage::fence(execution.fence(attempt)));
            let by_itself = last.is_some_and(|fence| self.by_itself.contains(&fence));
            if execution.state() == State::Complete && !by_itself {
                return Err(format!(
                    "#{number} was cancelled, its program was stopped, and it is COMPLETE"
                ));
            }
        }
        Ok(())
    }
}

impl Checker for Cancel {
    fn code(&self) -> &'static str {
        "I-10"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Some((fence, _)) = self
            .deadlines
            .iter()
            .find(|(_, deadline)| **deadline < moment.now_us)
        {
            return Err(format!(
                "{fence} was not asked to end although its worker was told to stop it"
            ));
        }
        match fact {
            Fact::Answered {
                request: Request::CancelExecution(_),
                result: Ok(Answer::Execution { number, .. }),
                ledger,
                ..
            } => {
                return self.note(*number, ledger);
            }
            Fact::Answered {
                request: Request::CancelPipeline(_),
                result: Ok(Answer::Pipeline { number, .. }),
                ledger,
                ..
            } => {
                let of = ledger
                    .executions(PROJECT)
                    .filter(|execution| execution.pipeline == *number);
                let numbers: Vec<i64> = of.map(|execution| execution.number).collect();
                let Some(pipeline) = ledger.pipeline(PROJECT, *number) else {
                    return Ok(());
                };
                if !pipeline.is_final() && pipeline.state != State::Stopping {
                    return Err(format!(
                        "the cancel of pipeline {number} was answered, and it is {:?}",
                        pipeline.state
                    ));
                }
                return numbers
                    .into_iter()
                    .try_for_each(|number| self.note(number, ledger));
            }
            Fact::Published {
                ledger,
                is_newest: true,
                ..
            } => return self.check(ledger),
            Fact::Published { .. } => return Ok(()),
            Fact::Told { machine, desired } => {
                let stops = desired.attempts.iter().filter(|attempt| attempt.stop);
                let fences =
                    stops.filter_map(|attempt| Fence::try_from(attempt.fence.as_ref()?).ok());
                // A stop is never taken back.
                self.told.entry(*machine).or_default().extend(fences);
            }
            Fact::Started { machine, fence, .. } => drop(self.running.insert(*fence, *machine)),
            Fact::Signalled { fence, .. } => {
                self.signalled.insert(*fence);
                self.deadlines.remove(fence);
            }
            Fact::Ended { fence, exit } => {
                self.running.remove(fence);
                self.deadlines.remove(fence);
                if exit.is_some_and(|exit| exit.reason == ExitReason::Exited) {
                    self.by_itself.insert(*fence);
                }
            }
            Fact::DaemonStarted { machine } | Fact::DaemonEnded { machine } => {
                self.told.remove(machine);
                self.deadlines
                    .retain(|fence, _| self.running.get(fence) != Some(machine));
            }
            _ => return Ok(()),
        }
        for (fence, machine) in &self.running {
            let told = self
                .told
                .get(machine)
                .is_some_and(|stops| stops.contains(fence));
            if told && !self.signalled.contains(fence) {
                self.deadlines
                    .entry(*fence)
                    .or_insert(moment.now_us + WITHIN_US);
            }
        }
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        self.check(outcome.ledger)
    }
}
