//! What the services of a coordinator share.

use std::sync::Arc;

use coordinator::Refusal;
use ledger::Ledger;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::ports::{FeedReader, Mutations, Surroundings};
use crate::required;
use crate::status::status;

/// The ends of the host that the services of a coordinator read from and write to.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) mutations: Arc<dyn Mutations>,
    pub(crate) ledgers: watch::Receiver<Ledger>,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    pub(crate) feeds: Arc<dyn FeedReader>,
    /// Is cancelled when the server stops: every stream ends.
    pub(crate) stopping: CancellationToken,
}

impl Context {
    /// The newest published ledger.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledgers.borrow().clone()
    }
}

/// Takes the message out of a request and checks that its required fields are there.
pub(crate) fn checked<M: prost::Name>(request: Request<M>) -> Result<M, Status> {
    let message = request.into_inner();
    required::check(&message).map_err(status)?;
    Ok(message)
}

/// Refuses a revision or record number below zero.
pub(crate) fn unsigned(field: &str, number: i64) -> Result<u64, Refusal> {
    let refused = || Refusal::invalid_field(field, format!("must not be negative, got {number}"));
    u64::try_from(number).map_err(|_| refused())
}
