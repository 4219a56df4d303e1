//! What the binary shows: standard output and standard error apart, and the exit code, of everything that needs no cluster.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod place;

mod help;

mod lint;

mod plan;

mod wrong;

mod nothing;
