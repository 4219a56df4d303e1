//! `shoal worker top`: what the workers are doing, again and again.

use std::time::Duration;

use contract::api;

use crate::commands::{Context, write_out};
use crate::print::live::Screen;
use crate::tables::{self, Now};
use crate::{Exit, Failure, json};

/// Most workers that are asked for at once.
const PAGE: i32 = 1_000;
/// Looking more often than this shows nothing that is new.
const LEAST: Duration = Duration::from_millis(200);

pub(super) async fn top(context: &Context, once: bool, every: f64) -> Result<Exit, Failure> {
    let every = Duration::try_from_secs_f64(every).map_or(LEAST, |every| every.max(LEAST));
    let connection = context.connect();
    let mut screen = Screen::new();
    let result = loop {
        let workers = match list(context, &connection).await {
            Ok(workers) => workers,
            Err(error) => break Err(error.into()),
        };
        let shown = if context.json() && once {
            context.print(|| workers.iter().map(json::worker).collect(), String::new)
        } else if context.json() {
            // One line a look, so that programs can tell them apart.
            let value: serde_json::Value = workers.iter().map(json::worker).collect();
            write_out(format!("{value}\n").as_bytes())
        } else {
            screen.show(&tables::top(&workers, Now::real()))
        };
        if once || shown.is_err() {
            break shown.map(|()| Exit::Done);
        }
        tokio::time::sleep(every).await;
    };
    context.close(connection).await;
    result
}

/// All workers, by name.
async fn list(
    context: &Context,
    connection: &crate::connect::Connection,
) -> Result<Vec<api::Worker>, client::Error> {
    let mut workers = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = api::ListWorkersRequest {
            page_size: PAGE,
            page_token,
            consistency: context.consistency(),
        };
        let answer = connection.client.list_workers(request).await?;
        workers.extend(answer.workers);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(workers);
        }
    }
}
