//! `shoal pipeline plan`: what a pipeline would run, without running it.

use spec::model::{Node, NodeKind, Socket, TaskSource};
use spec::plan::reference_json;

use super::Context;
use crate::args::ConfigFile;
use crate::commands::config;
use crate::commands::run::pick;
use crate::print::table;
use crate::{Exit, Failure};

pub(super) fn plan(context: &Context, name: &str, file: &ConfigFile) -> Result<Exit, Failure> {
    let loaded = config::load(context, file)?;
    let names: Vec<&str> = loaded
        .config
        .pipelines
        .iter()
        .map(|pipeline| pipeline.name.value.as_str())
        .collect();
    let name = pick("pipeline", name, &names)?;
    let pipeline = loaded
        .config
        .pipelines
        .iter()
        .rev()
        .find(|pipeline| pipeline.name.value == name);
    let pipeline = pipeline.ok_or_else(|| Failure::new(format!("there is no pipeline {name}")))?;
    let value = reference_json(&loaded.config, pipeline, "HEAD").map_err(Failure::new)?;
    context.print(
        || value.clone(),
        || {
            let nodes: Vec<Vec<String>> = pipeline
                .nodes
                .iter()
                .map(|node| {
                    let (kind, runs) = kind_of(node);
                    vec![node.name.value.clone(), kind.to_owned(), runs.to_owned()]
                })
                .collect();
            let edges: Vec<Vec<String>> = pipeline
                .edges
                .iter()
                .map(|edge| vec![socket(&edge.source), socket(&edge.target)])
                .collect();
            let mut text = table::render(&["NODE", "TYPE", "RUNS"], &nodes);
            if !edges.is_empty() {
                text.push_str(&format!("\n{}", table::render(&["FROM", "TO"], &edges)));
            }
            text
        },
    )?;
    Ok(Exit::Done)
}

/// The type of a node and what it runs.
fn kind_of(node: &Node) -> (&'static str, &str) {
    match &node.kind {
        NodeKind::Execution { step, .. } => ("execution", &step.value),
        NodeKind::Task {
            source: TaskSource::Step(step),
            ..
        } => ("task", &step.value),
        NodeKind::Task {
            source: TaskSource::Blueprint(task),
            ..
        } => ("task", &task.value),
        NodeKind::Deployment(deployment) => ("deployment", &deployment.deployment.value),
    }
}

fn socket(socket: &Socket) -> String {
    format!("{}.{}.{}", socket.node, socket.kind.word(), socket.key)
}
