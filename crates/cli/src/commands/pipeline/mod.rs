//! `shoal pipeline …`.

mod plan;

use contract::api;

use super::{Context, cancel, run, watch};
use crate::args::{ListOptions, Number, Pipeline, StateName};
use crate::connect::Connection;
use crate::tables::{self, Now};
use crate::{Exit, Failure, json};

pub(super) async fn execute(context: &Context, command: Pipeline) -> Result<Exit, Failure> {
    match command {
        Pipeline::Run {
            name,
            launch,
            values,
        } => run::pipeline(context, &name, &launch, &values).await,
        Pipeline::Plan { name, config } => plan::plan(context, &name, &config),
        Pipeline::List(options) => list(context, &options).await,
        Pipeline::Show(number) => show(context, number).await,
        Pipeline::Watch(number) => {
            let connection = context.connect_to_look()?;
            let exit = watch::pipeline(context, &connection, number.number).await;
            context.close(connection).await;
            exit
        }
        Pipeline::Cancel(number) => cancel::pipeline(context, number.number).await,
    }
}

async fn list(context: &Context, options: &ListOptions) -> Result<Exit, Failure> {
    if context.nothing_here() {
        context.print(
            || serde_json::json!([]),
            || tables::pipelines(&[], Now::real()),
        )?;
        return Ok(Exit::Done);
    }
    let connection = context.connect();
    let request = api::ListPipelinesRequest {
        parent: context.parent(),
        page_size: options.limit,
        states: states(&options.state),
        consistency: context.consistency(),
        ..api::ListPipelinesRequest::default()
    };
    let answer = connection.client.list_pipelines(request).await;
    context.close(connection).await;
    let pipelines = answer?.pipelines;
    context.print(
        || pipelines.iter().map(json::pipeline).collect(),
        || tables::pipelines(&pipelines, Now::real()),
    )?;
    Ok(Exit::Done)
}

async fn show(context: &Context, number: Number) -> Result<Exit, Failure> {
    let connection = context.connect_to_look()?;
    let found = find(context, &connection, number.number).await;
    context.close(connection).await;
    let (pipeline, executions) = found?;
    context.print(
        || json::pipeline(&pipeline),
        || tables::pipeline(&pipeline, &executions, Now::real()),
    )?;
    Ok(Exit::Done)
}

/// A pipeline, and its executions for how long they took.
async fn find(
    context: &Context,
    connection: &Connection,
    number: i64,
) -> Result<(api::Pipeline, Vec<api::Execution>), Failure> {
    let name = context.pipeline(number);
    let request = api::GetPipelineRequest {
        name: name.clone(),
        consistency: context.consistency(),
    };
    let pipeline = connection
        .client
        .get_pipeline(request)
        .await?
        .pipeline
        .unwrap_or_default();
    if context.json() {
        return Ok((pipeline, Vec::new()));
    }
    let request = api::ListExecutionsRequest {
        parent: context.parent(),
        page_size: 1_000,
        pipeline: name,
        consistency: context.consistency(),
        ..api::ListExecutionsRequest::default()
    };
    let executions = connection.client.list_executions(request).await?.executions;
    Ok((pipeline, executions))
}

/// States by name, as the contract numbers them.
pub(super) fn states(names: &[StateName]) -> Vec<i32> {
    let state = |name: &StateName| match name {
        StateName::Created => api::State::Created,
        StateName::Queued => api::State::Queued,
        StateName::Started => api::State::Started,
        StateName::Stopping => api::State::Stopping,
        StateName::Stopped => api::State::Stopped,
        StateName::Error => api::State::Error,
        StateName::Complete => api::State::Complete,
    };
    names.iter().map(|name| state(name).into()).collect()
}
