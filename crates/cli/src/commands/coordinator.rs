//! `shoal coordinator`: runs a coordinator until it is told to end.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use node::Fault;
use node::coordinator::{CoordinatorConfig, CoordinatorNode};

use super::Context;
use crate::args::Coordinator;
use crate::{Exit, Failure};

pub(super) async fn run(context: &Context, arguments: Coordinator) -> Result<Exit, Failure> {
    let mut config = CoordinatorConfig::new(context.current.join(&arguments.data_dir));
    config.listen = arguments.listen;
    config.advertise = arguments.advertise;
    config.bootstrap = arguments.bootstrap;
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
