//! I-16: one live incarnation of each worker. A daemon over a copy of a directory whose owner lives is never the worker.

use super::{Checker, Fact, Moment};

/// What every copy draws at its start. No original does: see `Config::instance_id`.
pub(crate) const COPY_ID: [u8; 16] = [0xff; 16];

/// Looks who the workers are.
#[derive(Debug)]
pub(super) struct Copies;

impl Checker for Copies {
    fn code(&self) -> &'static str {
        "I-16"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Some(ledger) = fact.newest_ledger() else {
            return Ok(());
        };
        match ledger.workers().find(|known| *known.instance_id == COPY_ID) {
            Some(worker) => Err(format!(
                "a copy of {} is the worker, while the original lives",
                worker.name
            )),
            None => Ok(()),
        }
    }
}
