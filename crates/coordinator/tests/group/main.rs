//! Groups of three to five minds over a network that loses, repeats and reorders, and disks that forget what was not stored.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

mod faults;
mod hostile;
mod leaders;
mod members;
mod reads;
