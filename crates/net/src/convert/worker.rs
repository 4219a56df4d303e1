//! Workers.

use contract::api;
use ledger::{Ledger, Worker};

use super::{from_millis, name};
use crate::ports::Contact;

/// A worker with its contact and what it runs.
pub(crate) fn worker(ledger: &Ledger, worker: &Worker, contact: Option<Contact>) -> api::Worker {
    let executions = worker
        .attempts()
        .iter()
        .filter_map(|fence| ledger.execution_by_id(&fence.execution_id));
    api::Worker {
        name: format!("workers/{}", worker.name),
        address: worker.offer.address.clone(),
        environments: worker.offer.environments.clone(),
        slot_count: i32::try_from(worker.offer.slot_count).unwrap_or(i32::MAX),
        version: worker.offer.version.clone(),
        connected: contact.is_some_and(|contact| contact.connected),
        contact_time: contact.and_then(|contact| from_millis(contact.time_ms)),
        executions: executions
            .map(|execution| name::execution(&execution.project, execution.number))
            .collect(),
        runtime: worker.offer.runtime.clone(),
    }
}
