//! A coordinator's mind: raft, ledger, schedule, worker sessions.
//!
//! Participants: **callers** ask for mutations and are answered once what they asked for is committed; **workers** say what they have and
//! are told what they should have; **members** of the group exchange raft's messages; the **host** (the daemon around this mind) does what
//! the outputs say. Goals: nothing leaves before it is committed; deciding and replicating cost one sync; whatever a worker or caller
//! repeats changes nothing. No goal: storing, sending, telling the time.
//!
//! ```text
//!  Request, WorkerState ──> inbox ──> one entry ──> raft ──> Persist ─ disk ─> Persisted ──> committed
//!                                       │                                                     │
//!                                       └──> the ledger ahead ──> schedule ──> one more entry └──> Publish, Reply, Desired, SealFeed
//! ```
//!
//! Reading order: `coordinator` is the loop, `io` its inputs and outputs, `group` drives raft, `admission` turns requests into commands,
//! `reports` what workers say into commands, `desired` the ledger into what workers are told.

mod coordinator;

mod io;

mod request;

mod refusal;

pub mod names;

mod admission;

mod tokens;

mod reports;

mod desired;

mod outcome;

mod session;

mod pace;

mod group;

mod log;

pub use coordinator::{Config, Coordinator, may_write};
pub use group::{Batch, Group, Recovered, TICK_MS};
pub use io::{Input, MemberView, Now, Output, SessionId, Token};
pub use log::Base;
pub use refusal::{Refusal, Violation};
pub use request::{Answer, Request, TokenUse};
