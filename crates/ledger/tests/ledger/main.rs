//! The ledger from outside: scripts in, transcripts out, and random histories.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod build;
mod world;

mod script;

mod executions;

mod pipelines;

mod edges;

mod actions;

mod requests;

mod workers;

mod copies;

mod devices;

mod tokens;

mod members;

mod snapshots;

mod properties;
