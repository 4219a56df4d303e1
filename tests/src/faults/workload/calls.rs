//! Calls that several workloads make.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use client::{Client, Error};
use contract::api;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::{Report, SETTLING};

/// A request id by chance.
pub(in crate::faults) fn request_id(chance: &mut ChaCha8Rng) -> String {
    uuid::Builder::from_random_bytes(chance.random())
        .into_uuid()
        .to_string()
}

/// What makes an execution of `step`. Its title is the request id, so that it is known again.
pub(in crate::faults) fn creation(
    project: &str,
    config: &str,
    step: &str,
    request_id: &str,
) -> api::CreateExecutionRequest {
    api::CreateExecutionRequest {
        parent: format!("projects/{project}"),
        config: config.as_bytes().to_vec().into(),
        step: step.to_owned(),
        title: request_id.to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

/// Makes an execution; tells what it is.
pub(in crate::faults) async fn create(
    client: &Client,
    request: api::CreateExecutionRequest,
) -> Result<api::Execution, Error> {
    let answer = client.create_execution(request).await?;
    Ok(answer.execution.unwrap_or_default())
}

/// All executions of a project by number, from one listing.
pub(super) async fn list(
    client: &Client,
    project: &str,
) -> anyhow::Result<BTreeMap<u64, api::Execution>> {
    let mut all = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let answer = client
            .list_executions(api::ListExecutionsRequest {
                parent: format!("projects/{project}"),
                page_size: 1_000,
                page_token,
                ..Default::default()
            })
            .await
            .context("executions cannot be listed though all is mended")?;
        for execution in answer.executions {
            all.insert(super::super::fleet::number(&execution.name)?, execution);
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// Whether nothing follows a state.
pub(in crate::faults) fn is_final(state: api::State) -> bool {
    matches!(
        state,
        api::State::Complete | api::State::Error | api::State::Stopped
    )
}

/// Waits until every execution of a project has come to its end (I-08), and lists them.
pub(super) async fn settle(
    client: &Client,
    project: &str,
    report: &mut Report,
) -> anyhow::Result<BTreeMap<u64, api::Execution>> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let all = list(client, project).await?;
        let open: Vec<&api::Execution> = all
            .values()
            .filter(|execution| !is_final(execution.state()))
            .collect();
        if open.is_empty() {
            return Ok(all);
        }
        if Instant::now() > deadline {
            let shown: Vec<String> = open
                .iter()
                .take(5)
                .map(|one| format!("{} is {:?}", one.name, one.state()))
                .collect();
            report.broken(format!(
                "I-08: {} executions do not come to their end within {SETTLING:?}: {}",
                open.len(),
                shown.join(", ")
            ));
            return Ok(all);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
