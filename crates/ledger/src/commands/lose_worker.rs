//! Declares a worker lost: its attempts end, and their executions wait for another worker.

use contract::api::EndReason;
use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};
use crate::{attempts, pipeline};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::LoseWorker) -> Result<Outcome, Refused> {
    let worker = ledger.worker_as(&command.name, command.incarnation)?;
    if worker.lost {
        return Ok(Outcome::Nothing);
    }
    let name = worker.name.clone();
    let fences = worker.attempts.clone();
    ledger.update_worker(&name, |worker| worker.lost = true);
    for fence in fences {
        let Some((project, number)) = ledger.by_id.get(&fence.execution_id).cloned() else {
            continue;
        };
        attempts::lose(
            ledger,
            &project,
            number,
            EndReason::Lost,
            &format!("worker {name} was lost"),
        );
        pipeline::follow(ledger, &project, number);
    }
    Ok(Outcome::Worker { name })
}
