//! What programs see: messages of the contract as JSON. Field names are those of the contract, states are lower-case words,
//! times RFC 3339 in UTC, digests hexadecimal. Fields are only ever added.

use contract::api;
use serde_json::{Map, Value, json};

/// A word for a state: `complete`.
pub fn state(state: api::State) -> String {
    word(state.as_str_name(), "STATE_")
}

/// A word for a reason: `exit_code`; null when there is none.
pub fn reason(reason: api::EndReason) -> Value {
    match reason {
        api::EndReason::Unspecified => Value::Null,
        _ => Value::from(word(reason.as_str_name(), "END_REASON_")),
    }
}

/// A word for an origin: `launch`; null when there is none.
pub fn origin(origin: api::Origin) -> Value {
    match origin {
        api::Origin::Unspecified => Value::Null,
        _ => Value::from(word(origin.as_str_name(), "ORIGIN_")),
    }
}

fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}

/// A time; null when it has not come.
pub fn time(time: Option<&prost_types::Timestamp>) -> Value {
    time.map_or(Value::Null, |time| Value::from(time.to_string()))
}

/// A digest or an id in hexadecimal; null when it is not known.
pub fn hex(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        Value::Null
    } else {
        Value::from(hex_text(bytes))
    }
}

/// Bytes in hexadecimal.
pub fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text that is absent when it is empty.
fn text(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        Value::from(text)
    }
}

/// JSON that travels as text.
fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// A value of a parameter.
pub fn value(value: Option<&api::Value>) -> Value {
    use api::value::Kind;
    match value.and_then(|value| value.kind.as_ref()) {
        None => Value::Null,
        Some(Kind::Boolean(value)) => Value::from(*value),
        Some(Kind::Integer(value)) => Value::from(*value),
        Some(Kind::Number(number)) if number.is_finite() => Value::from(*number),
        Some(Kind::Number(number)) => Value::from(number.to_string()),
        Some(Kind::Text(text) | Kind::BigInteger(text) | Kind::Date(text)) => {
            Value::from(text.as_str())
        }
        Some(Kind::List(list)) => list
            .items
            .iter()
            .map(|item| self::value(Some(item)))
            .collect(),
        Some(Kind::Map(map)) => {
            let entries = map
                .entries
                .iter()
                .map(|entry| (key(entry.key.as_ref()), self::value(entry.value.as_ref())));
            Value::Object(entries.collect())
        }
    }
}

fn key(key: Option<&api::Value>) -> String {
    match value(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The number at the end of a resource name.
pub fn number(name: &str) -> Value {
    name.rsplit('/')
        .next()
        .and_then(|last| last.parse::<i64>().ok())
        .map_or(Value::Null, Value::from)
}

fn annotations(annotations: &std::collections::BTreeMap<String, String>) -> Value {
    Value::Object(
        annotations
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect(),
    )
}

/// A source tree.
pub fn source(source: Option<&api::Source>) -> Value {
    source.map_or(Value::Null, |source| {
        json!({
            "digest": hex(&source.digest),
            "size_bytes": source.size_bytes,
            "commit": text(&source.commit),
            "branch": text(&source.branch),
            "dirty": source.dirty,
        })
    })
}

/// A pipeline.
pub fn pipeline(pipeline: &api::Pipeline) -> Value {
    let parameters: Map<String, Value> = pipeline
        .parameters
        .iter()
        .map(|parameter| (parameter.name.clone(), value(parameter.value.as_ref())))
        .collect();
    json!({
        "name": pipeline.name,
        "number": number(&pipeline.name),
        "pipeline_id": pipeline.pipeline_id,
        "blueprint": pipeline.blueprint,
        "title": pipeline.title,
        "priority": pipeline.priority,
        "state": state(pipeline.state()),
        "end_reason": reason(pipeline.end_reason()),
        "message": text(&pipeline.message),
        "create_time": time(pipeline.create_time.as_ref()),
        "end_time": time(pipeline.end_time.as_ref()),
        "nodes": pipeline.nodes.iter().map(node).collect::<Vec<_>>(),
        "edges": pipeline.edges.iter().map(edge).collect::<Vec<_>>(),
        "source": source(pipeline.source.as_ref()),
        "parameters": parameters,
        "annotations": annotations(&pipeline.annotations),
        "revision": pipeline.revision,
    })
}

fn node(node: &api::Node) -> Value {
    json!({
        "name": node.name,
        "step": node.step,
        "state": state(node.state()),
        "execution": number(&node.execution),
        "message": text(&node.message),
        "skipped": node.skipped,
    })
}

fn edge(edge: &api::Edge) -> Value {
    json!({
        "source": format!("{}.{}.{}", edge.source_node, edge.source_type, edge.source_key),
        "target": format!("{}.{}.{}", edge.target_node, edge.target_type, edge.target_key),
    })
}

/// An execution.
pub fn execution(execution: &api::Execution) -> Value {
    let environment: Map<String, Value> = execution
        .environment_variables
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    json!({
        "name": execution.name,
        "number": number(&execution.name),
        "execution_id": execution.execution_id,
        "title": text(&execution.title),
        "priority": execution.priority,
        "step": execution.step,
        "image": execution.image,
        "commands": execution.commands,
        "parameters": execution.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "inputs": execution.inputs.iter().map(input).collect::<Vec<_>>(),
        "environment_variables": environment,
        "environment": text(&execution.environment),
        "source": source(execution.source.as_ref()),
        "pipeline": number(&execution.pipeline),
        "node": text(&execution.node),
        "state": state(execution.state()),
        "end_reason": reason(execution.end_reason()),
        "message": text(&execution.message),
        "exit_code": execution.exit_code,
        "create_time": time(execution.create_time.as_ref()),
        "assign_time": time(execution.assign_time.as_ref()),
        "start_time": time(execution.start_time.as_ref()),
        "end_time": time(execution.end_time.as_ref()),
        "time_limit_seconds": execution.time_limit_seconds,
        "no_output_timeout_seconds": execution.no_output_timeout_seconds,
        "attempts": execution.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "outputs": execution.outputs.iter().map(datum).collect::<Vec<_>>(),
        "metadata": object(&execution.metadata_json),
        "identity": hex(&execution.identity),
        "annotations": annotations(&execution.annotations),
        "revision": execution.revision,
    })
}

fn parameter(parameter: &api::Parameter) -> Value {
    json!({
        "name": parameter.name,
        "value": value(parameter.value.as_ref()),
        "origin": origin(parameter.origin()),
    })
}

fn input(input: &api::Input) -> Value {
    let files: Vec<Value> = input
        .files
        .iter()
        .map(|file| {
            json!({
                "file_name": text(&file.file_name),
                "uri": file.uri,
                "digest": hex(&file.digest),
                "size_bytes": file.size_bytes,
                "origin": origin(file.origin()),
            })
        })
        .collect();
    json!({"name": input.name, "files": files})
}

fn attempt(attempt: &api::Attempt) -> Value {
    json!({
        "number": attempt.number,
        "worker": attempt.worker,
        "fence_index": attempt.fence_index,
        "state": state(attempt.state()),
        "end_reason": reason(attempt.end_reason()),
        "message": text(&attempt.message),
        "assign_time": time(attempt.assign_time.as_ref()),
        "prepare_time": time(attempt.prepare_time.as_ref()),
        "start_time": time(attempt.start_time.as_ref()),
        "exit_time": time(attempt.exit_time.as_ref()),
        "end_time": time(attempt.end_time.as_ref()),
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "log_record_count": attempt.log_record_count,
        "log_digest": hex(&attempt.log_digest),
        "image_digest": attempt.image_digest,
        "device_ids": attempt.device_ids,
    })
}

/// A datum.
pub fn datum(datum: &api::Datum) -> Value {
    let id = datum.name.rsplit('/').next().unwrap_or_default();
    json!({
        "name": datum.name,
        "uri": format!("datum://{id}"),
        "file_name": datum.file_name,
        "size_bytes": datum.size_bytes,
        "digest": hex(&datum.digest),
        "properties": object(&datum.properties_json),
        "execution": number(&datum.execution),
        "create_time": time(datum.create_time.as_ref()),
        "locations": datum.locations,
    })
}

/// A worker.
pub fn worker(worker: &api::Worker) -> Value {
    json!({
        "name": worker.name.trim_start_matches("workers/"),
        "address": text(&worker.address),
        "environments": worker.environments,
        "slot_count": worker.slot_count,
        "version": worker.version,
        "runtime": worker.runtime,
        "connected": worker.connected,
        "contact_time": time(worker.contact_time.as_ref()),
        "duplicate_time": time(worker.duplicate_time.as_ref()),
        "executions": worker.executions,
        "draining": worker.draining,
        "sole_blob_count": worker.sole_blob_count,
        "devices": worker.devices.iter().map(device).collect::<Vec<_>>(),
        "cpu_millis": worker.cpu_millis,
        "cpu_millis_taken": worker.cpu_millis_taken,
        "memory_bytes": worker.memory_bytes,
        "memory_bytes_taken": worker.memory_bytes_taken,
        "usage": worker.usage.as_ref().map(|usage| json!({
            "cpu_millis": usage.cpu_millis,
            "memory_bytes": usage.memory_bytes,
            "disk_available_bytes": usage.disk_available_bytes,
            "disk_total_bytes": usage.disk_total_bytes,
            "image_bytes": usage.image_bytes,
            "blob_bytes": usage.blob_bytes,
        })),
    })
}

fn device(device: &api::WorkerDevice) -> Value {
    json!({
        "id": device.device_id,
        "kind": device.kind,
        "product": text(&device.product),
        "memory_bytes": device.memory_bytes,
        "driver_version": text(&device.driver_version),
        "pci_bus_id": text(&device.pci_bus_id),
        "execution": text(&device.execution),
        "utilization_percent": device.utilization_percent,
        "memory_bytes_taken": device.memory_bytes_taken,
        "temperature_celsius": device.temperature_celsius,
        "power_milliwatts": device.power_milliwatts,
    })
}

/// Where an execution stands.
pub fn explanation(name: &str, explained: &api::ExplainExecutionResponse) -> Value {
    let workers = explained.workers.iter().map(|verdict| {
        let requirements = verdict
            .requirements
            .iter()
            .map(|one| json!({ "met": one.met, "detail": one.detail }));
        json!({
            "worker": verdict.worker.trim_start_matches("workers/"),
            "fits": verdict.requirements.iter().all(|one| one.met),
            "requirements": requirements.collect::<Vec<_>>(),
            "input_bytes": verdict.input_bytes,
        })
    });
    json!({
        "execution": name,
        "standing": explained.standing,
        "activity": text(&explained.activity),
        "workers": workers.collect::<Vec<_>>(),
        "revision": explained.revision,
    })
}

/// A join token, without its secret.
pub fn token(token: &api::Token) -> Value {
    let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
    json!({
        "id": token.name.trim_start_matches("tokens/"),
        "role": word(token.role().as_str_name(), "TOKEN_ROLE_"),
        "name": text(&token.joiner_name),
        "state": word(token.state().as_str_name(), "TOKEN_STATE_"),
        "create_time": time(token.create_time.as_ref()),
        "expire_time": time(token.expire_time.as_ref()),
        "creator": text(&token.creator),
        "joiner": text(&token.joiner),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_absence() {
        assert_eq!(state(api::State::Complete), "complete");
        assert_eq!(reason(api::EndReason::ExitCode), "exit_code");
        assert_eq!(reason(api::EndReason::Unspecified), Value::Null);
        assert_eq!(origin(api::Origin::PipelineParameter), "pipeline_parameter");
        assert_eq!(hex(&[0xab, 1]), "ab01");
        assert_eq!(number("projects/p/executions/42"), 42);
        assert_eq!(number(""), Value::Null);
        assert_eq!(
            time(Some(&prost_types::Timestamp {
                seconds: 0,
                nanos: 5_000_000
            })),
            "1970-01-01T00:00:00.005Z"
        );
    }

    #[test]
    fn values_keep_what_json_can_say() {
        use api::value::Kind;
        for (kind, expected) in [
            (Kind::Integer(1), json!(1)),
            (Kind::Number(1.0), json!(1.0)),
            (Kind::Number(f64::NAN), json!("NaN")),
            (
                Kind::BigInteger("99999999999999999999".into()),
                json!("99999999999999999999"),
            ),
        ] {
            assert_eq!(value(Some(&api::Value { kind: Some(kind) })), expected);
        }
    }
}
