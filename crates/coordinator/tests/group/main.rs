//! Groups of three to five minds over a network that loses, repeats and reorders, and disks that forget what was not stored.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

mod faults;
mod features;
mod hostile;
mod leaders;
mod members;
mod reads;

/// So many cases, unless `PROPTEST_CASES` says how many: proptest's own default is 256.
fn cases(count: u32) -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config::default();
    let cases = match config.cases {
        256 => count,
        given => given,
    };
    proptest::test_runner::Config { cases, ..config }
}
