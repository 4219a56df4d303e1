//! The mind from outside: scripts with their transcripts, and a world of random events around it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod script;

mod scripts;
mod scripts_copies;

mod scripts_feed;

mod results;

mod world;

mod interleavings;
