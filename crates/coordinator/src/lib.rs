//! A coordinator's mind: raft, ledger, schedule, worker sessions, feeds held.

mod group;
mod log;
mod refusal;
mod request;

pub use group::{Batch, Group, Recovered};
pub use log::Base;
pub use refusal::{Refusal, Violation};
pub use request::{Answer, Request};
