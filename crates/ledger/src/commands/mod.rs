//! The decisions, one file each. Every one checks all that it needs before it changes anything, so a refusal changes nothing.

mod admit_member;
mod found_cluster;
mod raise_feature_level;
mod remove_member;

mod create_execution;
mod create_pipeline;
mod request;
mod verify_state;

mod cancel_execution;
mod cancel_pipeline;

mod drain_worker;
mod lose_worker;
mod register_worker;
mod release_devices;

mod consume_token;
mod create_token;
mod revoke_principal;
mod revoke_token;

mod assign_attempt;
mod finish_attempt;
mod lose_attempt;
mod promise_start;
mod publish_outputs;
mod record_copies;
mod start_attempt;

use contract::ledger as pb;
use contract::ledger::command::Kind;

use crate::PRIORITY_RANGE;
use crate::digest;
use crate::feature::PRIORITIES;
use crate::ledger::Ledger;
use crate::outcome::{Applied, Outcome, Refused, malformed};

/// The version of entries this program writes, and the newest that it reads.
pub const ENTRY_VERSION: u32 = 1;

pub(crate) fn apply(ledger: &mut Ledger, index: u64, entry: &pb::Entry) -> Applied {
    if index <= ledger.revision {
        let refused = || Err(Refused::AlreadyApplied { index });
        return Applied {
            outcomes: entry.commands.iter().map(|_| refused()).collect(),
            subjects: Vec::new(),
        };
    }
    let before = std::mem::replace(&mut ledger.revision, index);
    ledger.ordinal = 0;
    ledger.time_ms = ledger.time_ms.max(entry.leader_time_ms);
    let outcomes = entry
        .commands
        .iter()
        .map(|command| match (entry.version, &command.kind) {
            (1..=ENTRY_VERSION, Some(kind)) => apply_one(ledger, kind),
            _ => Err(Refused::Unknown),
        });
    let applied = Applied {
        outcomes: outcomes.collect(),
        subjects: ledger
            .changes
            .since(before)
            .map(|(_, subject)| subject.clone())
            .collect(),
    };
    ledger.digest = digest::fold(ledger, &applied);
    applied
}

/// The priority that counts. Before there were priorities nothing had one.
fn priority(ledger: &Ledger, asked: i32) -> Result<i32, Refused> {
    match PRIORITY_RANGE.contains(&asked) {
        _ if ledger.feature_level < PRIORITIES => Ok(0),
        true => Ok(asked),
        false => Err(malformed("priority is out of its range")),
    }
}

fn apply_one(ledger: &mut Ledger, kind: &Kind) -> Result<Outcome, Refused> {
    match kind {
        Kind::FoundCluster(command) => found_cluster::apply(ledger, command),
        Kind::CreatePipeline(command) => create_pipeline::apply(ledger, command),
        Kind::CreateExecution(command) => create_execution::apply(ledger, command),
        Kind::CancelPipeline(command) => cancel_pipeline::apply(ledger, command),
        Kind::CancelExecution(command) => cancel_execution::apply(ledger, command),
        Kind::RegisterWorker(command) => register_worker::apply(ledger, command),
        Kind::LoseWorker(command) => lose_worker::apply(ledger, command),
        Kind::AssignAttempt(command) => assign_attempt::apply(ledger, command),
        Kind::StartAttempt(command) => start_attempt::apply(ledger, command),
        Kind::PublishOutputs(command) => publish_outputs::apply(ledger, command),
        Kind::FinishAttempt(command) => finish_attempt::apply(ledger, command),
        Kind::LoseAttempt(command) => lose_attempt::apply(ledger, command),
        Kind::AdmitMember(command) => admit_member::apply(ledger, command),
        Kind::RemoveMember(command) => remove_member::apply(ledger, command),
        Kind::RaiseFeatureLevel(command) => raise_feature_level::apply(ledger, command),
        Kind::CreateToken(command) => create_token::apply(ledger, command),
        Kind::ConsumeToken(command) => consume_token::apply(ledger, command),
        Kind::RevokeToken(command) => revoke_token::apply(ledger, command),
        Kind::RevokePrincipal(command) => revoke_principal::apply(ledger, command),
        Kind::DrainWorker(command) => drain_worker::apply(ledger, command),
        Kind::PromiseStart(command) => promise_start::apply(ledger, command),
        Kind::RecordCopies(command) => record_copies::apply(ledger, command),
        Kind::ReleaseDevices(command) => release_devices::apply(ledger, command),
        Kind::VerifyState(command) => verify_state::apply(ledger, command),
    }
}
