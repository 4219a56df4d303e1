//! The harness: real processes on free ports, their logs kept on failure.

pub mod house;
