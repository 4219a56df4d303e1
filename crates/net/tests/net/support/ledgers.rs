//! A ledger that tests move on command by command.

use contract::api::{EndReason, State};
use contract::ledger::{self as pb, Command, Entry, command::Kind};
use contract::link;
use ledger::Fence;
use prost::Message;

/// The project of every test.
pub const PROJECT: &str = "p";

pub fn entry(kinds: Vec<Kind>) -> Entry {
    let commands = kinds
        .into_iter()
        .map(|kind| Command { kind: Some(kind) })
        .collect();
    Entry {
        version: ledger::ENTRY_VERSION,
        leader_time_ms: 1_000,
        commands,
    }
}

fn request(label: &str, body: &impl Message) -> Option<pb::RequestKey> {
    let digest = |bytes: &[u8]| blake3::hash(bytes).as_bytes().to_vec();
    Some(pb::RequestKey {
        request_id: digest(label.as_bytes())[..16].to_vec().into(),
        digest: digest(&body.encode_to_vec()).into(),
    })
}

pub fn found() -> Kind {
    Kind::FoundCluster(pb::FoundCluster {
        cluster_id: "c".to_owned(),
    })
}

pub fn worker(name: &str, address: &str) -> Kind {
    let offer = link::Offer {
        address: address.to_owned(),
        slot_count: 2,
        ..link::Offer::default()
    };
    Kind::RegisterWorker(pb::RegisterWorker {
        name: name.to_owned(),
        incarnation: 1,
        offer: Some(offer),
        instance_id: Default::default(),
    })
}

fn template(step: &str) -> pb::StepTemplate {
    pb::StepTemplate {
        step: step.to_owned(),
        image: "busybox".to_owned(),
        commands: vec!["true".to_owned()],
        ..pb::StepTemplate::default()
    }
}

pub fn create_execution(label: &str) -> Kind {
    let mut command = pb::CreateExecution {
        project: PROJECT.to_owned(),
        template: Some(template("step")),
        ..pb::CreateExecution::default()
    };
    command.request = request(label, &command);
    Kind::CreateExecution(command)
}

/// A pipeline of two independent nodes `a` and `b`.
pub fn create_pipeline(label: &str) -> Kind {
    let node = |name: &str| pb::PlanNode {
        name: name.to_owned(),
        template: Some(template(name)),
        ..pb::PlanNode::default()
    };
    let plan = pb::Plan {
        name: "pair".to_owned(),
        nodes: vec![node("a"), node("b")],
        ..pb::Plan::default()
    };
    let mut command = pb::CreatePipeline {
        project: PROJECT.to_owned(),
        plan: Some(plan),
        ..pb::CreatePipeline::default()
    };
    command.request = request(label, &command);
    Kind::CreatePipeline(command)
}

pub fn assign(execution: i64, worker: &str) -> Kind {
    Kind::AssignAttempt(pb::AssignAttempt {
        project: PROJECT.to_owned(),
        execution,
        worker: worker.to_owned(),
        device_ids: Vec::new(),
    })
}

/// Its program runs.
pub fn start(worker: &str, fence: Fence) -> Kind {
    Kind::StartAttempt(pb::StartAttempt {
        worker: worker.to_owned(),
        fence: Some(fence.into()),
        prepare_time_us: 1,
        start_time_us: 2,
        ..pb::StartAttempt::default()
    })
}

pub fn lose(fence: Fence) -> Kind {
    Kind::LoseAttempt(pb::LoseAttempt {
        fence: Some(fence.into()),
        message: "gone".to_owned(),
        reason: EndReason::Lost.into(),
    })
}

/// Ends an attempt well, its log sealed, with outputs whose bytes are given.
pub fn finish(worker: &str, fence: Fence, seal: feed::Seal, outputs: &[(&str, &[u8])]) -> Kind {
    let outputs = outputs.iter().map(|(name, bytes)| link::OutputFile {
        file_name: (*name).to_owned(),
        digest: blake3::hash(bytes).as_bytes().to_vec().into(),
        size_bytes: bytes.len() as u64,
        properties_json: String::new(),
    });
    let result = link::AttemptResult {
        state: State::Complete.into(),
        exit_code: Some(0),
        exit_time_us: 3,
        record_count: seal.record_count,
        feed_digest: seal.digest.to_vec().into(),
        outputs: outputs.collect(),
        ..link::AttemptResult::default()
    };
    Kind::FinishAttempt(pb::FinishAttempt {
        worker: worker.to_owned(),
        fence: Some(fence.into()),
        prepare_time_us: 1,
        start_time_us: 2,
        inputs: Vec::new(),
        result: Some(result),
        image_digest: String::new(),
    })
}
