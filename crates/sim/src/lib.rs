//! Whole systems in one thread from one seed.
//!
//! The minds are the real ones: coordinator with its Raft group, worker, ledger, feeds. Around them everything is simulated: disks
//! that forget what was not yet written, machines whose programs outlive their daemon, connections that are cut and noticed late,
//! clients that repeat what was not answered. A seed decides everything, so a run is repeated by its number:
//!
//! ```text
//! cargo run -p sim -- 12345             one seed, told in words
//! cargo run -p sim -- --seeds 0..1000   many, told in one line
//! ```
//!
//! Each run ends by healing everything and giving it a bounded time to come to its end; [`Violation`] says which promise was broken.
//! [`Bug`]s can be planted, to show that the checkers see. Scripts ([`script`]) tell one story each.
//!
//! Reading order: `world` is the loop, `faults` what goes wrong, `coordinator`, `machine` and `clients` are the hosts, `wires` is between them,
//! `checkers` watch, `swarm` says what a seed's run is like.
//!
//! Known limits of this version: workers' machines never forget what was written; blobs go over links that never run full.

mod world;

mod faults;
mod leave;
mod operator;

mod swarm;

mod event;
mod stage;

mod coordinator;
mod machine;
mod network;
mod peers;
mod wires;

mod clients;

mod checkers;

mod census;
mod tally;

mod bug;

mod run;

pub mod script;

mod chance;
mod queue;
mod transcript;

pub use bug::Bug;
pub use checkers::Violation;
pub use run::{Report, run};
pub use tally::{SOMETIMES, Tally};
pub use transcript::Detail;
