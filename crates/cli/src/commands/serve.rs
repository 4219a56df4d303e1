//! `shoal serve` (hidden): the embedded node by itself, for `--detach`. Ends when nothing is left to do, or when told to.

use node::embedded::{Embedded, Options};
use node::home::Home;

use crate::args::Serve;
use crate::{Exit, Failure};

pub(super) async fn run(arguments: &Serve) -> Result<Exit, Failure> {
    let Some(ownership) = Home::new(&arguments.data_dir).own()? else {
        // Another command runs the node already.
        return Ok(Exit::Done);
    };
    let node = Embedded::start(ownership, Options::default()).await.map_err(|fault| Failure::new(fault.to_string()))?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let ended = tokio::select! {
        () = node.idle() => Ok(Exit::Done),
        _ = terminate.recv() => Ok(Exit::Done),
        result = tokio::signal::ctrl_c() => result.map(|()| Exit::Done).map_err(Failure::from),
        fault = node.faulted() => Err(Failure::new(fault.to_string())),
    };
    node.stop().await;
    ended
}
