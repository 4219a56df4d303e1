//! Workers.

use contract::api;
use contract::link::DeviceUsage;
use ledger::{Device, Ledger, Worker};

use super::{from_millis, int64, name};
use crate::ports::Contact;

/// Blobs that would go with a worker are counted up to so many.
const MOST_SOLE: usize = 10_000;

/// A worker with its contact, what it runs and what would go with it.
pub(crate) fn whole(ledger: &Ledger, known: &Worker, contact: Option<Contact>) -> api::Worker {
    api::Worker {
        sole_blob_count: Some(ledger.sole_count(&known.name, MOST_SOLE) as i64),
        ..worker(ledger, known, contact)
    }
}

/// A worker as lists have it: what would go with it is counted where it is about to.
pub(crate) fn listed(ledger: &Ledger, known: &Worker, contact: Option<Contact>) -> api::Worker {
    match known.is_leaving() {
        true => whole(ledger, known, contact),
        false => worker(ledger, known, contact),
    }
}

/// A worker with its contact and what it runs.
fn worker(ledger: &Ledger, worker: &Worker, contact: Option<Contact>) -> api::Worker {
    let (connected, time_ms) = match &contact {
        Some(contact) => (contact.connected, Some(contact.time_ms)),
        None => (false, None),
    };
    let duplicate_ms = contact.as_ref().and_then(|contact| contact.duplicate_ms);
    // What a machine said that is away says nothing of how it is now.
    let usage = contact
        .and_then(|contact| contact.usage)
        .filter(|_| connected);
    let devices = usage.as_ref().map_or(&[][..], |usage| &usage.devices);
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
        connected,
        contact_time: time_ms.and_then(from_millis),
        executions: executions
            .map(|execution| name::execution(&execution.project, execution.number))
            .collect(),
        runtime: worker.offer.runtime.clone(),
        draining: worker.drained || worker.offer.draining || worker.offer.disk_full,
        devices: worker
            .offer
            .devices
            .iter()
            .map(|known| device(ledger, worker, known, devices))
            .collect(),
        cpu_millis: int64(worker.offer.cpu_millis),
        cpu_millis_taken: int64(worker.taken().cpu_millis),
        memory_bytes: int64(worker.offer.memory_bytes),
        memory_bytes_taken: int64(worker.taken().memory_bytes),
        duplicate_time: duplicate_ms.and_then(from_millis),
        sole_blob_count: None,
        usage: usage.map(|usage| api::WorkerUsage {
            cpu_millis: usage.cpu_millis.map(int64),
            memory_bytes: usage.memory_bytes.map(int64),
            disk_available_bytes: usage.disk_available_bytes.map(int64),
            disk_total_bytes: usage.disk_total_bytes.map(int64),
            image_bytes: usage.image_bytes.map(int64),
            blob_bytes: usage.blob_bytes.map(int64),
        }),
    }
}

/// A device with who has it, and how busy it is.
fn device(
    ledger: &Ledger,
    worker: &Worker,
    device: &Device,
    usage: &[DeviceUsage],
) -> api::WorkerDevice {
    let usage = usage.iter().find(|one| one.device_id == device.device_id);
    let holder = worker.holds().get(device.device_id.as_str());
    let holder = holder.and_then(|fence| ledger.execution_by_id(&fence.execution_id));
    api::WorkerDevice {
        device_id: device.device_id.clone(),
        kind: device.kind.clone(),
        product: device.name.clone(),
        memory_bytes: int64(device.memory_bytes),
        driver_version: device.driver_version.clone(),
        pci_bus_id: device.pci_bus_id.clone(),
        execution: holder
            .map(|execution| name::execution(&execution.project, execution.number))
            .unwrap_or_default(),
        utilization_percent: usage
            .and_then(|usage| usage.utilization_percent)
            .map(|percent| i32::try_from(percent).unwrap_or(i32::MAX)),
        memory_bytes_taken: usage.and_then(|usage| usage.memory_bytes).map(int64),
        temperature_celsius: usage.and_then(|usage| usage.temperature_celsius),
        power_milliwatts: usage.and_then(|usage| usage.power_milliwatts).map(int64),
    }
}
