//! Cancels a pipeline: no further node starts, those that run are stopped. What has ended, or is ending, stays as it is.

use contract::ledger as pb;

use super::request::{self, Seen};
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};
use crate::pipeline::{self, End};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::CancelPipeline) -> Result<Outcome, Refused> {
    let key = match request::look_up(ledger, command.request.as_ref())? {
        Seen::Before(outcome) => return Ok(outcome),
        Seen::Never(key) => key,
    };
    let number = command.number;
    let Some(cancelled) = ledger.pipeline(&command.project, number) else {
        let name = format!("projects/{}/pipelines/{number}", command.project);
        return Err(Refused::NotFound { name });
    };
    let project = cancelled.project.clone();
    pipeline::end(ledger, &project, number, End::cancelled());
    request::remember(ledger, key, Outcome::Pipeline { project, number })
}
