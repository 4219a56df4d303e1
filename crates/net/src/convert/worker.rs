//! Workers.

use contract::api;
use ledger::{Device, Ledger, Worker};

use super::{from_millis, int64, name};
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
        draining: worker.drained || worker.offer.draining || worker.offer.disk_full,
        devices: worker
            .offer
            .devices
            .iter()
            .map(|known| device(ledger, worker, known))
            .collect(),
        cpu_millis: int64(worker.offer.cpu_millis),
        cpu_millis_taken: int64(worker.taken().cpu_millis),
        memory_bytes: int64(worker.offer.memory_bytes),
        memory_bytes_taken: int64(worker.taken().memory_bytes),
    }
}

/// A device with who has it.
fn device(ledger: &Ledger, worker: &Worker, device: &Device) -> api::WorkerDevice {
    let holder = worker.holds().get(device.device_id.as_str());
    let holder = holder.and_then(|fence| ledger.execution_by_id(&fence.execution_id));
    api::WorkerDevice {
        device_id: device.device_id.clone(),
        kind: device.kind.clone(),
        product: device.name.clone(),
        memory_bytes: int64(device.memory_bytes),
        execution: holder
            .map(|execution| name::execution(&execution.project, execution.number))
            .unwrap_or_default(),
    }
}
