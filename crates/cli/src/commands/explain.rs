//! `shoal explain`: why an execution waits, or where it went, in the scheduler's own words.

use contract::api;

use super::Context;
use crate::{Exit, Failure, json, tables};

pub(super) async fn execute(context: &Context, number: i64) -> Result<Exit, Failure> {
    let connection = context.connect_to_look()?;
    let name = context.execution(number);
    let request = api::ExplainExecutionRequest { name: name.clone() };
    let answer = connection.client.explain_execution(request).await;
    connection.close().await;
    let explained = answer?;
    context.print(
        || json::explanation(&name, &explained),
        || tables::explanation(number, &explained),
    )?;
    Ok(Exit::Done)
}
