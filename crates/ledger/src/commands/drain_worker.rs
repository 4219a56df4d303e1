//! Drains a worker: it gets no new attempts, and keeps what it has. That lasts over its restarts.

use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::DrainWorker) -> Result<Outcome, Refused> {
    let Some(worker) = ledger.worker(&command.name) else {
        return Err(Refused::NotFound {
            name: format!("workers/{}", command.name),
        });
    };
    if worker.drained == command.draining {
        return Ok(Outcome::Nothing);
    }
    let name = worker.name.clone();
    ledger.update_worker(&name, |worker| worker.drained = command.draining);
    Ok(Outcome::Worker { name })
}
