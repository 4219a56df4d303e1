//! `shoal pipeline cancel` and `shoal execution cancel`.

use contract::api::{self, State};
use futures::{Stream, StreamExt as _};
use serde_json::Value;

use super::interrupts::Subject;
use super::{Context, run};
use crate::connect::Connection;
use crate::print::escape;
use crate::{Exit, Failure, json};

/// Cancels a pipeline.
pub(super) async fn pipeline(context: &Context, number: i64) -> Result<Exit, Failure> {
    command(context, "pipeline", number).await
}

/// Cancels an execution.
pub(super) async fn execution(context: &Context, number: i64) -> Result<Exit, Failure> {
    command(context, "execution", number).await
}

async fn command(context: &Context, what: &'static str, number: i64) -> Result<Exit, Failure> {
    let connection = context.connect_to_look()?;
    let subject = Subject {
        what,
        number,
        embedded: connection.is_embedded(),
    };
    let result = cancel_and_print(context, &connection, &subject).await;
    connection.close().await;
    result.map(|()| Exit::Done)
}

async fn cancel_and_print(
    context: &Context,
    connection: &Connection,
    subject: &Subject,
) -> Result<(), Failure> {
    let mut cancelled = cancel(context, connection, subject).await?;
    // The worker of an embedded node ends with this command; what it is to stop must be stopped before.
    if subject.embedded && !is_final(cancelled.state) {
        match subject.what {
            "pipeline" => {
                drain(
                    connection
                        .client
                        .watch_pipelines(&context.pipeline(subject.number)),
                )
                .await?
            }
            _ => {
                drain(
                    connection
                        .client
                        .watch_executions(&context.execution(subject.number)),
                )
                .await?
            }
        }
        cancelled = get(context, connection, subject).await?;
    }
    context.print(
        || cancelled.json.clone(),
        || format!("{}\n", sentence(subject, cancelled.state)),
    )
}

/// Cancels what is watched; the words for it, or for why not.
pub(super) async fn words(context: &Context, connection: &Connection, subject: &Subject) -> String {
    match cancel(context, connection, subject).await {
        Ok(cancelled) => sentence(subject, cancelled.state),
        Err(failure) => escape::for_line(failure.to_string().trim_end()),
    }
}

/// What was cancelled, as it is now.
struct Cancelled {
    state: State,
    json: Value,
}

impl Cancelled {
    fn pipeline(pipeline: Option<api::Pipeline>) -> Self {
        let pipeline = pipeline.unwrap_or_default();
        Self {
            state: pipeline.state(),
            json: json::pipeline(&pipeline),
        }
    }

    fn execution(execution: Option<api::Execution>) -> Self {
        let execution = execution.unwrap_or_default();
        Self {
            state: execution.state(),
            json: json::execution(&execution),
        }
    }
}

async fn cancel(
    context: &Context,
    connection: &Connection,
    subject: &Subject,
) -> Result<Cancelled, Failure> {
    let request_id = run::request_id();
    Ok(match subject.what {
        "pipeline" => {
            let request = api::CancelPipelineRequest {
                name: context.pipeline(subject.number),
                request_id,
            };
            Cancelled::pipeline(connection.client.cancel_pipeline(request).await?.pipeline)
        }
        _ => {
            let request = api::CancelExecutionRequest {
                name: context.execution(subject.number),
                request_id,
            };
            Cancelled::execution(connection.client.cancel_execution(request).await?.execution)
        }
    })
}

async fn get(
    context: &Context,
    connection: &Connection,
    subject: &Subject,
) -> Result<Cancelled, Failure> {
    Ok(match subject.what {
        "pipeline" => {
            let request = api::GetPipelineRequest {
                name: context.pipeline(subject.number),
                ..api::GetPipelineRequest::default()
            };
            Cancelled::pipeline(connection.client.get_pipeline(request).await?.pipeline)
        }
        _ => {
            let request = api::GetExecutionRequest {
                name: context.execution(subject.number),
                ..api::GetExecutionRequest::default()
            };
            Cancelled::execution(connection.client.get_execution(request).await?.execution)
        }
    })
}

/// Waits until a watch ends: until what it watches has.
async fn drain<T>(
    mut events: impl Stream<Item = Result<T, client::Error>> + Unpin,
) -> Result<(), Failure> {
    while let Some(event) = events.next().await {
        event?;
    }
    Ok(())
}

fn is_final(state: State) -> bool {
    matches!(state, State::Stopped | State::Error | State::Complete)
}

fn sentence(subject: &Subject, state: State) -> String {
    let Subject { what, number, .. } = subject;
    match state {
        State::Stopped => format!("{what} #{number} was stopped"),
        State::Error | State::Complete => {
            format!("{what} #{number} had ended before: {}", json::state(state))
        }
        _ => format!("{what} #{number} is being stopped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let subject = Subject {
            what: "pipeline",
            number: 3,
            embedded: true,
        };
        assert_eq!(
            sentence(&subject, State::Stopping),
            "pipeline #3 is being stopped"
        );
        assert_eq!(
            sentence(&subject, State::Stopped),
            "pipeline #3 was stopped"
        );
        assert_eq!(
            sentence(&subject, State::Complete),
            "pipeline #3 had ended before: complete"
        );
    }
}
