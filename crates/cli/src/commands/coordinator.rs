//! `shoal coordinator`: runs a coordinator until it is told to end.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Fixed};
use contract::api;
use node::Fault;
use node::coordinator::{CoordinatorConfig, CoordinatorNode, Join, Joined, async_trait};
use node::tls::{CoordinatorJoin, JoinToken, KeyDir, Lifetimes, is_loopback};

use super::{Context, failure};
use crate::args::{Coordinator, Security};
use crate::pools;
use crate::settings::{self, Section};
use crate::{Exit, Failure};

/// Where a coordinator serves unless told otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:7461";

pub(super) async fn run(context: &Context, mut arguments: Coordinator) -> Result<Exit, Failure> {
    let file = match &arguments.config {
        Some(file) => Some(Section::read(&context.current.join(file), "coordinator")?),
        None => None,
    };
    if let Some(file) = &file {
        settings::coordinator(file, &mut arguments)?;
    }
    let Some(data_dir) = arguments.data_dir else {
        return Err(Failure::usage("a coordinator needs a data directory")
            .hint("give --data-dir, or data_dir in its section of the file"));
    };
    let data_dir = context.current.join(data_dir);
    let keys = KeyDir::of(&data_dir);
    if let Some(founder) = arguments.founder.take() {
        let own = arguments.advertise.as_ref().or(arguments.listen.as_ref());
        let founds = own == Some(&founder) && !finds_token(context, &arguments.security);
        arguments.bootstrap = founds;
        if founds {
            arguments.join.clear();
        } else if arguments.join.is_empty() {
            arguments.join.push(founder);
        }
    }
    let mut config = CoordinatorConfig::new(data_dir.clone());
    config.listen = arguments
        .listen
        .unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    config.tls = arguments.tls || has_token(&arguments.security);
    config.insecure = arguments.security.insecure;
    let usual = Lifetimes::default();
    config.lifetimes = Lifetimes {
        coordinator: arguments
            .coordinator_certificates
            .unwrap_or(usual.coordinator),
        worker: arguments.worker_certificates.unwrap_or(usual.worker),
        user: arguments.user_certificates.unwrap_or(usual.user),
    };
    let speaks_tls = config.tls || !is_loopback(&config.listen);
    config.advertise = arguments.advertise;
    config.metrics = arguments.metrics;
    config.bootstrap = arguments.bootstrap;
    config.max_feature_level = arguments.max_feature_level;
    let feature_level = config.knows().level;
    if !arguments.join.is_empty() {
        let token = join_token(context, &arguments.security, &keys)?;
        config.join = Some(match token {
            Some(token) => Arc::new(CoordinatorJoin::new(
                arguments.join,
                token,
                &data_dir,
                feature_level,
            )),
            None if speaks_tls && !config.insecure && !keys.exists() => {
                return Err(
                    Failure::usage("a coordinator that speaks TLS needs a token to join").hint(
                        "make one with `shoal token create --role coordinator` and give it with --join-token",
                    ),
                );
            }
            None => Arc::new(Members {
                addresses: arguments.join,
                admission: arguments.admission,
                feature_level,
            }),
        });
    }
    let seconds = |name: &str, seconds: f64| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| Failure::usage(format!("{name} must be a number of seconds, 0 or more")))
    };
    if let Some(lost_after) = arguments.lost_after {
        config.lost_after = seconds("--lost-after", lost_after)?;
    }
    if let Some(file) = &file {
        config.pools = pools::read(file.pools())?;
        if let Some(grace) = file.seconds("stop_grace")? {
            config.stop_grace = seconds("stop_grace", grace)?;
        }
        if let Some(entries) = file.count("snapshot_entries")? {
            config.snapshot_entries = entries;
        }
    }
    if let Some(policy) = arguments.on_disconnect {
        config.on_disconnect = policy;
    }
    config.raft_log = arguments.raft_log;
    config.feeds.retention = node::Retention {
        max_age_ms: arguments.keep_logs.map(|time| time.as_millis() as u64),
        max_bytes: arguments.keep_logs_bytes,
    };
    let coordinator = CoordinatorNode::start(config).await.map_err(failure)?;
    let address = coordinator.address().to_owned();
    let admin = keys.admin_context();
    if admin.exists() && !context.global.quiet {
        context.note(&format!(
            "an administrator's context is in {0}:\n  shoal --context {0} cluster status",
            admin.display()
        ));
    }
    told_metrics(context, coordinator.metrics_address());
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

/// Whether a token was given, by itself or by its file.
fn has_token(security: &Security) -> bool {
    security.join_token.is_some() || security.join_token_file.is_some()
}

/// Whether there is a token to join with: who has one is to join, also if it is the founder, whose disk was lost then.
fn finds_token(context: &Context, security: &Security) -> bool {
    let file = security.join_token_file.as_ref();
    security.join_token.is_some() || file.is_some_and(|file| context.current.join(file).exists())
}

/// The token that was given, if one was. A file that is not there is missed only by who has no certificate yet: secrets are often taken
/// away once they were used.
pub(super) fn join_token(
    context: &Context,
    security: &Security,
    keys: &KeyDir,
) -> Result<Option<JoinToken>, Failure> {
    let (text, from) = match (&security.join_token, &security.join_token_file) {
        (Some(text), _) => (text.clone(), "--join-token".to_owned()),
        (None, None) => return Ok(None),
        (None, Some(file)) => match std::fs::read_to_string(context.current.join(file)) {
            Ok(text) => (text, file.display().to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound && keys.exists() => return Ok(None),
            Err(error) => {
                let said = format!(
                    "no token to join can be read from {}: {error}",
                    file.display()
                );
                return Err(Failure::new(said).hint("make one with `shoal token create --file`"));
            }
        },
    };
    match text.trim() {
        "" => Ok(None),
        text => match text.parse::<JoinToken>() {
            Ok(token) => Ok(Some(token)),
            Err(error) => Err(Failure::usage(format!("{from}: {error}"))),
        },
    }
}

/// The cluster that is to be joined.
struct Members {
    /// Addresses of its coordinators.
    addresses: Vec<String>,
    /// The request by which it was admitted already.
    admission: Option<String>,
    /// What it knows.
    feature_level: u32,
}

#[async_trait]
impl Join for Members {
    async fn join(&self, address: &str, request_id: &str) -> Result<Joined, Fault> {
        let request = api::AddMemberRequest {
            request_id: self
                .admission
                .clone()
                .unwrap_or_else(|| request_id.to_owned()),
            address: address.to_owned(),
            feature_level: self.feature_level.cast_signed(),
        };
        let client = Client::new(Fixed(self.addresses.clone()));
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

/// Says where a daemon serves its metrics, if it does.
pub(super) fn told_metrics(context: &Context, address: Option<SocketAddr>) {
    if let Some(address) = address {
        context.note(&format!("metrics on http://{address}/metrics"));
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
