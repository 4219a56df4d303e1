//! What the services of a coordinator share.

use std::sync::Arc;

use contract::api::Consistency;
use coordinator::Refusal;
use ledger::Ledger;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::ports::{FeedReader, FreshReads, Mutations, Surroundings};
use crate::required;
use crate::status::status;

/// The ends of the host that the services of a coordinator read from and write to.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) mutations: Arc<dyn Mutations>,
    pub(crate) ledgers: watch::Receiver<Ledger>,
    pub(crate) fresh: Arc<dyn FreshReads>,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    pub(crate) feeds: Arc<dyn FeedReader>,
    /// Is cancelled when the server stops: every stream ends.
    pub(crate) stopping: CancellationToken,
}

impl Context {
    /// The newest published ledger of this coordinator.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledgers.borrow().clone()
    }

    /// The ledger that a read with this `Consistency` is answered from; a kind that this version does not know counts as
    /// the strictest.
    pub(crate) async fn read(&self, consistency: i32) -> Result<Ledger, Status> {
        if consistency == i32::from(Consistency::Stale) {
            return Ok(self.ledger());
        }
        self.fresh.fresh().await.map_err(status)
    }

    /// The ledger in which `is_there` holds: the newest of this coordinator, or, when what is asked for may be newer than
    /// that, a fresh one. What a stream begins with may be old, but must not be missing.
    pub(crate) async fn ledger_with(
        &self,
        is_there: impl Fn(&Ledger) -> bool + Send,
    ) -> Result<Ledger, Status> {
        let ledger = self.ledger();
        if is_there(&ledger) {
            return Ok(ledger);
        }
        self.fresh.fresh().await.map_err(status)
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
