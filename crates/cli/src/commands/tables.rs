//! Executions and pipelines as text for people.

use std::time::Duration;

use contract::api;
use prost_types::Timestamp;

use crate::json;
use crate::print::{escape, table, units};

/// The number at the end of a resource name: `#3`; `-` when there is none.
pub(super) fn number(name: &str) -> String {
    match name.rsplit('/').next() {
        Some(last) if !last.is_empty() => format!("#{last}"),
        _ => "-".to_owned(),
    }
}

/// Time between two moments; the second is now when it has not come.
pub(super) fn between(start: Option<&Timestamp>, end: Option<&Timestamp>) -> Option<Duration> {
    let seconds = |time: &Timestamp| time.seconds as f64 + f64::from(time.nanos) / 1e9;
    let end = end.map_or_else(now, seconds);
    Duration::try_from_secs_f64((end - seconds(start?)).max(0.0)).ok()
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The same as text; `-` when the first has not come.
pub(super) fn took(start: Option<&Timestamp>, end: Option<&Timestamp>) -> String {
    between(start, end).map_or_else(|| "-".to_owned(), units::duration)
}

/// A time in UTC to the second: `2026-11-23 20:04:05`.
pub(super) fn moment(time: Option<&Timestamp>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| {
            let text = Timestamp { seconds: time.seconds, nanos: 0 }.to_string();
            text.trim_end_matches('Z').replace('T', " ")
        },
    )
}

/// A state with the reason it ended for: `error (exit_code)`.
pub(super) fn standing(state: api::State, reason: api::EndReason) -> String {
    match json::reason(reason) {
        serde_json::Value::String(reason) => format!("{} ({reason})", json::state(state)),
        _ => json::state(state),
    }
}

/// A value of a parameter as text.
pub(super) fn value(value: Option<&api::Value>) -> String {
    match json::value(value) {
        serde_json::Value::String(text) => escape::for_line(&text),
        other => other.to_string(),
    }
}

/// A list of executions.
pub(super) fn executions(executions: &[api::Execution]) -> String {
    if executions.is_empty() {
        return "no executions yet; `shoal execution run STEP` makes one\n".to_owned();
    }
    let rows: Vec<Vec<String>> = executions
        .iter()
        .map(|execution| {
            let place = match execution.pipeline.as_str() {
                "" => "-".to_owned(),
                pipeline => format!("{} {}", number(pipeline), execution.node),
            };
            vec![
                number(&execution.name),
                escape::for_line(&execution.step),
                place,
                standing(execution.state(), execution.end_reason()),
                took(execution.start_time.as_ref(), execution.end_time.as_ref()),
                moment(execution.create_time.as_ref()),
            ]
        })
        .collect();
    table::render(&["#", "STEP", "PIPELINE", "STATE", "TOOK", "CREATED (UTC)"], &rows)
}

/// A list of pipelines.
pub(super) fn pipelines(pipelines: &[api::Pipeline]) -> String {
    if pipelines.is_empty() {
        return "no pipelines yet; `shoal pipeline run NAME` makes one\n".to_owned();
    }
    let rows: Vec<Vec<String>> = pipelines
        .iter()
        .map(|pipeline| {
            let done = pipeline.nodes.iter().filter(|node| node.state() == api::State::Complete).count();
            vec![
                number(&pipeline.name),
                escape::for_line(&pipeline.title),
                standing(pipeline.state(), pipeline.end_reason()),
                format!("{done}/{}", pipeline.nodes.len()),
                took(pipeline.create_time.as_ref(), pipeline.end_time.as_ref()),
                moment(pipeline.create_time.as_ref()),
            ]
        })
        .collect();
    table::render(&["#", "PIPELINE", "STATE", "NODES", "TOOK", "CREATED (UTC)"], &rows)
}

/// One pipeline with its nodes.
pub(super) fn pipeline(pipeline: &api::Pipeline) -> String {
    let mut text = format!(
        "pipeline {} {}: {}\n",
        number(&pipeline.name),
        escape::for_line(&pipeline.title),
        standing(pipeline.state(), pipeline.end_reason())
    );
    if !pipeline.message.is_empty() {
        text.push_str(&format!("  {}\n", escape::for_line(&pipeline.message)));
    }
    text.push_str(&format!("  created  {} UTC, took {}\n", moment(pipeline.create_time.as_ref()), took(pipeline.create_time.as_ref(), pipeline.end_time.as_ref())));
    text.push_str(&source(pipeline.source.as_ref()));
    for parameter in &pipeline.parameters {
        text.push_str(&format!("  {} = {}\n", parameter.name, value(parameter.value.as_ref())));
    }
    let rows: Vec<Vec<String>> = pipeline
        .nodes
        .iter()
        .map(|node| {
            let state = if node.skipped { "skipped".to_owned() } else { json::state(node.state()) };
            vec![
                escape::for_line(&node.name),
                escape::for_line(&node.step),
                number(&node.execution),
                state,
                escape::for_line(&node.message),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&table::render(&["NODE", "STEP", "EXECUTION", "STATE", ""], &rows));
    text
}

fn source(source: Option<&api::Source>) -> String {
    match source {
        Some(source) if !source.digest.is_empty() => {
            let commit = match source.commit.as_str() {
                "" => "no commit".to_owned(),
                commit => {
                    let branch = if source.branch.is_empty() { String::new() } else { format!(" on {}", source.branch) };
                    let dirty = if source.dirty { ", with changes" } else { "" };
                    format!("commit {}{branch}{dirty}", &commit[..commit.len().min(12)])
                }
            };
            format!("  source   {} ({}), {commit}\n", &json::hex_text(&source.digest)[..16], units::size(source.size_bytes as u64))
        }
        _ => "  source   none\n".to_owned(),
    }
}

/// One execution with everything that is recorded.
pub(super) fn execution(execution: &api::Execution) -> String {
    let mut text = format!(
        "execution {} {}: {}\n",
        number(&execution.name),
        escape::for_line(&execution.step),
        standing(execution.state(), execution.end_reason())
    );
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<8} {value}\n"));
    if !execution.message.is_empty() {
        line("why", escape::for_line(&execution.message));
    }
    if !execution.title.is_empty() {
        line("title", escape::for_line(&execution.title));
    }
    if !execution.pipeline.is_empty() {
        line("pipeline", format!("{}, node {}", number(&execution.pipeline), execution.node));
    }
    line("id", execution.execution_id.clone());
    line("image", escape::for_line(&execution.image));
    if !execution.environment.is_empty() {
        line("pool", execution.environment.clone());
    }
    if let Some(code) = execution.exit_code {
        line("exit", code.to_string());
    }
    line("created", format!("{} UTC", moment(execution.create_time.as_ref())));
    if !execution.identity.is_empty() {
        line("identity", json::hex_text(&execution.identity));
    }
    text.push_str(&source(execution.source.as_ref()));
    text.push_str("\ncommands\n");
    for command in &execution.commands {
        for part in command.lines() {
            text.push_str(&format!("  {}\n", escape::for_line(part)));
        }
    }
    if !execution.parameters.is_empty() {
        let rows: Vec<Vec<String>> = execution
            .parameters
            .iter()
            .map(|parameter| {
                let origin = json::origin(parameter.origin());
                vec![parameter.name.clone(), value(parameter.value.as_ref()), origin.as_str().unwrap_or("-").to_owned()]
            })
            .collect();
        text.push_str(&format!("\n{}", table::render(&["PARAMETER", "VALUE", "FROM"], &rows)));
    }
    let inputs: Vec<Vec<String>> = execution
        .inputs
        .iter()
        .flat_map(|input| input.files.iter().map(move |file| (input, file)))
        .map(|(input, file)| {
            let digest = if file.digest.is_empty() { "-".to_owned() } else { json::hex_text(&file.digest)[..16].to_owned() };
            vec![
                input.name.clone(),
                escape::for_line(&file.file_name),
                units::size(file.size_bytes as u64),
                digest,
                escape::for_line(&file.uri),
            ]
        })
        .collect();
    if !inputs.is_empty() {
        text.push_str(&format!("\n{}", table::render(&["INPUT", "FILE", "SIZE", "DIGEST", "FROM"], &inputs)));
    }
    if !execution.environment_variables.is_empty() {
        let rows: Vec<Vec<String>> = execution
            .environment_variables
            .iter()
            .map(|(name, value)| vec![name.clone(), escape::for_line(value)])
            .collect();
        text.push_str(&format!("\n{}", table::render(&["VARIABLE", "VALUE"], &rows)));
    }
    let attempts: Vec<Vec<String>> = execution.attempts.iter().map(attempt).collect();
    if !attempts.is_empty() {
        let heading = ["ATTEMPT", "WORKER", "STATE", "PREPARED IN", "RAN", "STORED IN", "EXIT", "LOG"];
        text.push_str(&format!("\n{}", table::render(&heading, &attempts)));
    }
    if !execution.outputs.is_empty() {
        text.push_str(&format!("\n{}", outputs(&execution.outputs)));
    }
    if !execution.metadata_json.is_empty() {
        text.push_str(&format!("\nmetadata\n{}", latest(&execution.metadata_json)));
    }
    text
}

fn attempt(attempt: &api::Attempt) -> Vec<String> {
    let exit = match (attempt.exit_code, attempt.signal) {
        (Some(code), _) => code.to_string(),
        (None, 0) => "-".to_owned(),
        (None, signal) => format!("signal {signal}"),
    };
    let phase = |start: &Option<Timestamp>, end: &Option<Timestamp>| match end {
        Some(_) => took(start.as_ref(), end.as_ref()),
        None => "-".to_owned(),
    };
    vec![
        attempt.number.to_string(),
        attempt.worker.clone(),
        standing(attempt.state(), attempt.end_reason()),
        phase(&attempt.assign_time, &attempt.prepare_time),
        phase(&attempt.start_time, &attempt.exit_time),
        phase(&attempt.exit_time, &attempt.end_time),
        exit,
        format!("{} records", attempt.log_record_count),
    ]
}

/// A list of outputs.
pub(super) fn outputs(outputs: &[api::Datum]) -> String {
    let rows: Vec<Vec<String>> = outputs
        .iter()
        .map(|datum| {
            let id = datum.name.rsplit('/').next().unwrap_or_default();
            let digest = json::hex_text(&datum.digest);
            vec![
                escape::for_line(&datum.file_name),
                units::size(datum.size_bytes as u64),
                digest[..digest.len().min(16)].to_owned(),
                format!("datum://{id}"),
            ]
        })
        .collect();
    table::render(&["OUTPUT", "SIZE", "DIGEST", "ADDRESS"], &rows)
}

/// The latest metadata, a line a key.
pub(super) fn latest(metadata_json: &str) -> String {
    let Ok(serde_json::Value::Object(values)) = serde_json::from_str(metadata_json) else {
        return format!("  {}\n", escape::for_line(metadata_json));
    };
    values.iter().map(|(key, value)| format!("  {} = {}\n", escape::for_line(key), escape::for_line(&value.to_string()))).collect()
}
