//! Publishes outputs of an attempt that still runs, all of them or none.

use contract::ledger as pb;

use crate::attempts;
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::PublishOutputs) -> Result<Outcome, Refused> {
    let live = attempts::of_worker(ledger, command.fence.as_ref(), &command.worker)?;
    attempts::check_outputs(&command.outputs).map_err(malformed)?;
    let outputs = attempts::publish(ledger, &live, &command.outputs);
    let known = ledger.execution(&live.project, live.number);
    if known.is_some_and(|execution| execution.outputs.len() == outputs.len()) {
        return Ok(Outcome::Nothing);
    }
    ledger.update_execution(&live.project, live.number, |execution| {
        execution.outputs = outputs
    });
    Ok(Outcome::Attempt(live.fence))
}
