//! I-05: final is final, and only legal ways lead there.

use std::collections::BTreeMap;

use contract::api::State;
use ledger::Execution;

use super::{Checker, Fact, Moment, Outcome};
use crate::clients::PROJECT;

/// Every execution as it was seen last.
#[derive(Debug, Default)]
pub(super) struct Lives {
    revision: u64,
    executions: BTreeMap<i64, Execution>,
}

impl Checker for Lives {
    fn code(&self) -> &'static str {
        "I-05"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Published { ledger, .. } = fact else {
            return Ok(());
        };
        // A coordinator that starts again publishes what it had published before.
        if ledger.revision() <= self.revision {
            return Ok(());
        }
        let changed = ledger.changed_since(self.revision);
        let numbers: Vec<i64> = changed
            .filter_map(|(_, subject)| match subject {
                ledger::Subject::Execution { number, .. } => Some(*number),
                _ => None,
            })
            .collect();
        self.revision = ledger.revision();
        for number in numbers {
            let Some(now) = ledger.execution(PROJECT, number) else {
                continue;
            };
            if let Some(before) = self.executions.insert(number, now.clone()) {
                follows(&before, now)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        for (number, before) in &self.executions {
            let now = outcome
                .ledger
                .execution(PROJECT, *number)
                .ok_or(format!("#{number} is gone"))?;
            follows(before, now)?;
        }
        Ok(())
    }
}

/// Whether one may have become the other; between two looks it may have gone through several states.
fn follows(before: &Execution, now: &Execution) -> Result<(), String> {
    let (from, to) = (before.state(), now.state());
    if is_final(from) && before != now {
        return Err(format!(
            "#{} had ended as {from:?} and changed: {before:?} became {now:?}",
            now.number
        ));
    }
    // Once it is to stop, it never runs again.
    if from == State::Stopping && !(is_final(to) || to == State::Stopping) {
        return Err(format!("#{} went from {from:?} to {to:?}", now.number));
    }
    Ok(())
}

fn is_final(state: State) -> bool {
    matches!(state, State::Complete | State::Error | State::Stopped)
}
