//! Assigns an execution that waits to a worker. In public it goes on to be QUEUED until its program has started.

use std::sync::Arc;

use contract::api::{EndReason, State};
use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};
use crate::records::Attempt;

pub(super) fn apply(ledger: &mut Ledger, command: &pb::AssignAttempt) -> Result<Outcome, Refused> {
    let (project, number) = (&command.project, command.execution);
    let Some(execution) = ledger.execution(project, number) else {
        return Err(Refused::NotFound {
            name: format!("projects/{project}/executions/{number}"),
        });
    };
    if !execution.is_waiting() {
        return Err(Refused::NotWaiting {
            state: execution.state(),
        });
    }
    let Some(worker) = ledger.worker(&command.worker) else {
        return Err(Refused::UnknownWorker {
            name: command.worker.clone(),
        });
    };
    if worker.lost {
        return Err(Refused::WorkerLost {
            name: worker.name.clone(),
        });
    }
    let attempt = Attempt {
        number: execution.attempts.len() as u32 + 1,
        worker: worker.name.clone(),
        fence_index: ledger.revision,
        state: State::Queued,
        end_reason: EndReason::Unspecified,
        message: String::new(),
        assign_time_ms: ledger.time_ms,
        prepare_time_us: 0,
        start_time_us: 0,
        exit_time_us: 0,
        end_time_ms: 0,
        exit_code: None,
        signal: 0,
        record_count: 0,
        feed_digest: None,
        image_digest: Arc::default(),
    };
    let fence = execution.fence(&attempt);
    ledger.update_execution(project, number, |execution| {
        // Most executions have one attempt; a vector would make room for four.
        execution.attempts.reserve_exact(1);
        execution.attempts.push(attempt);
    });
    Ok(Outcome::Attempt(fence))
}
