//! Scheduling from outside: scripts in, placements out, and a plain solver to compare with.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

mod fairness;
mod placements;

mod explanations;

mod properties;
mod resources;
