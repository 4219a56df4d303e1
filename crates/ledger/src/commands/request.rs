//! The memory of requests (I-02): a repeat gets the first answer, the same id with another body is refused.

use std::sync::Arc;

use contract::ledger as pb;
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::{self, Request};

/// Whether a request came before.
pub(super) enum Seen {
    /// It did, and this became of it.
    Before(Outcome),
    /// It did not.
    Never(Key),
}

/// What a request is remembered by.
pub(super) struct Key {
    request_id: Uuid,
    digest: [u8; 32],
}

/// Looks a request up. Fails when its id was used with another body.
pub(super) fn look_up(ledger: &Ledger, key: Option<&pb::RequestKey>) -> Result<Seen, Refused> {
    let key = key.ok_or_else(|| malformed("request is missing"))?;
    let request_id =
        Uuid::from_slice(&key.request_id).map_err(|_| malformed("request_id is not 16 bytes"))?;
    let digest =
        records::digest(&key.digest).ok_or_else(|| malformed("request digest is not 32 bytes"))?;
    match ledger.request(&request_id) {
        None => Ok(Seen::Never(Key { request_id, digest })),
        Some(known) if known.digest == digest => Ok(Seen::Before(known.outcome())),
        Some(known) => Err(Refused::RequestIdReused {
            request_id,
            known: known.digest,
            given: digest,
        }),
    }
}

/// Remembers what became of a request, and passes it on.
pub(super) fn remember(
    ledger: &mut Ledger,
    key: Key,
    outcome: Outcome,
) -> Result<Outcome, Refused> {
    let mut request = Request {
        request_id: key.request_id,
        digest: key.digest,
        project: Arc::default(),
        execution: 0,
        pipeline: 0,
        member_id: 0,
        worker: Arc::default(),
        index: ledger.revision,
    };
    match &outcome {
        Outcome::Execution { project, number } => {
            (request.project, request.execution) = (project.clone(), *number);
        }
        Outcome::Pipeline { project, number } => {
            (request.project, request.pipeline) = (project.clone(), *number);
        }
        Outcome::Member { member_id } => request.member_id = *member_id,
        Outcome::Worker { name } => request.worker = name.clone(),
        Outcome::Token { .. }
        | Outcome::Joined { .. }
        | Outcome::Revoked { .. }
        | Outcome::FeatureLevel { .. }
        | Outcome::Attempt(_)
        | Outcome::Copies { .. }
        | Outcome::Nothing => return Ok(outcome),
    }
    ledger.remember(request);
    Ok(outcome)
}
