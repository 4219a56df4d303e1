//! Executions and their attempts.

use bytes::Bytes;
use contract::api;
use ledger::{Attempt, Execution, Input, Ledger};
use schedule::{Explanation, Requirement, Verdict};

use super::{datum::datum, from_micros, from_millis, int64, name};

/// An execution with all that is recorded of it.
pub(crate) fn execution(ledger: &Ledger, execution: &Execution) -> api::Execution {
    let template = execution.template();
    let parameters = template.parameters.iter().map(|parameter| api::Parameter {
        name: parameter.name.clone(),
        value: parameter.value.clone(),
        origin: parameter.origin,
    });
    let first = execution.attempts.first();
    let started = execution
        .attempts
        .iter()
        .map(|attempt| attempt.start_time_us)
        .find(|time_us| *time_us != 0);
    let outputs = execution.outputs.iter().filter_map(|id| ledger.datum(id));
    api::Execution {
        name: name::execution(&execution.project, execution.number),
        execution_id: execution.execution_id.to_string(),
        step: template.step.clone(),
        image: template.image.clone(),
        commands: execution.commands().to_vec(),
        parameters: parameters.collect(),
        inputs: execution.inputs.iter().map(input).collect(),
        environment_variables: template.environment_variables.clone(),
        environment: template.environment.clone(),
        source: execution.source().cloned(),
        pipeline: match execution.pipeline {
            0 => String::new(),
            number => name::pipeline(&execution.project, number),
        },
        node: execution.node.to_string(),
        state: execution.state().into(),
        end_reason: execution.end_reason.into(),
        message: execution.message.clone(),
        create_time: from_millis(execution.create_time_ms),
        assign_time: first.and_then(|attempt| from_millis(attempt.assign_time_ms)),
        start_time: started.and_then(from_micros),
        end_time: from_millis(execution.end_time_ms),
        attempts: execution.attempts.iter().map(attempt).collect(),
        outputs: outputs.map(|output| datum(ledger, output)).collect(),
        metadata_json: execution.metadata_json.to_string(),
        identity: digest(execution.identity.as_ref()),
        exit_code: execution.exit_code,
        annotations: execution.annotations().clone(),
        revision: int64(execution.revision),
        time_limit_seconds: template.time_limit_ms as f64 / 1_000.0,
        no_output_timeout_seconds: template.no_output_timeout_ms as f64 / 1_000.0,
        title: execution.title.to_string(),
        priority: execution.priority,
    }
}

fn input(input: &Input) -> api::Input {
    let files = input.files.iter().map(|file| api::InputFile {
        file_name: file.file_name.clone(),
        uri: file.uri.clone(),
        digest: digest(file.digest.as_ref()),
        size_bytes: int64(file.size_bytes),
        origin: file.origin,
    });
    api::Input {
        name: input.name.clone(),
        files: files.collect(),
    }
}

/// The scheduler's reasoning.
pub(crate) fn explained(
    explanation: Explanation,
    revision: u64,
    activity: String,
) -> api::ExplainExecutionResponse {
    let requirement = |requirement: Requirement| api::WorkerRequirement {
        met: requirement.met,
        detail: requirement.detail,
    };
    let verdict = |verdict: Verdict| api::WorkerVerdict {
        worker: format!("workers/{}", verdict.worker),
        requirements: verdict.requirements.into_iter().map(requirement).collect(),
        input_bytes: int64(verdict.input_bytes),
    };
    api::ExplainExecutionResponse {
        standing: explanation.standing,
        workers: explanation.workers.into_iter().map(verdict).collect(),
        revision: int64(revision),
        activity,
    }
}

fn attempt(attempt: &Attempt) -> api::Attempt {
    api::Attempt {
        number: attempt.number as i32,
        worker: attempt.worker.to_string(),
        fence_index: int64(attempt.fence_index),
        state: attempt.state.into(),
        end_reason: attempt.end_reason.into(),
        message: attempt.message.clone(),
        assign_time: from_millis(attempt.assign_time_ms),
        prepare_time: from_micros(attempt.prepare_time_us),
        start_time: from_micros(attempt.start_time_us),
        exit_time: from_micros(attempt.exit_time_us),
        end_time: from_millis(attempt.end_time_ms),
        exit_code: attempt.exit_code,
        signal: attempt.signal,
        log_record_count: int64(attempt.record_count),
        log_digest: digest(attempt.feed_digest.as_ref()),
        image_digest: attempt.image_digest.to_string(),
        device_ids: attempt.device_ids.iter().map(|id| id.to_string()).collect(),
    }
}

/// A digest that may not be known yet; unknown is empty.
fn digest(digest: Option<&[u8; 32]>) -> Bytes {
    digest
        .map(|digest| Bytes::copy_from_slice(digest))
        .unwrap_or_default()
}
