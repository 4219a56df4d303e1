//! The simulator at work, and the simulator itself under test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bugs;
mod scripts;
mod seeds;
