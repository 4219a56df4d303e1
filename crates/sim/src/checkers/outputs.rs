//! I-18: an execution's outputs appear whole or not at all, and only when their bytes are stored.

use std::collections::{BTreeMap, BTreeSet};

use contract::api::State;
use ledger::{Execution, Ledger};
use worker::Fence;

use super::{Checker, Fact, Moment};
use crate::clients::PROJECT;
use crate::machine::{self, Program};
use crate::stage;

/// What programs wrote: name and digest.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    revision: u64,
    written: BTreeMap<Fence, BTreeSet<(String, Vec<u8>)>>,
}

impl Checker for Outputs {
    fn code(&self) -> &'static str {
        "I-18"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Wrote { fence, output } => {
                let output = (output.file_name.clone(), output.digest.to_vec());
                self.written.entry(*fence).or_default().insert(output);
            }
            Fact::Published { ledger, .. } if ledger.revision() > self.revision => {
                for (_, subject) in ledger.changed_since(self.revision) {
                    let ledger::Subject::Execution { number, .. } = subject else {
                        continue;
                    };
                    let Some(execution) = ledger.execution(PROJECT, *number) else {
                        continue;
                    };
                    self.check(moment, ledger, execution)?;
                }
                self.revision = ledger.revision();
            }
            _ => {}
        }
        Ok(())
    }
}

impl Outputs {
    fn check(
        &self,
        moment: &Moment<'_>,
        ledger: &Ledger,
        execution: &Execution,
    ) -> Result<(), String> {
        let number = execution.number;
        let mut published = BTreeSet::new();
        for id in execution.outputs.iter() {
            let datum = ledger
                .datum(id)
                .ok_or(format!("#{number} has output {id}, which does not exist"))?;
            let holder =
                machine::id_of(&datum.worker).ok_or(format!("{id} is at {}", datum.worker))?;
            if !moment.blobs.has(holder, machine::digest(&datum.digest)) {
                return Err(format!(
                    "{} of #{number} is published and not stored at {}",
                    datum.file_name, datum.worker
                ));
            }
            published.insert((datum.file_name.clone(), datum.digest.to_vec()));
        }
        let last = execution
            .attempts
            .last()
            .map(|attempt| stage::fence(execution.fence(attempt)));
        let nothing = BTreeSet::new();
        let written = last
            .and_then(|fence| self.written.get(&fence))
            .unwrap_or(&nothing);
        if !published.is_empty() && published != *written {
            return Err(format!(
                "#{number} wrote {written:?} and published {published:?}"
            ));
        }
        if execution.state() == State::Complete {
            let names: Vec<String> = published.into_iter().map(|(name, _)| name).collect();
            let mut expected = Program::outputs(execution.commands());
            expected.sort();
            if names != expected {
                return Err(format!(
                    "#{number} is COMPLETE with {names:?} instead of {expected:?}"
                ));
            }
        }
        Ok(())
    }
}
