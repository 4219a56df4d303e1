//! Promises an execution its start on a worker, or takes a promise back. It binds who decides; an assignment that does not heed it is one all the same.

use std::sync::Arc;

use contract::ledger as pb;

use crate::feature::PRIORITIES;
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::Promise;

pub(super) fn apply(ledger: &mut Ledger, command: &pb::PromiseStart) -> Result<Outcome, Refused> {
    if ledger.feature_level < PRIORITIES {
        return Err(malformed("promises come with a later feature level"));
    }
    if command.execution == 0 {
        let Some(promise) = ledger.promises.remove(command.environment.as_str()) else {
            return Ok(Outcome::Nothing);
        };
        return Ok(Outcome::Execution {
            project: promise.project,
            number: promise.execution,
        });
    }
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
    if execution.recipe.needs.environment != command.environment {
        return Err(malformed("the execution is of another environment"));
    }
    let Some(worker) = ledger.worker(&command.worker) else {
        return Err(Refused::UnknownWorker {
            name: command.worker.clone(),
        });
    };
    let environment: Arc<str> = Arc::from(command.environment.as_str());
    let promise = Promise {
        environment: environment.clone(),
        project: execution.project.clone(),
        execution: number,
        worker: worker.name.clone(),
        start_time_ms: command.start_time_ms,
    };
    let project = execution.project.clone();
    ledger.promises.insert(environment, promise);
    Ok(Outcome::Execution { project, number })
}
