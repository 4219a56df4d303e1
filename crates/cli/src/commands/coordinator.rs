//! `shoal coordinator`: runs a coordinator until it is told to end.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Fixed};
use contract::api;
use node::Fault;
use node::coordinator::{CoordinatorConfig, CoordinatorNode, Join, Joined, async_trait};

use super::Context;
use crate::args::Coordinator;
use crate::{Exit, Failure};

pub(super) async fn run(context: &Context, arguments: Coordinator) -> Result<Exit, Failure> {
    let mut config = CoordinatorConfig::new(context.current.join(&arguments.data_dir));
    config.listen = arguments.listen;
    config.advertise = arguments.advertise;
    config.bootstrap = arguments.bootstrap;
    if !arguments.join.is_empty() {
        config.join = Some(Arc::new(Members(arguments.join)));
    }
    config.lost_after = Duration::try_from_secs_f64(arguments.lost_after)
        .map_err(|_| Failure::usage("--lost-after must be a number of seconds, 0 or more"))?;
    let coordinator = CoordinatorNode::start(config)
        .await
        .map_err(|fault| Failure::new(fault.to_string()))?;
    let address = coordinator.address().to_owned();
    let told = format!("coordinator serves on {address}");
    serve_until_told(
        context,
        &told,
        &address,
        arguments.address_file.as_deref(),
        coordinator.faulted(),
    )
    .await?;
    coordinator.stop().await;
    Ok(Exit::Done)
}

/// The coordinators of the cluster that is to be joined.
struct Members(Vec<String>);

#[async_trait]
impl Join for Members {
    async fn join(&self, address: &str, request_id: &str) -> Result<Joined, Fault> {
        let request = api::AddMemberRequest {
            request_id: request_id.to_owned(),
            address: address.to_owned(),
        };
        let client = Client::new(Fixed(self.0.clone()));
        let answer = client.add_member(request).await.map_err(|error| {
            let hint = error
                .hint
                .as_deref()
                .map_or(String::new(), |hint| format!("; {hint}"));
            Fault::new(format!(
                "the cluster does not take this coordinator in: {error}{hint}"
            ))
        })?;
        let member_id = u64::try_from(answer.member_id).unwrap_or_default();
        Ok(Joined {
            cluster_id: answer.cluster_id,
            member_id,
        })
    }
}

/// Says that a daemon serves, and waits until it is told to end by a signal or ends by a fault.
pub(super) async fn serve_until_told(
    context: &Context,
    told: &str,
    address: &str,
    address_file: Option<&Path>,
    faulted: impl Future<Output = Fault>,
) -> Result<(), Failure> {
    if let Some(path) = address_file {
        node::home::write_durably(&context.current.join(path), address.as_bytes())
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    }
    context.note(told);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => Ok(result?),
        fault = faulted => Err(Failure::new(fault.to_string())),
    }
}
