//! Workers.

use contract::api;

use super::{Now, cell};
use crate::print::table;

/// A list of workers.
pub(crate) fn workers(workers: &[api::Worker], now: Now) -> String {
    if workers.is_empty() {
        return "no workers; `shoal worker --coordinator ADDRESS --data-dir DIR` runs one\n"
            .to_owned();
    }
    let rows: Vec<Vec<String>> = workers
        .iter()
        .map(|worker| {
            let contact = match worker.connected {
                true => "connected".to_owned(),
                false => format!("away, seen {}", now.ago(worker.contact_time.as_ref())),
            };
            vec![
                cell(worker.name.trim_start_matches("workers/")),
                contact,
                format!("{}/{}", worker.executions.len(), worker.slot_count),
                cell(&worker.environments.join(", ")),
                cell(&worker.runtime),
                cell(&worker.address),
                cell(&worker.version),
            ]
        })
        .collect();
    table::render(
        &[
            "WORKER",
            "CONTACT",
            "BUSY",
            "ENVIRONMENTS",
            "RUNTIME",
            "ADDRESS",
            "VERSION",
        ],
        &rows,
    )
}
