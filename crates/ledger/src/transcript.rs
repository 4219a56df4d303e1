//! Commands on one line each, for transcripts and logs.

use contract::ledger as pb;
use contract::ledger::command::Kind;
use contract::link;

use crate::ids::Fence;

/// A command on one line: what it does, to what. Values and texts of users are left out.
pub fn line(command: &pb::Command) -> String {
    match &command.kind {
        None => "a command of a newer version".to_owned(),
        Some(Kind::FoundCluster(command)) => format!("found cluster {}", command.cluster_id),
        Some(Kind::CreatePipeline(command)) => {
            let plan = command.plan.as_ref();
            let (name, nodes) = plan
                .map(|plan| (plan.name.as_str(), plan.nodes.len()))
                .unwrap_or_default();
            format!(
                "create pipeline {name} in {} with {nodes} nodes",
                command.project
            )
        }
        Some(Kind::CreateExecution(command)) => {
            let step = command
                .template
                .as_ref()
                .map(|template| template.step.as_str())
                .unwrap_or_default();
            format!("create execution of {step} in {}", command.project)
        }
        Some(Kind::CancelPipeline(command)) => {
            format!("cancel pipeline {}/{}", command.project, command.number)
        }
        Some(Kind::CancelExecution(command)) => {
            format!("cancel execution {}#{}", command.project, command.number)
        }
        Some(Kind::RegisterWorker(command)) => {
            format!("register worker {} ({})", command.name, command.incarnation)
        }
        Some(Kind::LoseWorker(command)) => {
            format!("lose worker {} ({})", command.name, command.incarnation)
        }
        Some(Kind::AssignAttempt(command)) => {
            let devices = match command.device_ids.as_slice() {
                [] => String::new(),
                ids => format!(" with {}", ids.join(", ")),
            };
            format!(
                "assign {}#{} to {}{devices}",
                command.project, command.execution, command.worker
            )
        }
        Some(Kind::DrainWorker(command)) => {
            let what = if command.draining { "drain" } else { "undrain" };
            format!("{what} {}", command.name)
        }
        Some(Kind::PromiseStart(command)) if command.execution == 0 => {
            format!("take the promise of {:?} back", command.environment)
        }
        Some(Kind::PromiseStart(command)) => {
            let (project, number) = (&command.project, command.execution);
            format!("promise {project}#{number} its start on {}", command.worker)
        }
        Some(Kind::ReleaseDevices(command)) => {
            let fences: Vec<String> = command
                .fences
                .iter()
                .map(|of| fence(&Some(of.clone())))
                .collect();
            format!(
                "release devices of {} on {}",
                fences.join(", "),
                command.worker
            )
        }
        Some(Kind::RecordCopies(command)) => {
            let count = command.digests.len();
            format!("record {count} copies on {}", command.worker)
        }
        Some(Kind::StartAttempt(command)) => {
            format!("start {} on {}", fence(&command.fence), command.worker)
        }
        Some(Kind::FinishAttempt(command)) => {
            let result = command.result.clone().unwrap_or_default();
            let state = result.state().as_str_name().trim_start_matches("STATE_");
            let outputs = result.outputs.len();
            format!(
                "finish {} on {} as {state} with {outputs} outputs",
                fence(&command.fence),
                command.worker
            )
        }
        Some(Kind::LoseAttempt(command)) => {
            format!("lose {}: {}", fence(&command.fence), command.message)
        }
        Some(Kind::AdmitMember(command)) => match command.member_id {
            0 => format!("admit a member at {}", command.address),
            id => format!("member {id} is at {}", command.address),
        },
        Some(Kind::RemoveMember(command)) => format!("remove member {}", command.member_id),
        Some(Kind::VerifyState(command)) => format!("verify the state at {}", command.index),
        Some(Kind::RaiseFeatureLevel(command)) => {
            format!("raise the feature level to {}", command.level)
        }
        Some(Kind::CreateToken(command)) => format!("create token {}", command.token_id),
        Some(Kind::ConsumeToken(command)) => {
            format!("use up token {} for {:?}", command.token_id, command.name)
        }
        Some(Kind::RevokeToken(command)) => format!("revoke token {}", command.token_id),
        Some(Kind::RevokePrincipal(command)) => format!("revoke {}", command.principal),
        Some(Kind::PublishOutputs(command)) => {
            format!(
                "publish {} outputs of {} on {}",
                command.outputs.len(),
                fence(&command.fence),
                command.worker
            )
        }
    }
}

fn fence(fence: &Option<link::Fence>) -> String {
    match fence.as_ref().and_then(|fence| Fence::try_from(fence).ok()) {
        Some(fence) => fence.to_string(),
        None => "no fence".to_owned(),
    }
}
