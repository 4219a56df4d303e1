//! The shim with real processes. This binary is everything: the tests, the `shim` that they start, and a host to kill.
//!
//! It has a `main` of its own because a shim must be started before any thread, which the usual harness does not allow.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fixture;

mod harness;

mod again;

mod ends;

mod output;

mod stops;

mod survival;

mod views;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    match args.peek().and_then(|arg| arg.to_str()) {
        Some("shim") => runtime::shim::main(args.skip(1)),
        Some("host") => survival::host(args.skip(1)),
        Some("view") => views::unprivileged(args.skip(1)),
        _ => harness::run(&[
            again::TESTS,
            ends::TESTS,
            output::TESTS,
            stops::TESTS,
            survival::TESTS,
            views::TESTS,
        ]),
    }
}
