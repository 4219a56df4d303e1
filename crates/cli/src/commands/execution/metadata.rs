//! `shoal execution metadata`: the JSON objects a program printed, or the latest value of every key.

use client::MetadataEvent;
use contract::api;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::Context;
use crate::commands::write_out;
use crate::print::{self, escape, metadata as shown};
use crate::{Exit, Failure, json, tables};

pub(super) async fn metadata(
    context: &Context,
    number: i64,
    follow: bool,
    latest: bool,
) -> Result<Exit, Failure> {
    let name = context.execution(number);
    let connection = context.connect_to_look()?;
    let result = match latest {
        true => latest_values(context, &connection, name).await,
        false => series(context, &connection, &name, follow).await,
    };
    context.close(connection).await;
    result.map(|()| Exit::Done)
}

async fn latest_values(
    context: &Context,
    connection: &crate::connect::Connection,
    name: String,
) -> Result<(), Failure> {
    let answer = connection
        .client
        .get_execution(api::GetExecutionRequest {
            name,
            consistency: context.consistency(),
        })
        .await?;
    let text = answer.execution.unwrap_or_default().metadata_json;
    let text = if text.is_empty() {
        "{}".to_owned()
    } else {
        text
    };
    context.print(
        || serde_json::from_str(&text).unwrap_or(Value::Null),
        || tables::latest(&text),
    )
}

async fn series(
    context: &Context,
    connection: &crate::connect::Connection,
    name: &str,
    follow: bool,
) -> Result<(), Failure> {
    let mut series = connection.client.read_metadata(name, 0, follow);
    let mut collected = Vec::new();
    while let Some(event) = series.next().await {
        let (attempt, records) = match event? {
            MetadataEvent::Records { attempt, records } => (attempt, records),
            MetadataEvent::Gap { gap, .. } => {
                let reason = escape::for_line(&gap.reason);
                print::tell(&format!("note: some of it is gone: {reason}\n"));
                continue;
            }
            MetadataEvent::InSync { .. } | MetadataEvent::Sealed { .. } => continue,
        };
        for record in records {
            let object: Value = serde_json::from_str(&record.json).unwrap_or(Value::Null);
            let time = json::time(record.time.as_ref());
            match (context.json(), follow) {
                // While it goes on, an object a line; what is complete is one array.
                (true, true) => {
                    let value = json!({"attempt": attempt, "record": record.record, "time": time, "metadata": object});
                    write_out(format!("{value}\n").as_bytes())?;
                }
                (true, false) => {
                    collected.push(json!({"attempt": attempt, "record": record.record, "time": time, "metadata": object}));
                }
                (false, _) => {
                    let time = tables::moment(record.time.as_ref());
                    write_out(format!("{time}  {}\n", summary(&object, &record.json)).as_bytes())?;
                }
            }
        }
    }
    if context.json() && !follow {
        write_out(format!("{:#}\n", Value::Array(collected)).as_bytes())?;
    }
    Ok(())
}

/// `epoch=3 loss=0.12`: one line for an object; the text as printed for what JSON does not allow, such as NaN.
fn summary(object: &Value, text: &str) -> String {
    match object {
        Value::Object(values) => shown::line(values),
        _ => escape::for_line(text),
    }
}
