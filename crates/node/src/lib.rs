//! Both roles wired: config, clock, event loop, signals, telemetry.
//!
//! Each role is one thread that owns its mind: everything that happens comes to it through one channel, it decides, and
//! what it asks for is done by bodies (`disk`, `runtime`, `net`). Nothing here has a rule of its own.
//!
//! | module | wires |
//! | --- | --- |
//! | [`coordinator`] | a coordinator's mind, its log, feeds and blobs, its server |
//! | [`worker`] | a worker's mind, its attempts, blobs and server, its link to a coordinator |
//! | [`embedded`] | one of each in this process, speaking to each other over loopback |
//! | [`tls`] | keys on the disk, joining, renewal |
//! | `metrics` | what monitoring systems are told, and probes |
//! | [`home`] | who owns a data directory, and where its owner serves |

pub mod embedded;

pub mod coordinator;

pub mod worker;

pub mod home;

pub mod tls;

mod metrics;

mod blobs;

mod fault;
mod faults;

pub use ::coordinator::{OnDisconnect, Pool};
pub use ::disk::raft_log::LogKind as RaftLog;
pub use fault::Fault;
pub use feed::{Retention, parse_bytes};

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
