//! Drains a worker: it gets no new attempts, and keeps what it has. That lasts over its restarts.
//!
//! From feature level 3 on its request is remembered as others are (I-02): one that comes late, after the worker was to take attempts again, does not
//! drain it once more.

use contract::ledger as pb;

use super::request::{self, Seen};
use crate::feature::COPIES;
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::DrainWorker) -> Result<Outcome, Refused> {
    let asked = command.request.as_ref();
    let key = match asked.filter(|_| ledger.feature_level >= COPIES) {
        None => None,
        asked => match request::look_up(ledger, asked)? {
            Seen::Before(outcome) => return Ok(outcome),
            Seen::Never(key) => Some(key),
        },
    };
    let Some(worker) = ledger.worker(&command.name) else {
        return Err(Refused::NotFound {
            name: format!("workers/{}", command.name),
        });
    };
    let name = worker.name.clone();
    let is_new = worker.drained != command.draining;
    if is_new {
        ledger.update_worker(&name, |worker| worker.drained = command.draining);
    }
    match key {
        Some(key) => request::remember(ledger, key, Outcome::Worker { name }),
        None if is_new => Ok(Outcome::Worker { name }),
        None => Ok(Outcome::Nothing),
    }
}
