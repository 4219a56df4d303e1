//! Records that an attempt's program runs.

use contract::api::State;
use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};
use crate::{attempts, identity, pipeline};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::StartAttempt) -> Result<Outcome, Refused> {
    let live = attempts::of_worker(ledger, command.fence.as_ref(), &command.worker)?;
    if ledger
        .execution(&live.project, live.number)
        .and_then(|execution| execution.live_attempt())
        .is_some_and(|attempt| attempt.state == State::Started)
    {
        return Ok(Outcome::Nothing);
    }
    ledger.update_execution(&live.project, live.number, |execution| {
        attempts::resolve(execution, &command.inputs);
        execution.identity = identity::of(&execution.recipe, &execution.inputs);
        if let Some(attempt) = execution.attempts.last_mut() {
            attempt.state = State::Started;
            attempt.prepare_time_us = command.prepare_time_us;
            attempt.start_time_us = command.start_time_us;
            attempt.image_digest = command.image_digest.as_str().into();
        }
        if execution.state() == State::Queued {
            execution.enter(State::Started);
        }
    });
    pipeline::follow(ledger, &live.project, live.number);
    Ok(Outcome::Attempt(live.fence))
}
