//! Executions: a list, and everything that is recorded about one.

use contract::api;
use prost_types::Timestamp;

use super::{Now, cell, digest, fact, latest, moment, number, size, source, standing, value};
use crate::json;
use crate::print::{escape, table};

/// A list of executions.
pub(crate) fn executions(executions: &[api::Execution], now: Now) -> String {
    if executions.is_empty() {
        return "no executions; `shoal execution run STEP` makes one\n".to_owned();
    }
    let rows: Vec<Vec<String>> = executions
        .iter()
        .map(|execution| {
            vec![
                number(&execution.name),
                escape::for_line(&execution.step),
                number(&execution.pipeline),
                cell(&execution.node),
                standing(execution.state(), execution.end_reason()),
                now.took(execution.start_time.as_ref(), execution.end_time.as_ref()),
                now.ago(execution.create_time.as_ref()),
            ]
        })
        .collect();
    table::render(
        &["#", "STEP", "PIPELINE", "NODE", "STATE", "TOOK", "CREATED"],
        &rows,
    )
}

/// One execution with everything that is recorded.
pub(crate) fn execution(execution: &api::Execution, now: Now) -> String {
    let mut text = head(execution, now);
    text.push_str("\nCOMMANDS\n");
    for part in execution
        .commands
        .iter()
        .flat_map(|command| command.lines())
    {
        text.push_str(&format!("{}\n", escape::for_line(part)));
    }
    for part in [
        parameters(execution),
        inputs(execution),
        variables(execution),
        attempts(execution, now),
    ] {
        if !part.is_empty() {
            text.push_str(&format!("\n{part}"));
        }
    }
    if !execution.outputs.is_empty() {
        text.push_str(&format!("\n{}", outputs(&execution.outputs)));
    }
    if !execution.metadata_json.is_empty() {
        text.push_str(&format!(
            "\nMETADATA\n{}",
            unindented(&latest(&execution.metadata_json))
        ));
    }
    text
}

fn unindented(text: &str) -> String {
    text.lines()
        .map(|line| format!("{}\n", line.trim_start()))
        .collect()
}

/// What it is, where it stands and since when.
fn head(execution: &api::Execution, now: Now) -> String {
    let standing = standing(execution.state(), execution.end_reason());
    let mut text = format!(
        "execution {} {}: {standing}\n",
        number(&execution.name),
        escape::for_line(&execution.step)
    );
    let mut known = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&fact(name, &escape::for_line(value)));
        }
    };
    known("why", &execution.message);
    known("title", &execution.title);
    if !execution.pipeline.is_empty() {
        known(
            "pipeline",
            &format!("{}, node {}", number(&execution.pipeline), execution.node),
        );
    }
    let create = execution.create_time.as_ref();
    known(
        "created",
        &format!("{} UTC, {}", moment(create), now.ago(create)),
    );
    if let Some(start) = &execution.start_time {
        let took = now.took(Some(start), execution.end_time.as_ref());
        let ran = if execution.end_time.is_some() {
            "took"
        } else {
            "running for"
        };
        known(
            "started",
            &format!("{} UTC, {ran} {took}", moment(Some(start))),
        );
    }
    if let Some(code) = execution.exit_code {
        known("exit code", &code.to_string());
    }
    known("image", &execution.image);
    let last = execution.attempts.last();
    known(
        "digest",
        last.map_or("", |attempt| attempt.image_digest.as_str()),
    );
    known("pool", &execution.environment);
    text.push_str(&source(execution.source.as_ref()));
    if !execution.execution_id.is_empty() {
        text.push_str(&fact("id", &execution.execution_id));
    }
    if !execution.identity.is_empty() {
        text.push_str(&fact("identity", &json::hex_text(&execution.identity)));
    }
    text
}

fn parameters(execution: &api::Execution) -> String {
    let row = |parameter: &api::Parameter| {
        let origin = json::origin(parameter.origin());
        let origin = origin.as_str().unwrap_or("-").replace('_', " ");
        vec![
            escape::for_line(&parameter.name),
            value(parameter.value.as_ref()),
            origin,
        ]
    };
    table_of(
        &["PARAMETER", "VALUE", "FROM"],
        execution.parameters.iter().map(row).collect(),
    )
}

fn inputs(execution: &api::Execution) -> String {
    let files = execution
        .inputs
        .iter()
        .flat_map(|input| input.files.iter().map(move |file| (input, file)));
    let row = |(input, file): (&api::Input, &api::InputFile)| {
        let size = if file.digest.is_empty() {
            "-".to_owned()
        } else {
            size(file.size_bytes)
        };
        vec![
            escape::for_line(&input.name),
            cell(&file.file_name),
            size,
            digest(&file.digest),
            cell(&file.uri),
        ]
    };
    table_of(
        &["INPUT", "FILE", "SIZE", "DIGEST", "FROM"],
        files.map(row).collect(),
    )
}

fn variables(execution: &api::Execution) -> String {
    let row =
        |(name, value): (&String, &String)| vec![escape::for_line(name), escape::for_line(value)];
    table_of(
        &["VARIABLE", "VALUE"],
        execution.environment_variables.iter().map(row).collect(),
    )
}

fn attempts(execution: &api::Execution, now: Now) -> String {
    let heading = [
        "ATTEMPT",
        "WORKER",
        "STATE",
        "PREPARED IN",
        "RAN",
        "STORED IN",
        "EXIT",
        "LOG",
    ];
    table_of(
        &heading,
        execution
            .attempts
            .iter()
            .map(|attempt| attempt_row(attempt, now))
            .collect(),
    )
}

fn attempt_row(attempt: &api::Attempt, now: Now) -> Vec<String> {
    let exit = match (attempt.exit_code, attempt.signal) {
        (Some(code), _) => code.to_string(),
        (None, 0) => "-".to_owned(),
        (None, signal) => format!("signal {signal}"),
    };
    // A phase that is under way lasts until now; one that never ended has no length.
    let over = attempt.end_time.is_some();
    let phase = |start: &Option<Timestamp>, end: &Option<Timestamp>| {
        if end.is_none() && over {
            "-".to_owned()
        } else {
            now.took(start.as_ref(), end.as_ref())
        }
    };
    vec![
        attempt.number.to_string(),
        cell(&attempt.worker),
        standing(attempt.state(), attempt.end_reason()),
        phase(&attempt.assign_time, &attempt.prepare_time),
        phase(&attempt.start_time, &attempt.exit_time),
        phase(&attempt.exit_time, &attempt.end_time),
        exit,
        format!("{} records", attempt.log_record_count),
    ]
}

/// A table, or nothing where there are no rows.
fn table_of(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        String::new()
    } else {
        table::render(heading, &rows)
    }
}

/// A list of outputs.
pub(crate) fn outputs(outputs: &[api::Datum]) -> String {
    if outputs.is_empty() {
        return "no outputs\n".to_owned();
    }
    let rows: Vec<Vec<String>> = outputs
        .iter()
        .map(|datum| {
            let id = datum.name.rsplit('/').next().unwrap_or_default();
            vec![
                escape::for_line(&datum.file_name),
                size(datum.size_bytes),
                digest(&datum.digest),
                format!("datum://{id}"),
            ]
        })
        .collect();
    table::render(&["OUTPUT", "SIZE", "DIGEST", "ADDRESS"], &rows)
}
