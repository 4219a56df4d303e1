//! Tests of whole systems: the harness of real processes, faults for them, and the checks of the repository itself.

// A test that cannot go on says so by a panic.
#[allow(clippy::expect_used)]
pub mod harness;
pub mod house;

pub mod faults;
