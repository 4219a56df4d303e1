//! Admits a worker, a new incarnation of one, or what one offers by now. Its attempts stay its own: a daemon that was
//! started again adopts them.

use std::sync::Arc;

use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::Worker;

pub(super) fn apply(ledger: &mut Ledger, command: &pb::RegisterWorker) -> Result<Outcome, Refused> {
    let offer = command
        .offer
        .clone()
        .ok_or_else(|| malformed("offer is missing"))?;
    if command.name.is_empty() {
        return Err(malformed("name is empty"));
    }
    let known = ledger.worker(&command.name);
    let name = match known {
        Some(known) if known.incarnation > command.incarnation => {
            return Err(Refused::StaleIncarnation {
                current: known.incarnation,
            });
        }
        Some(known)
            if known.incarnation == command.incarnation && !known.lost && *known.offer == offer =>
        {
            return Ok(Outcome::Nothing);
        }
        Some(known) => known.name.clone(),
        None => Arc::from(command.name.as_str()),
    };
    // What it has stays its own, and so do devices of attempts that may run still: which of them do, it says itself.
    let attempts = known
        .map(|known| known.attempts.clone())
        .unwrap_or_default();
    let holds = known.map(|known| known.holds.clone()).unwrap_or_default();
    let drained = known.is_some_and(|known| known.drained);
    let taken = known.map(|known| known.taken).unwrap_or_default();
    ledger.insert_worker(Worker {
        name: name.clone(),
        incarnation: command.incarnation,
        instance_id: Arc::from(&*command.instance_id),
        offer: Arc::new(offer),
        lost: false,
        attempts,
        holds,
        taken,
        drained,
        revision: ledger.revision,
    });
    Ok(Outcome::Worker { name })
}
