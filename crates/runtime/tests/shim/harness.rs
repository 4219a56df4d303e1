//! As much of a test harness as is needed: names, a filter, one thread per test, a verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

/// Lists test functions with their names.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::harness::Test] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}
pub(crate) use tests;

/// Runs the tests whose names contain the first free argument; understands `--list` and `--exact`.
pub(crate) fn run(groups: &[&[Test]]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let exact = args.iter().any(|arg| arg == "--exact");
    let wanted = |name: &str| {
        filter.is_none_or(|filter| match exact {
            true => name == filter,
            false => name.contains(filter.as_str()),
        })
    };
    let all = groups.iter().flat_map(|group| group.iter());
    let chosen: Vec<&Test> = all.filter(|(name, _)| wanted(name)).collect();
    if args.iter().any(|arg| arg == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed: Vec<&str> = Vec::new();
    for (name, test) in &chosen {
        let verdict = catch_unwind(AssertUnwindSafe(test));
        println!(
            "test {name} ... {}",
            if verdict.is_ok() { "ok" } else { "FAILED" }
        );
        failed.extend(verdict.is_err().then_some(*name));
    }
    println!(
        "\n{} passed; {} failed: {failed:?}",
        chosen.len() - failed.len(),
        failed.len()
    );
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
