//! Real processes under real faults.
//!
//! A [`Fleet`] is a cluster of separate processes: coordinators, each behind a [`Proxy`] that can delay, stall, throttle, cut or
//! corrupt what passes between any two of them, and workers. A workload drives it as clients do and remembers every call with its
//! times; a nemesis breaks one thing after another and mends it. When all is mended the workload looks whether what was promised
//! holds. [`campaign`] puts one of each together.
//!
//! Chance comes from a seed; what happens when does not, so a run is not repeated by its seed as a simulation is.

pub mod campaign;

pub mod workload;

pub mod nemesis;

mod fleet;

mod daemon;

mod proxy;

mod source;

mod rules;

mod history;

mod disks;

mod damage;

pub mod storage;

pub mod power;

pub mod damages;

pub mod load;

pub use daemon::{Daemon, State};
pub use damage::Damage;
pub use fleet::{Fleet, Settings};
pub use history::{Call, Clock, Tally};
pub use proxy::Proxy;
pub use rules::{Party, Rule, Rules};
