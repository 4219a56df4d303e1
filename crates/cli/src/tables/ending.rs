//! What a person wants to know when what they watched has ended: how it went, its last metrics, its files, what to do next.

use contract::api::{self, State};
use serde_json::{Map, Value};

use super::{Now, files, number, size, standing};
use crate::json;
use crate::print::{escape, metadata, table};

/// The end of a pipeline.
pub(crate) fn end_of_pipeline(
    pipeline: &api::Pipeline,
    executions: &[api::Execution],
    now: Now,
) -> String {
    let took = now.took(pipeline.create_time.as_ref(), pipeline.end_time.as_ref());
    let state = json::state(pipeline.state());
    let title = escape::for_line(&pipeline.title);
    let mut text = format!(
        "pipeline {} {title}: {state} in {took}\n",
        number(&pipeline.name)
    );
    if !pipeline.message.is_empty() {
        text.push_str(&format!("  {}\n", escape::for_line(&pipeline.message)));
    }
    let rows: Vec<Vec<String>> = pipeline
        .nodes
        .iter()
        .map(|node| {
            match executions
                .iter()
                .find(|execution| execution.name == node.execution)
            {
                Some(execution) => vec![
                    escape::for_line(&node.name),
                    number(&execution.name),
                    standing(execution.state(), execution.end_reason()),
                    now.took(execution.start_time.as_ref(), execution.end_time.as_ref()),
                    stored(execution),
                ],
                None => {
                    let state = if node.skipped {
                        "skipped".to_owned()
                    } else {
                        json::state(node.state())
                    };
                    vec![
                        escape::for_line(&node.name),
                        number(&node.execution),
                        state,
                        "-".to_owned(),
                        "-".to_owned(),
                    ]
                }
            }
        })
        .collect();
    text.push_str(&format!(
        "\n{}",
        table::render(&["NODE", "EXECUTION", "STATE", "TOOK", "OUTPUTS"], &rows)
    ));
    let metrics = executions
        .iter()
        .filter_map(|execution| Some((execution.node.as_str(), metrics(execution)?)));
    let metrics: Vec<(&str, String)> = metrics.collect();
    if !metrics.is_empty() {
        let width = metrics
            .iter()
            .map(|(node, _)| console::measure_text_width(node))
            .max()
            .unwrap_or(0);
        text.push('\n');
        for (node, line) in metrics {
            let padding = " ".repeat(width - console::measure_text_width(node));
            text.push_str(&format!("{}{padding}  {line}\n", escape::for_line(node)));
        }
    }
    // The one that says most: what went wrong, or else the last that has files.
    let failed = executions
        .iter()
        .find(|execution| execution.state() == State::Error);
    let last = failed.or_else(|| {
        executions
            .iter()
            .rfind(|execution| !execution.outputs.is_empty())
    });
    if let Some(execution) = last {
        text.push_str(&next(execution));
    }
    text
}

/// The end of a single execution.
pub(crate) fn end_of_execution(execution: &api::Execution, now: Now) -> String {
    // One that never started took no time.
    let took = execution
        .start_time
        .as_ref()
        .map_or_else(String::new, |start| {
            format!(" in {}", now.took(Some(start), execution.end_time.as_ref()))
        });
    let state = standing(execution.state(), execution.end_reason());
    let step = escape::for_line(&execution.step);
    let mut text = format!(
        "execution {} {step}: {state}{took}\n",
        number(&execution.name)
    );
    if !execution.message.is_empty() {
        text.push_str(&format!("  {}\n", escape::for_line(&execution.message)));
    }
    if let Some(metrics) = metrics(execution) {
        text.push_str(&format!("  {metrics}\n"));
    }
    if !execution.outputs.is_empty() {
        text.push_str(&format!("  {}\n", stored(execution)));
    }
    text.push_str(&next(execution));
    text
}

/// `2 files, 57.3 KiB`; `-` for none.
fn stored(execution: &api::Execution) -> String {
    match execution.outputs.len() {
        0 => "-".to_owned(),
        count => {
            let bytes = execution.outputs.iter().map(|datum| datum.size_bytes).sum();
            format!("{}, {}", files(count), size(bytes))
        }
    }
}

/// Its last metadata on a line, if there is any.
fn metrics(execution: &api::Execution) -> Option<String> {
    let values: Map<String, Value> = serde_json::from_str(&execution.metadata_json).ok()?;
    (!values.is_empty()).then(|| metadata::line(&values))
}

/// What to type next.
fn next(execution: &api::Execution) -> String {
    let number = number(&execution.name);
    let number = number.trim_start_matches('#');
    let mut commands = Vec::new();
    if execution.state() == State::Error {
        commands.push(vec![
            format!("shoal execution logs {number} --tail 20"),
            "what it printed last".to_owned(),
        ]);
    }
    if !execution.outputs.is_empty() {
        commands.push(vec![
            format!("shoal execution outputs {number} --download DIR"),
            "its files".to_owned(),
        ]);
    }
    commands.push(vec![
        format!("shoal execution show {number}"),
        "everything that is recorded".to_owned(),
    ]);
    let lines = table::render(&["", ""], &commands);
    lines
        .lines()
        .map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("  {line}\n")
            }
        })
        .collect()
}
