//! Cancels an execution. One that waits ends at once; one that a worker has is stopped by it. What has ended stays as it is.

use contract::api::EndReason;
use contract::ledger as pb;

use super::request::{self, Seen};
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};
use crate::{attempts, pipeline};

pub(super) fn apply(
    ledger: &mut Ledger,
    command: &pb::CancelExecution,
) -> Result<Outcome, Refused> {
    let key = match request::look_up(ledger, command.request.as_ref())? {
        Seen::Before(outcome) => return Ok(outcome),
        Seen::Never(key) => key,
    };
    let number = command.number;
    let Some(execution) = ledger.execution(&command.project, number) else {
        let name = format!("projects/{}/executions/{number}", command.project);
        return Err(Refused::NotFound { name });
    };
    let project = execution.project.clone();
    attempts::stop(ledger, &project, number, EndReason::Cancelled, "cancelled");
    pipeline::follow(ledger, &project, number);
    request::remember(ledger, key, Outcome::Execution { project, number })
}
