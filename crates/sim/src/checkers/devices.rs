//! I-15: a device is never used by two programs, and is not given to anybody while a program that had it lives.

use std::collections::BTreeMap;

use ledger::Ledger;
use worker::Fence;

use super::{Checker, Fact, Moment};
use crate::stage;

/// The programs that run with devices: which, by the device's id.
#[derive(Debug, Default)]
pub(super) struct Devices {
    revision: u64,
    running: BTreeMap<String, Fence>,
}

impl Checker for Devices {
    fn code(&self) -> &'static str {
        "I-15"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started {
                fence, assignment, ..
            } => {
                for device in &assignment.devices {
                    let id = device.device_id.clone();
                    if let Some(before) = self.running.insert(id, *fence) {
                        let id = &device.device_id;
                        return Err(format!("{fence} is started with {id}, which {before} uses"));
                    }
                }
            }
            Fact::Ended { fence, .. } => self.running.retain(|_, user| user != fence),
            Fact::Published { ledger, .. } if ledger.revision() > self.revision => {
                self.check(ledger)?;
                self.revision = ledger.revision();
            }
            _ => {}
        }
        Ok(())
    }
}

impl Devices {
    fn check(&self, ledger: &Ledger) -> Result<(), String> {
        for (_, subject) in ledger.changed_since(self.revision) {
            let ledger::Subject::Worker(name) = subject else {
                continue;
            };
            let Some(worker) = ledger.worker(name) else {
                continue;
            };
            for (id, holder) in worker.holds() {
                let holder = stage::fence(*holder);
                if let Some(user) = self.running.get(&**id).filter(|user| **user != holder) {
                    return Err(format!("{id} is {holder}'s while {user} uses it"));
                }
            }
            for fence in worker.attempts() {
                let execution = ledger.execution_by_id(&fence.execution_id);
                let attempt = execution.and_then(|execution| execution.live_attempt());
                let ids = attempt.iter().flat_map(|attempt| attempt.device_ids.iter());
                for id in ids {
                    if worker.holds().get(id) != Some(fence) {
                        return Err(format!("{id} is given to {fence} and not kept for it"));
                    }
                }
            }
        }
        Ok(())
    }
}
