//! A coordinator's mind: raft, ledger, schedule, worker sessions, feeds held.

mod refusal;

pub use refusal::{Refusal, Violation};
