//! Groups of three to five minds over a network that loses, repeats and reorders, and disks that forget what was not stored.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

mod faults;
mod hostile;
mod leaders;
mod members;
mod reads;

/// So many cases, unless `PROPTEST_CASES` says how many.
fn cases(count: u32) -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config::default();
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => proptest::test_runner::Config {
            cases: count,
            ..config
        },
    }
}
