//! Gives back devices of attempts that ended without the worker's word, once the worker says that it has them no more.
//!
//! Only then: a device that a program may still use is nobody else's (I-15).

use contract::ledger as pb;

use crate::ids::Fence;
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::ReleaseDevices) -> Result<Outcome, Refused> {
    let worker = ledger.worker_as(&command.worker, command.incarnation)?;
    let name = worker.name.clone();
    let fences = command.fences.iter().map(Fence::try_from);
    let fences: Vec<Fence> = fences
        .collect::<Result<_, _>>()
        .map_err(|_| malformed("fence.execution_id is not 16 bytes"))?;
    let over: Vec<Fence> = fences
        .into_iter()
        .filter(|fence| !worker.attempts.contains(fence))
        .filter(|fence| worker.holds.values().any(|holder| holder == fence))
        .collect();
    if over.is_empty() {
        return Ok(Outcome::Nothing);
    }
    for fence in over {
        ledger.release_devices(&name, fence);
    }
    Ok(Outcome::Worker { name })
}
