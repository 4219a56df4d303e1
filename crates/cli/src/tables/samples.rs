//! Records made up for tests: a pipeline of three nodes whose second failed, seen two minutes after it ended.

use contract::api::{self, EndReason, Origin, State};
use prost_types::Timestamp;

use super::Now;

/// When the pipeline was created: 2026-11-23 20:00:00 UTC.
const START: i64 = 1_795_464_000;

/// The time the samples are looked at.
pub(super) const NOW: Now = Now(START as f64 + 300.0);

fn at(seconds: f64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: START + seconds as i64,
        nanos: (seconds.fract() * 1e9) as i32,
    })
}

fn value(kind: api::value::Kind) -> Option<api::Value> {
    Some(api::Value { kind: Some(kind) })
}

fn source() -> api::Source {
    api::Source {
        digest: vec![0x29; 32].into(),
        size_bytes: 70_144,
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        branch: "main".into(),
        dirty: true,
    }
}

fn datum(id: &str, file_name: &str, size_bytes: i64) -> api::Datum {
    api::Datum {
        name: format!("projects/digits/data/{id}"),
        file_name: file_name.into(),
        size_bytes,
        digest: vec![0xc0; 32].into(),
        ..api::Datum::default()
    }
}

fn attempt(number: i32, worker: &str) -> api::Attempt {
    api::Attempt {
        number,
        worker: worker.into(),
        state: State::Complete.into(),
        assign_time: at(1.0),
        prepare_time: at(1.25),
        start_time: at(1.5),
        exit_time: at(95.0),
        end_time: at(96.5),
        exit_code: Some(0),
        log_record_count: 19,
        ..api::Attempt::default()
    }
}

/// An execution that was lost once, then succeeded.
pub(super) fn complete() -> api::Execution {
    let lost = api::Attempt {
        number: 1,
        worker: "gpu-1".into(),
        state: State::Error.into(),
        end_reason: EndReason::Lost.into(),
        assign_time: at(0.5),
        end_time: at(0.9),
        ..api::Attempt::default()
    };
    api::Execution {
        name: "projects/digits/executions/41".into(),
        execution_id: "566866b4-cb64-4d38-be94-f6f2f55e6ce6".into(),
        step: "preprocess".into(),
        image: "python:3.12-slim".into(),
        commands: vec![
            "python3 preprocess.py --seed=7".into(),
            "if true; then\n  echo done\nfi".into(),
        ],
        parameters: vec![
            api::Parameter {
                name: "seed".into(),
                value: value(api::value::Kind::Integer(7)),
                origin: Origin::PipelineParameter.into(),
            },
            api::Parameter {
                name: "title".into(),
                value: value(api::value::Kind::Text("bad \x1b]0;title\x07".into())),
                origin: Origin::Default.into(),
            },
        ],
        inputs: vec![api::Input {
            name: "rows".into(),
            files: vec![api::InputFile {
                file_name: "rows.csv".into(),
                uri: "https://example.com/rows.csv".into(),
                digest: vec![0xab; 32].into(),
                size_bytes: 264_462,
                origin: Origin::Default.into(),
            }],
        }],
        environment_variables: [("MODE".to_owned(), "fast".to_owned())].into(),
        source: Some(source()),
        pipeline: "projects/digits/pipelines/12".into(),
        node: "prepare".into(),
        state: State::Complete.into(),
        exit_code: Some(0),
        create_time: at(0.0),
        assign_time: at(1.0),
        start_time: at(1.5),
        end_time: at(96.5),
        attempts: vec![lost, attempt(2, "gpu-2")],
        outputs: vec![
            datum("a1", "train.csv", 211_968),
            datum("a2", "plots/ro\x1bws.png", 900),
        ],
        metadata_json:
            r#"{"rows":1438,"confusion":[[42,0,0,0,0],[0,32,0,0,0],[0,1,30,0,0],[0,0,0,39,0]]}"#
                .into(),
        identity: vec![0x86; 32].into(),
        ..api::Execution::default()
    }
}

/// An execution whose program failed.
pub(super) fn failed() -> api::Execution {
    api::Execution {
        name: "projects/digits/executions/42".into(),
        step: "train".into(),
        image: "python:3.12-slim".into(),
        commands: vec!["python3 train.py".into()],
        pipeline: "projects/digits/pipelines/12".into(),
        node: "fit".into(),
        state: State::Error.into(),
        end_reason: EndReason::ExitCode.into(),
        message: "the program exited with code 3".into(),
        exit_code: Some(3),
        create_time: at(97.0),
        start_time: at(98.0),
        end_time: at(180.0),
        ..api::Execution::default()
    }
}

/// An execution that runs.
pub(super) fn running() -> api::Execution {
    api::Execution {
        name: "projects/digits/executions/43".into(),
        step: "train".into(),
        commands: vec!["python3 train.py".into()],
        state: State::Started.into(),
        create_time: at(97.0),
        start_time: at(100.0),
        attempts: vec![api::Attempt {
            number: 1,
            worker: "gpu-1".into(),
            state: State::Started.into(),
            assign_time: at(99.0),
            prepare_time: at(99.5),
            start_time: at(100.0),
            ..api::Attempt::default()
        }],
        ..api::Execution::default()
    }
}

/// The pipeline of the first two.
pub(super) fn pipeline() -> api::Pipeline {
    let node = |name: &str, step: &str, execution: &str, state: State| api::Node {
        name: name.into(),
        step: step.into(),
        execution: execution.into(),
        state: state.into(),
        ..api::Node::default()
    };
    let mut skipped = node("check", "evaluate", "", State::Created);
    skipped.skipped = true;
    skipped.message = "node fit failed".into();
    api::Pipeline {
        name: "projects/digits/pipelines/12".into(),
        blueprint: "digits".into(),
        title: "night run".into(),
        state: State::Error.into(),
        end_reason: EndReason::NodeFailed.into(),
        message: "node fit failed: the program exited with code 3".into(),
        create_time: at(0.0),
        end_time: at(180.5),
        nodes: vec![
            node(
                "prepare",
                "preprocess",
                "projects/digits/executions/41",
                State::Complete,
            ),
            node(
                "fit",
                "train",
                "projects/digits/executions/42",
                State::Error,
            ),
            skipped,
        ],
        source: Some(source()),
        parameters: vec![api::ParameterAssignment {
            name: "epochs".into(),
            value: value(api::value::Kind::Integer(15)),
            append: false,
        }],
        ..api::Pipeline::default()
    }
}

/// A worker that is here and one that is not.
pub(super) fn workers() -> Vec<api::Worker> {
    let here = api::Worker {
        name: "workers/gpu-1".into(),
        address: "10.0.0.7:7462".into(),
        environments: vec!["gpu".into(), "big".into()],
        slot_count: 4,
        version: "0.1.0".into(),
        connected: true,
        contact_time: at(299.0),
        executions: vec!["projects/digits/executions/43".into()],
        runtime: "process".into(),
        draining: true,
        devices: vec![
            api::WorkerDevice {
                device_id: "GPU-5f0c".into(),
                kind: "nvidia.com/gpu".into(),
                product: "NVIDIA A100-SXM4-80GB".into(),
                memory_bytes: 80 << 30,
                execution: "projects/digits/executions/43".into(),
                utilization_percent: Some(93),
                memory_bytes_taken: Some(71 << 30),
                temperature_celsius: Some(64),
                power_milliwatts: Some(311_400),
                driver_version: "570.124.06".into(),
                pci_bus_id: "00000000:17:00.0".into(),
            },
            api::WorkerDevice {
                device_id: "MIG-77aa".into(),
                kind: "nvidia.com/mig-1g.10gb".into(),
                ..api::WorkerDevice::default()
            },
        ],
        cpu_millis: 32_000,
        cpu_millis_taken: 4_500,
        memory_bytes: 128 << 30,
        memory_bytes_taken: 16 << 30,
        usage: Some(api::WorkerUsage {
            cpu_millis: Some(5_250),
            memory_bytes: Some(20 << 30),
            disk_available_bytes: Some(300 << 30),
            disk_total_bytes: Some(900 << 30),
            image_bytes: Some(41 << 30),
            blob_bytes: Some(120 << 30),
        }),
        duplicate_time: at(297.0),
        sole_blob_count: Some(12),
    };
    let away = api::Worker {
        name: "workers/gpu-2".into(),
        slot_count: 4,
        connected: false,
        contact_time: at(120.0),
        ..api::Worker::default()
    };
    vec![here, away]
}
