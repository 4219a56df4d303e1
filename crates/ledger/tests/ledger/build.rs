//! Commands and plans, made short.

use contract::api::{EndReason, State};
use contract::ledger::{self as pb, Command, Entry, command::Kind};
use contract::link;
use ledger::Fence;

/// The project of all tests that need only one.
/// What every GPU is asked for as.
pub const GPU: &str = "nvidia.com/gpu";

pub const PROJECT: &str = "p";

pub fn entry(leader_time_ms: i64, kinds: Vec<Kind>) -> Entry {
    let commands = kinds
        .into_iter()
        .map(|kind| Command { kind: Some(kind) })
        .collect();
    Entry {
        version: ledger::ENTRY_VERSION,
        leader_time_ms,
        commands,
    }
}

/// A request id of a label; its digest is that of the body.
fn request(label: &str, body: &impl prost::Message) -> Option<pb::RequestKey> {
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

pub fn worker(name: &str, incarnation: u64, environments: &[&str]) -> Kind {
    Kind::RegisterWorker(pb::RegisterWorker {
        name: name.to_owned(),
        incarnation,
        offer: Some(link::Offer {
            address: format!("{name}:1"),
            slot_count: 2,
            environments: environments.iter().map(|slug| (*slug).to_owned()).collect(),
            ..link::Offer::default()
        }),
        instance_id: Default::default(),
    })
}

/// A worker with GPUs of these ids.
pub fn gpu_worker(name: &str, incarnation: u64, ids: &[&str]) -> Kind {
    let device = |id: &&str| link::Device {
        device_id: (*id).to_owned(),
        kind: GPU.to_owned(),
        memory_bytes: 1 << 34,
        ..link::Device::default()
    };
    Kind::RegisterWorker(pb::RegisterWorker {
        name: name.to_owned(),
        incarnation,
        offer: Some(link::Offer {
            address: format!("{name}:1"),
            slot_count: 2,
            cpu_millis: 4_000,
            memory_bytes: 1 << 30,
            devices: ids.iter().map(device).collect(),
            ..link::Offer::default()
        }),
        instance_id: Default::default(),
    })
}

/// A template that needs so many GPUs.
pub fn gpu_template(step: &str, count: u32) -> pb::StepTemplate {
    pb::StepTemplate {
        needs: Some(pb::Needs {
            cpu_millis: 500,
            devices: vec![pb::DeviceNeed {
                kind: GPU.to_owned(),
                count,
                memory_bytes: 0,
            }],
            ..pb::Needs::default()
        }),
        ..template(step)
    }
}

pub fn assign_with(execution: i64, worker: &str, device_ids: &[&str]) -> Kind {
    Kind::AssignAttempt(pb::AssignAttempt {
        project: PROJECT.to_owned(),
        execution,
        worker: worker.to_owned(),
        device_ids: device_ids.iter().map(|id| (*id).to_owned()).collect(),
    })
}

pub fn release(worker: &str, incarnation: u64, fences: &[Fence]) -> Kind {
    Kind::ReleaseDevices(pb::ReleaseDevices {
        worker: worker.to_owned(),
        incarnation,
        fences: fences.iter().map(|fence| (*fence).into()).collect(),
    })
}

pub fn copies(worker: &str, incarnation: u64, names: &[&str]) -> Kind {
    let digests = names.iter().map(|name| output(name).digest);
    Kind::RecordCopies(pb::RecordCopies {
        worker: worker.to_owned(),
        incarnation,
        digests: digests.collect(),
    })
}

pub fn drain(label: Option<&str>, name: &str, draining: bool) -> Kind {
    let mut command = pb::DrainWorker {
        request: None,
        name: name.to_owned(),
        draining,
    };
    command.request = label.and_then(|label| request(label, &command));
    Kind::DrainWorker(command)
}

pub fn raise(level: u32) -> Kind {
    Kind::RaiseFeatureLevel(pb::RaiseFeatureLevel {
        level,
        version: format!("0.{level}.0"),
    })
}

pub fn lose_worker(name: &str, incarnation: u64) -> Kind {
    Kind::LoseWorker(pb::LoseWorker {
        name: name.to_owned(),
        incarnation,
    })
}

pub fn create_execution(label: &str, template: pb::StepTemplate) -> Kind {
    create_execution_in(PROJECT, label, template)
}

pub fn create_execution_in(project: &str, label: &str, template: pb::StepTemplate) -> Kind {
    let mut command = pb::CreateExecution {
        project: project.to_owned(),
        template: Some(template),
        ..pb::CreateExecution::default()
    };
    command.request = request(label, &command);
    Kind::CreateExecution(command)
}

pub fn create_pipeline(label: &str, plan: pb::Plan) -> Kind {
    let mut command = pb::CreatePipeline {
        project: PROJECT.to_owned(),
        plan: Some(plan),
        ..pb::CreatePipeline::default()
    };
    command.request = request(label, &command);
    Kind::CreatePipeline(command)
}

pub fn cancel_execution(label: &str, number: i64) -> Kind {
    let mut command = pb::CancelExecution {
        request: None,
        project: PROJECT.to_owned(),
        number,
    };
    command.request = request(label, &command);
    Kind::CancelExecution(command)
}

pub fn cancel_pipeline(label: &str, number: i64) -> Kind {
    let mut command = pb::CancelPipeline {
        request: None,
        project: PROJECT.to_owned(),
        number,
    };
    command.request = request(label, &command);
    Kind::CancelPipeline(command)
}

pub fn assign(execution: i64, worker: &str) -> Kind {
    Kind::AssignAttempt(pb::AssignAttempt {
        project: PROJECT.to_owned(),
        execution,
        worker: worker.to_owned(),
        device_ids: Vec::new(),
    })
}

pub fn start(worker: &str, fence: Fence) -> Kind {
    Kind::StartAttempt(pb::StartAttempt {
        worker: worker.to_owned(),
        fence: Some(fence.into()),
        prepare_time_us: 1,
        start_time_us: 2,
        inputs: Vec::new(),
        image_digest: "sha256:00ff".to_owned(),
    })
}

pub fn lose(fence: Fence, message: &str) -> Kind {
    Kind::LoseAttempt(pb::LoseAttempt {
        fence: Some(fence.into()),
        message: message.to_owned(),
        reason: EndReason::Lost.into(),
    })
}

pub fn publish(worker: &str, fence: Fence, outputs: Vec<link::OutputFile>) -> Kind {
    Kind::PublishOutputs(pb::PublishOutputs {
        worker: worker.to_owned(),
        fence: Some(fence.into()),
        outputs,
    })
}

pub fn finish(worker: &str, fence: Fence, result: link::AttemptResult) -> Kind {
    Kind::FinishAttempt(pb::FinishAttempt {
        worker: worker.to_owned(),
        fence: Some(fence.into()),
        prepare_time_us: 1,
        start_time_us: if result.exit_time_us == 0 { 0 } else { 2 },
        inputs: Vec::new(),
        result: Some(result),
        image_digest: "sha256:00ff".to_owned(),
    })
}

/// The result of a program that ran.
pub fn result(state: State) -> link::AttemptResult {
    link::AttemptResult {
        state: state.into(),
        reason: match state {
            State::Error => EndReason::ExitCode.into(),
            _ => EndReason::Unspecified.into(),
        },
        exit_code: match state {
            State::Complete => Some(0),
            State::Error => Some(1),
            _ => None,
        },
        exit_time_us: 3,
        record_count: 7,
        feed_digest: vec![7; 32].into(),
        ..link::AttemptResult::default()
    }
}

/// An output whose bytes are its name.
pub fn output(name: &str) -> link::OutputFile {
    link::OutputFile {
        file_name: name.to_owned(),
        digest: blake3::hash(name.as_bytes()).as_bytes().to_vec().into(),
        size_bytes: name.len() as u64,
        properties_json: String::new(),
    }
}

pub fn template(step: &str) -> pb::StepTemplate {
    pb::StepTemplate {
        step: step.to_owned(),
        image: "busybox".to_owned(),
        commands: vec!["run {parameters}".to_owned()],
        ..pb::StepTemplate::default()
    }
}
