//! `shoal execution …`.

mod command;
mod logs;
mod metadata;
mod outputs;

use contract::api;

use super::{Context, pipeline, run, tables, watch};
use crate::args::{Execution, ListOptions, Number};
use crate::{Exit, Failure, json};

pub(super) async fn execute(context: &Context, command: Execution) -> Result<Exit, Failure> {
    match command {
        Execution::Run { step, launch, environment_variables, values } => {
            run::execution(context, &step, &launch, &environment_variables, &values).await
        }
        Execution::Command { step, config } => command::command(context, &step, &config),
        Execution::List { options, pipeline } => list(context, &options, pipeline).await,
        Execution::Show(number) => show(context, number).await,
        Execution::Watch(number) => {
            let connection = context.connect();
            let exit = watch::execution(context, &connection, &context.execution(number.number)).await;
            connection.close().await;
            exit
        }
        Execution::Cancel(number) => cancel(context, number).await,
        Execution::Logs(arguments) => logs::logs(context, &arguments).await,
        Execution::Metadata { number, follow, latest } => {
            metadata::metadata(context, number.number, follow, latest).await
        }
        Execution::Outputs { number, download, force } => {
            outputs::outputs(context, number.number, download.as_deref(), force).await
        }
    }
}

async fn list(context: &Context, options: &ListOptions, of_pipeline: Option<i64>) -> Result<Exit, Failure> {
    let connection = context.connect();
    let request = api::ListExecutionsRequest {
        parent: context.parent(),
        page_size: options.limit,
        states: pipeline::states(&options.state),
        pipeline: of_pipeline.map(|number| context.pipeline(number)).unwrap_or_default(),
        ..api::ListExecutionsRequest::default()
    };
    let answer = connection.client.list_executions(request).await;
    connection.close().await;
    let executions = answer?.executions;
    context.print(|| executions.iter().map(json::execution).collect(), || tables::executions(&executions))?;
    Ok(Exit::Done)
}

async fn show(context: &Context, number: Number) -> Result<Exit, Failure> {
    let connection = context.connect();
    let request = api::GetExecutionRequest { name: context.execution(number.number) };
    let answer = connection.client.get_execution(request).await;
    connection.close().await;
    let execution = answer?.execution.unwrap_or_default();
    context.print(|| json::execution(&execution), || tables::execution(&execution))?;
    Ok(Exit::Done)
}

async fn cancel(context: &Context, number: Number) -> Result<Exit, Failure> {
    let connection = context.connect();
    let request = api::CancelExecutionRequest { name: context.execution(number.number), request_id: run::request_id() };
    let answer = connection.client.cancel_execution(request).await;
    connection.close().await;
    let execution = answer?.execution.unwrap_or_default();
    context.print(|| json::execution(&execution), || tables::execution(&execution))?;
    Ok(Exit::Done)
}
