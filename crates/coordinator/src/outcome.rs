//! The ledger's outcomes in the contract's words.

use contract::api::ErrorReason;
use contract::ledger::{AssignAttempt, Command, PromiseStart, command::Kind};
use ledger::{Outcome, Promise, Refused};
use std::sync::Arc;

use schedule::Placement;

use crate::{Answer, Refusal};

/// What a caller is answered.
pub(crate) fn answer(outcome: &Outcome, warnings: Vec<String>) -> Answer {
    match outcome {
        Outcome::Pipeline { project, number } => Answer::Pipeline {
            project: project.to_string(),
            number: *number,
            warnings,
        },
        Outcome::Execution { project, number } => Answer::Execution {
            project: project.to_string(),
            number: *number,
            warnings,
        },
        Outcome::Member { member_id } => Answer::Member {
            member_id: *member_id,
        },
        Outcome::Token { token_id } => Answer::Token {
            token_id: token_id.to_string(),
        },
        Outcome::Joined { index, .. } => Answer::Joined { index: *index },
        Outcome::Worker { .. }
        | Outcome::Revoked { .. }
        | Outcome::FeatureLevel { .. }
        | Outcome::Attempt(_)
        | Outcome::Copies { .. }
        | Outcome::Nothing => Answer::Valid { warnings },
    }
}

/// Why a caller is refused.
pub(crate) fn refusal(refused: &Refused) -> Refusal {
    let message = refused.to_string();
    match refused {
        Refused::RequestIdReused {
            request_id,
            known,
            given,
        } => Refusal::new(ErrorReason::RequestIdReused, message)
            .with("request_id", request_id.to_string())
            .with("known_digest", hex(known))
            .with("given_digest", hex(given)),
        Refused::NotFound { name } => Refusal::not_found(name),
        Refused::UnknownDatum { input, uri } => Refusal::new(ErrorReason::InvalidLaunch, message)
            .with("input", input)
            .with("uri", uri)
            .violation(
                format!("inputs.{input}"),
                format!("{uri} does not exist in the project"),
            ),
        Refused::CannotLaunch { message } => {
            Refusal::new(ErrorReason::InvalidLaunch, message.clone())
        }
        Refused::StaleFence { current } => Refusal::new(ErrorReason::StaleFence, message).with(
            "current",
            current.map(|fence| fence.to_string()).unwrap_or_default(),
        ),
        Refused::NotYours { worker } => {
            Refusal::new(ErrorReason::StaleFence, message).with("worker", worker.to_string())
        }
        Refused::StaleIncarnation { current } => {
            Refusal::new(ErrorReason::StaleIncarnation, message)
                .with("current", current.to_string())
        }
        Refused::UnknownMember { member_id } => Refusal::not_found(&format!("members/{member_id}")),
        Refused::TooOld { level, .. } => Refusal::new(ErrorReason::StateForbids, message)
            .with("feature_level", level.to_string()),
        Refused::AddressTaken { member_id, .. }
        | Refused::MemberRemoved { member_id }
        | Refused::LastMember { member_id } => Refusal::new(ErrorReason::StateForbids, message)
            .with("member_id", member_id.to_string()),
        Refused::NotWaiting { .. }
        | Refused::WorkerLost { .. }
        | Refused::DeviceTaken { .. }
        | Refused::UnknownWorker { .. }
        | Refused::TokenExists
        | Refused::TokenSpent { .. }
        | Refused::Founded { .. } => Refusal::new(ErrorReason::StateForbids, message),
        Refused::TooManyTokens => Refusal::new(ErrorReason::LimitExceeded, message),
        Refused::TokenUnknown
        | Refused::TokenUsed
        | Refused::TokenRevoked
        | Refused::TokenExpired
        | Refused::TokenRole { .. }
        | Refused::TokenName { .. } => Refusal::new(ErrorReason::JoinDenied, message),
        Refused::Diverged { .. }
        | Refused::AlreadyApplied { .. }
        | Refused::Unknown
        | Refused::Malformed { .. } => Refusal::new(ErrorReason::InternalFault, message),
    }
}

/// The command that carries out a placement.
pub(crate) fn assignment(placement: Placement) -> Command {
    Command {
        kind: Some(Kind::AssignAttempt(AssignAttempt {
            project: placement.project.to_string(),
            execution: placement.execution,
            worker: placement.worker.to_string(),
            device_ids: placement.device_ids,
        })),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The command that writes a promise down.
pub(crate) fn promise(promise: Promise) -> Kind {
    Kind::PromiseStart(PromiseStart {
        environment: promise.environment.to_string(),
        project: promise.project.to_string(),
        execution: promise.execution,
        worker: promise.worker.to_string(),
        start_time_ms: promise.start_time_ms,
    })
}

/// The command that takes the promise of an environment back.
pub(crate) fn withdrawal(environment: &Arc<str>) -> Kind {
    Kind::PromiseStart(PromiseStart {
        environment: environment.to_string(),
        ..PromiseStart::default()
    })
}
