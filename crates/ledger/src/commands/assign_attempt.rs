//! Assigns an execution that waits to a worker. In public it goes on to be QUEUED until its program has started.

use std::sync::Arc;

use contract::api::{EndReason, State};
use contract::ledger as pb;
use contract::link::Device;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::{Attempt, Execution, Worker};

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
    let device_ids = devices(worker, execution, &command.device_ids)?;
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
        device_ids,
    };
    let fence = execution.fence(&attempt);
    let holder = attempt.worker.clone();
    let device_ids = attempt.device_ids.clone();
    ledger.update_execution(project, number, |execution| {
        // Most executions have one attempt; a vector would make room for four.
        execution.attempts.reserve_exact(1);
        execution.attempts.push(attempt);
    });
    if !device_ids.is_empty() {
        ledger.update_worker(&holder, |worker| {
            let holds = device_ids.iter().map(|id| (id.clone(), fence));
            worker.holds.extend(holds);
        });
    }
    Ok(Outcome::Attempt(fence))
}

/// The devices as they are shared: the worker's, nobody's by now (I-15), and as many as the execution needs.
fn devices(
    worker: &Worker,
    execution: &Execution,
    device_ids: &[String],
) -> Result<Box<[Arc<str>]>, Refused> {
    let mut given: Vec<&Device> = Vec::with_capacity(device_ids.len());
    for id in device_ids {
        let mut offered = worker.offer.devices.iter();
        let device = offered.find(|device| device.device_id == *id);
        let free = !worker.holds.contains_key(id.as_str())
            && !given.iter().any(|other| other.device_id == *id);
        match device.filter(|_| free) {
            Some(device) => given.push(device),
            None => {
                return Err(Refused::DeviceTaken {
                    worker: worker.name.clone(),
                    device_id: id.clone(),
                });
            }
        }
    }
    let needs = &execution.recipe.needs;
    if given.len() != needs.device_count() || needs.choose(&given).is_none() {
        return Err(malformed("the devices are not what the execution needs"));
    }
    Ok(device_ids.iter().map(|id| Arc::from(id.as_str())).collect())
}
