//! `shoal serve` (hidden): the embedded node by itself, for `--detach`. Ends when nothing is left to do, or when told to.

use std::time::Duration;

use node::embedded::Embedded;
use node::home::{Home, Ownership};

use crate::args::Serve;
use crate::{Exit, Failure, containers};

/// How long it stays with nothing to do: what it was started for comes after it.
const GRACE: Duration = Duration::from_secs(15);
/// How often to look whether the command that owns the home has ended.
const LOOK: Duration = Duration::from_millis(300);

pub(super) async fn run(arguments: &Serve) -> Result<Exit, Failure> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let ownership = tokio::select! {
        ownership = own(Home::new(&arguments.data_dir)) => ownership?,
        _ = terminate.recv() => return Ok(Exit::Done),
        _ = interrupt.recv() => return Ok(Exit::Done),
    };
    let node = Embedded::start(ownership, containers::embedded().map_err(Failure::usage)?)
        .await
        .map_err(|fault| Failure::new(fault.to_string()))?;
    let ended = tokio::select! {
        () = node.idle(GRACE) => Ok(Exit::Done),
        _ = terminate.recv() => Ok(Exit::Done),
        _ = interrupt.recv() => Ok(Exit::Done),
        fault = node.faulted() => Err(Failure::new(fault.to_string())),
    };
    node.stop().await;
    ended
}

/// Takes the home over, once the command that has it now ends: what was detached must not end with it.
async fn own(home: Home) -> Result<Ownership, Failure> {
    loop {
        match home.own()? {
            Some(ownership) => return Ok(ownership),
            None => tokio::time::sleep(LOOK).await,
        }
    }
}
