//! `shoal worker`: running one, or looking at them.

mod top;

use std::path::PathBuf;
use std::time::Duration;

use contract::api;
use node::tls::KeyDir;
use node::worker::WorkerConfig;
use runtime::devices::{self, Inventory};

use super::coordinator::{join_token, serve_until_told, told_metrics};
use super::{Context, failure};
use crate::args::{Worker, WorkerCommand};
use crate::settings::{self, Section};
use crate::tables::{self, Now};
use crate::{Exit, Failure, json};

pub(super) async fn execute(context: &Context, arguments: Worker) -> Result<Exit, Failure> {
    match &arguments.command {
        None => run(context, arguments).await,
        Some(WorkerCommand::List) => {
            let connection = context.connect();
            let answer = connection
                .client
                .list_workers(api::ListWorkersRequest {
                    consistency: context.consistency(),
                    ..api::ListWorkersRequest::default()
                })
                .await;
            context.close(connection).await;
            let workers = answer?.workers;
            context.print(
                || workers.iter().map(json::worker).collect(),
                || tables::workers(&workers, Now::real()),
            )?;
            Ok(Exit::Done)
        }
        Some(WorkerCommand::Show { name }) => {
            let connection = context.connect();
            let request = api::GetWorkerRequest {
                name: format!("workers/{name}"),
                consistency: context.consistency(),
            };
            let answer = connection.client.get_worker(request).await;
            context.close(connection).await;
            let worker = answer.map_err(look_at_the_list)?.worker.unwrap_or_default();
            context.print(
                || json::worker(&worker),
                || tables::worker(&worker, Now::real()),
            )?;
            Ok(Exit::Done)
        }
        Some(WorkerCommand::Top { once, every }) => top::top(context, *once, *every).await,
        Some(WorkerCommand::Drain { name }) => drain(context, name, true).await,
        Some(WorkerCommand::Undrain { name }) => drain(context, name, false).await,
    }
}

/// Drains a worker, or lets it take new attempts again.
async fn drain(context: &Context, name: &str, draining: bool) -> Result<Exit, Failure> {
    let connection = context.connect();
    let request = api::DrainWorkerRequest {
        name: format!("workers/{name}"),
        draining,
        ..api::DrainWorkerRequest::default()
    };
    let answer = connection.client.drain_worker(request).await;
    context.close(connection).await;
    let worker = answer.map_err(look_at_the_list)?.worker.unwrap_or_default();
    context.print(
        || json::worker(&worker),
        || {
            let attempts = match (draining, worker.executions.len()) {
                (false, _) => return format!("worker {name} takes new attempts\n"),
                (true, 0) => "it has none".to_owned(),
                (true, count) => format!("it has {count}, which go on to their end"),
            };
            let outputs = tables::only_here(&worker).map(|outputs| {
                format!(
                    "{outputs} on no other worker yet: others fetch what they can, and `shoal worker show {name}` tells what is left\n"
                )
            });
            let outputs = outputs.unwrap_or_default();
            format!("worker {name} takes no new attempts; {attempts}\n{outputs}")
        },
    )?;
    Ok(Exit::Done)
}

/// Runs a worker until it is told to end. Programs of steps go on.
async fn run(context: &Context, mut arguments: Worker) -> Result<Exit, Failure> {
    if let Some(file) = &arguments.config {
        let file = context.current.join(file);
        settings::worker(&Section::read(&file, "worker")?, &mut arguments)?;
        let section = Section::read(&file, "containers")?;
        arguments.containers.fill(&section)?;
    }
    if arguments.coordinator.is_empty() {
        return Err(Failure::usage("a worker needs a coordinator")
            .hint("give --coordinator, or coordinators in its section of the file"));
    }
    let Some(data_dir) = arguments.data_dir else {
        return Err(Failure::usage("a worker needs --data-dir"));
    };
    let data_dir = context.current.join(data_dir);
    let token = join_token(context, &arguments.security, &KeyDir::of(&data_dir))?;
    let mut config = WorkerConfig::new(data_dir, arguments.coordinator);
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    config.advertise = arguments.advertise;
    config.metrics = arguments.metrics;
    config.environments = arguments.environments;
    config.provisioned = arguments.provisioned;
    config.on_disconnect = arguments.on_disconnect;
    config.disk_reserve = arguments
        .disk_reserve
        .map(|mib| mib.saturating_mul(1 << 20));
    config.blob_cache = arguments.blob_cache.map(|mib| mib.saturating_mul(1 << 20));
    config.devices = inventory(&arguments.devices, arguments.devices_file)?;
    config.device_readings = arguments
        .device_readings
        .map(|path| context.current.join(path));
    if let Some(seconds) = arguments.measure_every {
        config.measure_every = Duration::try_from_secs_f64(seconds)
            .map_err(|_| Failure::usage(format!("--measure-every: {seconds} are no seconds")))?;
    }
    if let Some(mib) = arguments.log_limit {
        config.log_limit = (mib > 0).then(|| mib.saturating_mul(1 << 20));
    }
    config.join_token = token;
    config.insecure = arguments.security.insecure;
    config.runtime = arguments.containers.choice();
    if let Some(name) = arguments.name {
        config.name = name;
    }
    if let Some(slots) = arguments.slots {
        config.slots = slots;
    }
    let name = config.name.clone();
    let worker = node::worker::WorkerNode::start(config)
        .await
        .map_err(failure)?;
    told_metrics(context, worker.metrics_address());
    let told = format!("worker {name} serves blobs on {}", worker.address());
    let address = worker.address().to_owned();
    serve_until_told(
        context,
        &told,
        &address,
        arguments.address_file.as_deref(),
        worker.faulted(),
    )
    .await?;
    worker.stop().await;
    Ok(Exit::Done)
}

/// Where its devices are told from.
fn inventory(declared: &[String], file: Option<PathBuf>) -> Result<Inventory, Failure> {
    if let Some(file) = file {
        return Ok(Inventory::File(file));
    }
    match declared {
        [] => Ok(Inventory::Driver),
        [none] if none == "none" => Ok(Inventory::Declared(Vec::new())),
        declared => declared
            .iter()
            .map(|text| devices::declared(text))
            .collect::<Result<_, _>>()
            .map(Inventory::Declared)
            .map_err(|error| Failure::usage(error.to_string())),
    }
}

/// A name that is not there is looked up in another list than numbers are.
fn look_at_the_list(error: client::Error) -> client::Error {
    match error.kind {
        client::Kind::NotFound => error.with_hint("look for its name with `shoal worker list`"),
        _ => error,
    }
}
