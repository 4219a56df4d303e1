//! Records that an attempt ended without a result.

use contract::api::EndReason;
use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};
use crate::{attempts, pipeline};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::LoseAttempt) -> Result<Outcome, Refused> {
    let live = attempts::live(ledger, command.fence.as_ref())?;
    let reason = match command.reason() {
        EndReason::Unspecified => EndReason::Lost,
        reason => reason,
    };
    attempts::lose(ledger, &live.project, live.number, reason, &command.message);
    pipeline::follow(ledger, &live.project, live.number);
    Ok(Outcome::Attempt(live.fence))
}
