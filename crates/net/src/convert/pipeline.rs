//! Pipelines.

use contract::api;
use ledger::Pipeline;

use super::{from_millis, int64, name};

/// A pipeline with its nodes and edges.
pub(crate) fn pipeline(pipeline: &Pipeline) -> api::Pipeline {
    let nodes = pipeline
        .blueprint
        .nodes
        .iter()
        .zip(&pipeline.nodes)
        .map(|(planned, node)| api::Node {
            name: planned.name.to_string(),
            step: planned.template.step.clone(),
            state: node.state.into(),
            execution: match node.execution {
                0 => String::new(),
                number => name::execution(&pipeline.project, number),
            },
            message: node.message.clone(),
            skipped: node.skipped,
        });
    api::Pipeline {
        name: name::pipeline(&pipeline.project, pipeline.number),
        pipeline_id: pipeline.pipeline_id.to_string(),
        blueprint: pipeline.blueprint.name.clone(),
        title: match &*pipeline.title {
            "" => pipeline.blueprint.name.clone(),
            title => title.to_owned(),
        },
        state: pipeline.state.into(),
        end_reason: pipeline.end_reason.into(),
        message: pipeline.message.clone(),
        create_time: from_millis(pipeline.create_time_ms),
        end_time: from_millis(pipeline.end_time_ms),
        nodes: nodes.collect(),
        edges: pipeline.blueprint.edges.clone(),
        source: pipeline.source.clone(),
        parameters: pipeline.blueprint.parameters.clone(),
        annotations: (*pipeline.annotations).clone(),
        revision: int64(pipeline.revision),
        priority: pipeline.priority,
    }
}
