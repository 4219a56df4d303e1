//! `shoal execution …`.

mod command;
mod logs;
mod metadata;
mod metrics;
mod outputs;

use contract::api;

use super::{Context, cancel, pipeline, run, watch};
use crate::args::{Execution, ListOptions, Number};
use crate::tables::{self, Now};
use crate::{Exit, Failure, json};

pub(super) async fn execute(context: &Context, command: Execution) -> Result<Exit, Failure> {
    match command {
        Execution::Run {
            step,
            launch,
            environment_variables,
            values,
        } => run::execution(context, &step, &launch, &environment_variables, &values).await,
        Execution::Command { step, config } => command::command(context, &step, &config),
        Execution::List { options, pipeline } => list(context, &options, pipeline).await,
        Execution::Show(number) => show(context, number).await,
        Execution::Watch(number) => {
            let connection = context.connect_to_look()?;
            let exit = watch::execution(context, &connection, number.number).await;
            context.close(connection).await;
            exit
        }
        Execution::Cancel(number) => cancel::execution(context, number.number).await,
        Execution::Logs(arguments) => logs::logs(context, &arguments).await,
        Execution::Metadata {
            number,
            follow,
            latest,
        } => metadata::metadata(context, number.number, follow, latest).await,
        Execution::Metrics {
            number,
            follow,
            attempt,
        } => metrics::metrics(context, number.number, follow, attempt).await,
        Execution::Outputs {
            number,
            download,
            force,
        } => outputs::outputs(context, number.number, download.as_deref(), force).await,
    }
}

async fn list(
    context: &Context,
    options: &ListOptions,
    of_pipeline: Option<i64>,
) -> Result<Exit, Failure> {
    if context.nothing_here() {
        context.print(
            || serde_json::json!([]),
            || tables::executions(&[], Now::real()),
        )?;
        return Ok(Exit::Done);
    }
    let connection = context.connect();
    let request = api::ListExecutionsRequest {
        parent: context.parent(),
        page_size: options.limit,
        states: pipeline::states(&options.state),
        pipeline: of_pipeline
            .map(|number| context.pipeline(number))
            .unwrap_or_default(),
        consistency: context.consistency(),
        ..api::ListExecutionsRequest::default()
    };
    let answer = connection.client.list_executions(request).await;
    context.close(connection).await;
    let executions = answer?.executions;
    context.print(
        || executions.iter().map(json::execution).collect(),
        || tables::executions(&executions, Now::real()),
    )?;
    Ok(Exit::Done)
}

async fn show(context: &Context, number: Number) -> Result<Exit, Failure> {
    let connection = context.connect_to_look()?;
    let request = api::GetExecutionRequest {
        name: context.execution(number.number),
        consistency: context.consistency(),
    };
    let answer = connection.client.get_execution(request).await;
    context.close(connection).await;
    let execution = answer?.execution.unwrap_or_default();
    context.print(
        || json::execution(&execution),
        || tables::execution(&execution, Now::real()),
    )?;
    Ok(Exit::Done)
}
