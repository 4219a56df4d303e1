//! The harness: real processes, each in a place of its own.
//!
//! A [`Place`] is a temporary directory with everything that a test starts in it. [`Place::run`] runs a `shoal` command to its
//! end, [`Place::start`] starts one whose lines are events to wait for, a [`Cluster`] is a coordinator and workers as separate
//! processes, and a [`Gate`] holds a step's program at a known line of its script. Nothing is waited for by the clock: every
//! wait is for an event, and [`PATIENCE`] only ends a test that would otherwise hang.
//!
//! When a test ends, also by a panic, the processes of its place are killed, each by a handle that cannot mean another process.
//! A failed test keeps its place and says where it is.

mod place;

mod process;

mod cluster;

mod secure;

mod engine;

mod own_engine;

mod composed;

mod gate;

mod log;

mod kill;

mod binary;

use std::time::Duration;

pub use binary::shoal;
pub use cluster::{Cluster, Coordinator, Worker};
pub use composed::Composed;
pub use engine::{BARE, BUSYBOX, Engine};
pub use gate::Gate;
pub use kill::Kind;
pub use log::Log;
pub use own_engine::OwnEngine;
pub use place::{Finished, Place};
pub use process::{Line, Process, Source};
pub use secure::Secure;

/// How long a test waits for an event before it counts as one that does not come.
pub const PATIENCE: Duration = Duration::from_secs(120);
