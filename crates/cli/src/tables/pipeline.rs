//! Pipelines: a list, and one with its nodes.

use contract::api;

use super::{Now, cell, fact, moment, number, source, standing, value};
use crate::json;
use crate::print::{escape, table};

/// A list of pipelines.
pub(crate) fn pipelines(pipelines: &[api::Pipeline], now: Now) -> String {
    if pipelines.is_empty() {
        return "no pipelines; `shoal pipeline run NAME` makes one\n".to_owned();
    }
    let rows: Vec<Vec<String>> = pipelines
        .iter()
        .map(|pipeline| {
            let done = pipeline
                .nodes
                .iter()
                .filter(|node| node.state() == api::State::Complete)
                .count();
            vec![
                number(&pipeline.name),
                escape::for_line(&pipeline.title),
                standing(pipeline.state(), pipeline.end_reason()),
                format!("{done}/{}", pipeline.nodes.len()),
                now.took(pipeline.create_time.as_ref(), pipeline.end_time.as_ref()),
                now.ago(pipeline.create_time.as_ref()),
            ]
        })
        .collect();
    table::render(
        &["#", "PIPELINE", "STATE", "NODES", "TOOK", "CREATED"],
        &rows,
    )
}

/// One pipeline with its nodes; what is known of their executions says how long they took.
pub(crate) fn pipeline(
    pipeline: &api::Pipeline,
    executions: &[api::Execution],
    now: Now,
) -> String {
    let standing = standing(pipeline.state(), pipeline.end_reason());
    let mut text = format!(
        "pipeline {} {}: {standing}\n",
        number(&pipeline.name),
        escape::for_line(&pipeline.title)
    );
    if !pipeline.message.is_empty() {
        text.push_str(&fact("why", &escape::for_line(&pipeline.message)));
    }
    let create = pipeline.create_time.as_ref();
    text.push_str(&fact(
        "created",
        &format!("{} UTC, {}", moment(create), now.ago(create)),
    ));
    let took = now.took(create, pipeline.end_time.as_ref());
    text.push_str(&fact(
        if pipeline.end_time.is_some() {
            "took"
        } else {
            "for"
        },
        &took,
    ));
    if !pipeline.blueprint.is_empty() && pipeline.blueprint != pipeline.title {
        text.push_str(&fact("blueprint", &escape::for_line(&pipeline.blueprint)));
    }
    text.push_str(&source(pipeline.source.as_ref()));
    if !pipeline.parameters.is_empty() {
        let row = |given: &api::ParameterAssignment| {
            vec![escape::for_line(&given.name), value(given.value.as_ref())]
        };
        let rows: Vec<Vec<String>> = pipeline.parameters.iter().map(row).collect();
        text.push_str(&format!(
            "\n{}",
            table::render(&["PARAMETER", "VALUE"], &rows)
        ));
    }
    text.push_str(&format!("\n{}", nodes(pipeline, executions, now)));
    text
}

/// The nodes of a pipeline, a line each.
fn nodes(pipeline: &api::Pipeline, executions: &[api::Execution], now: Now) -> String {
    let rows: Vec<Vec<String>> = pipeline
        .nodes
        .iter()
        .map(|node| {
            let execution = executions
                .iter()
                .find(|execution| execution.name == node.execution);
            let took = execution.map(|execution| {
                now.took(execution.start_time.as_ref(), execution.end_time.as_ref())
            });
            vec![
                escape::for_line(&node.name),
                cell(&node.step),
                number(&node.execution),
                if node.skipped {
                    "skipped".to_owned()
                } else {
                    json::state(node.state())
                },
                took.unwrap_or_else(|| "-".to_owned()),
                escape::for_line(&node.message),
            ]
        })
        .collect();
    table::render(&["NODE", "STEP", "EXECUTION", "STATE", "TOOK", ""], &rows)
}
