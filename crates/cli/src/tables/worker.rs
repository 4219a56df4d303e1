//! Workers.

use contract::api;

use super::metrics::short;
use super::{Now, cell, number};
use crate::print::{table, units};

/// Coordinators count no more outputs than so many that would go with a worker.
const MOST_SOLE: i64 = 10_000;

/// A list of workers.
pub(crate) fn workers(workers: &[api::Worker], now: Now) -> String {
    if workers.is_empty() {
        return "no workers; `shoal worker --coordinator ADDRESS --data-dir DIR` runs one\n"
            .to_owned();
    }
    let newest = workers.iter().map(|worker| numbers(&worker.version)).max();
    let rows: Vec<Vec<String>> = workers
        .iter()
        .map(|worker| {
            let contact = contact(worker, now);
            vec![
                cell(worker.name.trim_start_matches("workers/")),
                contact,
                format!("{}/{}", worker.executions.len(), worker.slot_count),
                cell(&devices(worker)),
                cell(&worker.environments.join(", ")),
                cell(&worker.runtime),
                cell(&worker.address),
                cell(&version(worker, newest)),
            ]
        })
        .collect();
    let mut text = table::render(
        &[
            "WORKER",
            "CONTACT",
            "BUSY",
            "DEVICES",
            "ENVIRONMENTS",
            "RUNTIME",
            "ADDRESS",
            "VERSION",
        ],
        &rows,
    );
    for worker in workers {
        if let Some(time) = &worker.duplicate_time {
            text += &format!(
                "\n{}: a second daemon spoke as this worker {} and was sent away; two have the same name, or copies of one data directory\n",
                cell(worker.name.trim_start_matches("workers/")),
                now.ago(Some(time)),
            );
        }
    }
    for worker in workers.iter().filter(|worker| worker.draining) {
        if let Some(outputs) = only_here(worker) {
            let name = cell(worker.name.trim_start_matches("workers/"));
            text += &format!("\n{name}: {outputs} on no other worker yet\n");
        }
    }
    text
}

/// How many outputs would go with a worker, if any would.
fn sole_outputs(worker: &api::Worker) -> Option<String> {
    match worker.sole_blob_count {
        None | Some(..=0) => None,
        Some(MOST_SOLE..) => Some(format!("{MOST_SOLE} or more")),
        Some(count) => Some(count.to_string()),
    }
}

/// The same as the beginning of a sentence: `1 output is`, `12 outputs are`.
pub(crate) fn only_here(worker: &api::Worker) -> Option<String> {
    let count = sole_outputs(worker)?;
    Some(match count.as_str() {
        "1" => "1 output is".to_owned(),
        count => format!("{count} outputs are"),
    })
}

/// Everything about one.
pub(crate) fn worker(worker: &api::Worker, now: Now) -> String {
    let mut text = workers(std::slice::from_ref(worker), now);
    if worker.cpu_millis > 0 {
        text += &format!(
            "\nprocessors  {} of {} kept for attempts\nmemory      {} of {} kept for attempts\n",
            worker.cpu_millis_taken as f64 / 1_000.0,
            worker.cpu_millis as f64 / 1_000.0,
            units::size(worker.memory_bytes_taken.max(0) as u64),
            units::size(worker.memory_bytes.max(0) as u64),
        );
    }
    text += &disk(&worker.usage.unwrap_or_default());
    if let Some(count) = sole_outputs(worker).filter(|_| !worker.draining) {
        text += &format!("outputs     {count} on no other worker\n");
    }
    if worker.devices.is_empty() {
        return text;
    }
    let rows: Vec<Vec<String>> = worker
        .devices
        .iter()
        .map(|device| {
            let memory = match device.memory_bytes {
                0 => String::new(),
                bytes => units::size(bytes.max(0) as u64),
            };
            let holder = match device.execution.as_str() {
                "" => "free".to_owned(),
                execution => cell(execution),
            };
            vec![
                cell(&device.device_id),
                cell(&device.kind),
                cell(&device.product),
                cell(&memory),
                cell(&device.driver_version),
                cell(&device.pci_bus_id),
                holder,
            ]
        })
        .collect();
    text += "\n";
    text += &table::render(
        &[
            "DEVICE", "KIND", "PRODUCT", "MEMORY", "DRIVER", "AT", "HAS IT",
        ],
        &rows,
    );
    text
}

/// What lies on its disk, as far as it tells.
fn disk(usage: &api::WorkerUsage) -> String {
    let size = |bytes: i64| units::size(bytes.max(0) as u64);
    let free = match (usage.disk_available_bytes, usage.disk_total_bytes) {
        (Some(free), Some(all)) => Some(format!("{} of {} free", size(free), size(all))),
        _ => None,
    };
    let parts = [
        free,
        usage
            .blob_bytes
            .map(|bytes| format!("{} of blobs", size(bytes))),
        usage
            .image_bytes
            .map(|bytes| format!("{} of fetched images", size(bytes))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("disk        {}\n", parts.join(", ")),
    }
}

/// Its version; one that is older than another's says so.
fn version(worker: &api::Worker, newest: Option<[u64; 3]>) -> String {
    // Of one that does not tell its version, nobody knows.
    let is_known = !worker.version.is_empty();
    match is_known && newest.is_some_and(|newest| numbers(&worker.version) < newest) {
        true => format!("{}, older", worker.version),
        false => worker.version.clone(),
    }
}

/// The three numbers of a version, as they compare.
fn numbers(version: &str) -> [u64; 3] {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    [(); 3].map(|()| {
        let number = numbers.next().and_then(|number| number.parse().ok());
        number.unwrap_or_default()
    })
}

/// What the workers are doing: the machines, then their devices.
pub(crate) fn top(workers: &[api::Worker], now: Now) -> String {
    if workers.is_empty() {
        return self::workers(workers, now);
    }
    let rows: Vec<Vec<String>> = workers.iter().map(|worker| busy(worker, now)).collect();
    let heading = [
        "WORKER",
        "BUSY",
        "PROCESSORS",
        "MEMORY",
        "DISK FREE",
        "EXECUTIONS",
    ];
    let mut text = table::render(&heading, &rows);
    let devices = workers.iter().flat_map(|worker| {
        let devices = worker.devices.iter();
        devices.map(|device| busy_device(worker, device))
    });
    let rows: Vec<Vec<String>> = devices.collect();
    if !rows.is_empty() {
        let heading = [
            "WORKER",
            "DEVICE",
            "PRODUCT",
            "BUSY",
            "MEMORY",
            "TEMPERATURE",
            "POWER",
            "HAS IT",
        ];
        text += "\n";
        text += &table::render(&heading, &rows);
    }
    text
}

/// A machine in one row.
fn busy(worker: &api::Worker, now: Now) -> Vec<String> {
    let name = cell(worker.name.trim_start_matches("workers/"));
    let slots = format!("{}/{}", worker.executions.len(), worker.slot_count);
    let executions: Vec<String> = worker
        .executions
        .iter()
        .map(|name| of_project(name))
        .collect();
    let executions = cell(&executions.join(", "));
    if !worker.connected {
        let away = self::contact(worker, now);
        return vec![name, slots, away, String::new(), String::new(), executions];
    }
    let usage = worker.usage.unwrap_or_default();
    let of = |part: Option<i64>, whole: i64| match (part, whole) {
        (None, _) => "-".to_owned(),
        (Some(part), 0) => bytes(part),
        (Some(part), whole) => format!("{} of {}", bytes(part), bytes(whole)),
    };
    let processors = usage.cpu_millis.map(|busy| {
        let busy = busy as f64 / 1_000.0;
        match worker.cpu_millis {
            0 => format!("{busy:.2}"),
            all => format!("{busy:.2} of {}", all as f64 / 1_000.0),
        }
    });
    vec![
        name,
        slots,
        processors.unwrap_or_else(|| "-".to_owned()),
        of(usage.memory_bytes, worker.memory_bytes),
        of(
            usage.disk_available_bytes,
            usage.disk_total_bytes.unwrap_or(0),
        ),
        executions,
    ]
}

fn busy_device(worker: &api::Worker, device: &api::WorkerDevice) -> Vec<String> {
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let memory = device
        .memory_bytes_taken
        .map(|taken| match device.memory_bytes {
            0 => bytes(taken),
            all => format!("{} of {}", bytes(taken), bytes(all)),
        });
    let holder = match device.execution.as_str() {
        "" => "free".to_owned(),
        execution => of_project(execution),
    };
    vec![
        cell(worker.name.trim_start_matches("workers/")),
        short(&device.device_id),
        cell(&device.product),
        known(
            device
                .utilization_percent
                .map(|percent| format!("{percent} %")),
        ),
        known(memory),
        known(
            device
                .temperature_celsius
                .map(|degrees| format!("{degrees} °C")),
        ),
        known(
            device
                .power_milliwatts
                .map(|mw| format!("{} W", mw / 1_000)),
        ),
        holder,
    ]
}

/// `project #3`, from the name of an execution.
fn of_project(name: &str) -> String {
    let mut parts = name.split('/');
    let project = parts.nth(1).unwrap_or_default();
    format!("{} {}", cell(project), number(name))
}

fn bytes(count: i64) -> String {
    units::size(count.max(0) as u64)
}

fn contact(worker: &api::Worker, now: Now) -> String {
    match (worker.connected, worker.draining) {
        (true, false) => "connected".to_owned(),
        (true, true) => "connected, takes nothing new".to_owned(),
        (false, _) => format!("away, seen {}", now.ago(worker.contact_time.as_ref())),
    }
}

/// How many of its devices are taken; nothing where there are none.
fn devices(worker: &api::Worker) -> String {
    let taken = worker.devices.iter().filter(|d| !d.execution.is_empty());
    match worker.devices.len() {
        0 => String::new(),
        all => format!("{}/{all}", taken.count()),
    }
}
