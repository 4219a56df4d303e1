//! What the ledger holds, as it is held: parts that many records have in common are shared. Each record turns into its
//! message of `shoal.ledger.v1` and back; the messages are what snapshots are made of.

mod project;

mod pipeline;

mod recipe;

mod execution;

mod attempt;

mod input;

mod datum;

mod worker;

mod member;

mod promise;

mod request;

mod token;

pub use attempt::Attempt;
pub use datum::Datum;
pub use execution::Execution;
pub use input::{Input, InputFile};
pub use member::Member;
pub use pipeline::{Blueprint, Node, Pipeline, PlannedNode};
pub use project::Project;
pub(crate) use project::position;
pub use promise::Promise;
pub use recipe::Recipe;
pub use request::Request;
pub use token::{Revocation, Token, Use};
pub use worker::{Taken, Worker};

use std::sync::Arc;

use contract::api::{EndReason, State};
use prost::bytes::Bytes;
use uuid::Uuid;

use crate::snapshot::RestoreError;

/// Reads a UUID of a snapshot.
pub(crate) fn id(bytes: &[u8], what: &'static str) -> Result<Uuid, RestoreError> {
    Uuid::from_slice(bytes).map_err(|_| RestoreError::Malformed(what))
}

/// Reads a digest; anything but 32 bytes is none.
pub(crate) fn digest(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

/// Writes a digest; none is no bytes.
fn digest_bytes(digest: Option<&[u8; 32]>) -> Bytes {
    digest
        .map(|digest| Bytes::copy_from_slice(digest))
        .unwrap_or_default()
}

/// Reads a state; a number of a newer version is none.
pub(crate) fn state(number: i32) -> Result<State, RestoreError> {
    State::try_from(number).map_err(|_| RestoreError::Malformed("state"))
}

/// Reads a reason.
pub(crate) fn reason(number: i32) -> Result<EndReason, RestoreError> {
    EndReason::try_from(number).map_err(|_| RestoreError::Malformed("end_reason"))
}

/// A share of a text; all empty ones share nothing worth having.
pub(crate) fn share(text: &str) -> Arc<str> {
    Arc::from(text)
}
