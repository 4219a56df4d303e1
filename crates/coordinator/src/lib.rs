//! A coordinator's mind: raft, ledger, schedule, worker sessions, feeds held.

mod refusal;
mod request;

pub use refusal::{Refusal, Violation};
pub use request::{Answer, Request};
