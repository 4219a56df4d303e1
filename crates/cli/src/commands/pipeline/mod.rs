//! `shoal pipeline …`.

mod plan;

use contract::api;

use super::{Context, run, tables, watch};
use crate::args::{ListOptions, Number, Pipeline, StateName};
use crate::{Exit, Failure, json};

pub(super) async fn execute(context: &Context, command: Pipeline) -> Result<Exit, Failure> {
    match command {
        Pipeline::Run { name, launch, values } => run::pipeline(context, &name, &launch, &values).await,
        Pipeline::Plan { name, config } => plan::plan(context, &name, &config),
        Pipeline::List(options) => list(context, &options).await,
        Pipeline::Show(number) => show(context, number).await,
        Pipeline::Watch(number) => {
            let connection = context.connect();
            let exit = watch::pipeline(context, &connection, &context.pipeline(number.number)).await;
            connection.close().await;
            exit
        }
        Pipeline::Cancel(number) => cancel(context, number).await,
    }
}

async fn list(context: &Context, options: &ListOptions) -> Result<Exit, Failure> {
    let connection = context.connect();
    let request = api::ListPipelinesRequest {
        parent: context.parent(),
        page_size: options.limit,
        states: states(&options.state),
        ..api::ListPipelinesRequest::default()
    };
    let answer = connection.client.list_pipelines(request).await;
    connection.close().await;
    let pipelines = answer?.pipelines;
    context.print(|| pipelines.iter().map(json::pipeline).collect(), || tables::pipelines(&pipelines))?;
    Ok(Exit::Done)
}

async fn show(context: &Context, number: Number) -> Result<Exit, Failure> {
    let connection = context.connect();
    let request = api::GetPipelineRequest { name: context.pipeline(number.number) };
    let answer = connection.client.get_pipeline(request).await;
    connection.close().await;
    let pipeline = answer?.pipeline.unwrap_or_default();
    context.print(|| json::pipeline(&pipeline), || tables::pipeline(&pipeline))?;
    Ok(Exit::Done)
}

async fn cancel(context: &Context, number: Number) -> Result<Exit, Failure> {
    let connection = context.connect();
    let request = api::CancelPipelineRequest { name: context.pipeline(number.number), request_id: run::request_id() };
    let answer = connection.client.cancel_pipeline(request).await;
    connection.close().await;
    let pipeline = answer?.pipeline.unwrap_or_default();
    context.print(|| json::pipeline(&pipeline), || tables::pipeline(&pipeline))?;
    Ok(Exit::Done)
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
