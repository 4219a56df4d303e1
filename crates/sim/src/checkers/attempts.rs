//! I-06: attempts count up by one, a fence is never given twice, and under one fence a program is started once.

use std::collections::{BTreeMap, BTreeSet};

use ledger::Attempt;
use worker::Fence;

use super::{Checker, Fact, Moment};
use crate::clients::PROJECT;
use crate::machine;

/// Programs that were started, and the attempts of every execution as they were seen last.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    revision: u64,
    started: BTreeMap<Fence, String>,
    known: BTreeMap<i64, Vec<Attempt>>,
    indexes: BTreeSet<([u8; 16], u32)>,
}

impl Checker for Attempts {
    fn code(&self) -> &'static str {
        "I-06"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started { machine, fence, .. } => {
                let on = machine::name(*machine);
                if let Some(before) = self.started.insert(*fence, on.clone()) {
                    return Err(format!(
                        "{fence} was started on {before} and is started again on {on}"
                    ));
                }
                if !self.indexes.insert((fence.execution_id, fence.attempt)) {
                    return Err(format!(
                        "{fence} is an attempt that was started under another index"
                    ));
                }
                Ok(())
            }
            Fact::Published { ledger, .. } if ledger.revision() > self.revision => {
                for (_, subject) in ledger.changed_since(self.revision) {
                    let ledger::Subject::Execution { number, .. } = subject else {
                        continue;
                    };
                    let Some(execution) = ledger.execution(PROJECT, *number) else {
                        continue;
                    };
                    let known = self.known.entry(*number).or_default();
                    compare(*number, known, &execution.attempts)?;
                    known.clone_from(&execution.attempts);
                }
                self.revision = ledger.revision();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Attempts are only ever added, each after the one before has ended, and one that has ended stays as it is.
fn compare(number: i64, before: &[Attempt], now: &[Attempt]) -> Result<(), String> {
    if now.len() < before.len() {
        return Err(format!(
            "#{number} had {} attempts and has {}",
            before.len(),
            now.len()
        ));
    }
    for (at, attempt) in now.iter().enumerate() {
        if attempt.number as usize != at + 1 {
            return Err(format!(
                "attempt {} of #{number} stands at {at}",
                attempt.number
            ));
        }
        if attempt.is_live() && at + 1 != now.len() {
            return Err(format!(
                "attempt {} of #{number} is live beside a later one",
                attempt.number
            ));
        }
        if let Some(known) = before.get(at).filter(|known| !known.is_live())
            && known != attempt
        {
            return Err(format!(
                "attempt {} of #{number} had a result and got another",
                attempt.number
            ));
        }
        if before
            .get(at)
            .is_some_and(|known| known.fence_index != attempt.fence_index)
        {
            return Err(format!(
                "attempt {} of #{number} changed its fence",
                attempt.number
            ));
        }
    }
    Ok(())
}
