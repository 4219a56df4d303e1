//! I-20: what was made survives the worker that leaves. A copy that is on record is on its machine's disk, and in the end every output is on some.

use std::collections::BTreeSet;

use blob::Digest;
use ledger::Ledger;

use super::{Checker, Fact, Moment, Outcome};
use crate::event::MachineId;
use crate::machine::{self, Blobs};

/// Looks at what goes on record.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Copies that were looked at.
    seen: BTreeSet<(Digest, MachineId)>,
}

impl Checker for Holders {
    fn code(&self) -> &'static str {
        "I-20"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Some(ledger) = fact.newest_ledger() else {
            return Ok(());
        };
        for (digest, workers) in ledger.copies() {
            for worker in workers {
                let Some(machine) = machine::id_of(worker) else {
                    continue;
                };
                let digest = Digest(*digest);
                if self.seen.insert((digest, machine)) && !moment.blobs.has(machine, digest) {
                    return Err(format!(
                        "{worker} is on record to have {digest}, and has not"
                    ));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        lost(outcome.ledger, outcome.blobs)
    }
}

/// An output that is nowhere any more.
fn lost(ledger: &Ledger, blobs: &Blobs) -> Result<(), String> {
    for datum in ledger
        .projects()
        .flat_map(|project| ledger.data(&project.name))
    {
        let digest = Digest(datum.digest);
        let mut holders = ledger.holders(&datum.digest);
        let is_there = holders.any(|worker| {
            machine::id_of(&worker.name).is_some_and(|machine| blobs.has(machine, digest))
        });
        if !is_there {
            return Err(format!(
                "{} of #{} is on no machine that is on record for it",
                datum.file_name, datum.execution
            ));
        }
    }
    Ok(())
}
