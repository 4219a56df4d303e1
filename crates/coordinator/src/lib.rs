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
//! Reading order: `coordinator` is the loop, `io` its inputs and outputs, `proposals` how decisions come into the log and out of it,
//! `admission` turns requests into commands; `leadership`, `reads`, `membership`, `snapshots` and `peers` are what a group of many needs; `workers` is the
//! conversation with them, `reports` what they say as commands, `desired` what they are told, `copies` what one
//! that leaves hands over; `group` drives raft.

mod coordinator;

mod io;

mod request;

mod refusal;

pub mod names;

mod proposals;

mod admission;
mod grants;

mod files;

mod tokens;

mod outcome;

mod leadership;

mod reads;

mod membership;

mod snapshots;

mod peers;

mod workers;

mod reports;

mod desired;

mod session;

mod standing;

mod disconnect;
mod features;

pub mod feeds;

mod pace;
mod pools;

mod copies;

mod group;

pub use coordinator::{Config, Coordinator, may_write};
pub use disconnect::OnDisconnect;
pub use group::{Base, Batch, Committed, Group, Recovered, Role, TICK_MS, Unfit};
pub use io::{Input, MemberView, Now, Output, SessionId, Token};
pub use pools::{Pool, PoolCall, PoolView, PoolWorker};
pub use refusal::{Refusal, Violation};
pub use request::{Answer, Request, TokenUse};
