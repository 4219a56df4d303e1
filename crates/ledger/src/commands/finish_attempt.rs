//! Records the result of an attempt: outputs, log seal, metadata and state in one step, and what follows in its pipeline.

use contract::api::State;
use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::{attempts, pipeline};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::FinishAttempt) -> Result<Outcome, Refused> {
    let live = attempts::of_worker(ledger, command.fence.as_ref(), &command.worker)?;
    let result = command
        .result
        .as_ref()
        .ok_or_else(|| malformed("result is missing"))?;
    if !matches!(
        result.state(),
        State::Complete | State::Error | State::Stopped
    ) {
        return Err(malformed(
            "the state of a result is COMPLETE, ERROR or STOPPED",
        ));
    }
    attempts::finish(ledger, &live, command, result);
    // Nothing of it runs any more: that is what a result says.
    ledger.release_devices(&command.worker, live.fence);
    pipeline::follow(ledger, &live.project, live.number);
    Ok(Outcome::Attempt(live.fence))
}
