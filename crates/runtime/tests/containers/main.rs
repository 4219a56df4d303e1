//! Both runtimes with real programs: what must hold in either, and what containers add.
//!
//! Needs a container engine, which is asked for at `DOCKER_HOST` or its usual socket. Where there is none, the tests that need one say that
//! they are skipped. Images are made on the spot, of a static busybox: no registry is asked.
//!
//! This binary is everything: the tests, the `shim` that they start, and a host to kill.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine;

mod machine;

mod registry;

#[path = "../shim/harness.rs"]
mod harness;

mod conformance;

mod images;

mod limits;

mod measured;

mod hostile;

mod adoption;

mod own_engine;

mod handed;

mod restarts;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    match args.peek().and_then(|arg| arg.to_str()) {
        Some("shim") => runtime::shim::main(args.skip(1)),
        Some("host") => adoption::host(args.skip(1)),
        _ => harness::run(&[
            conformance::TESTS,
            images::TESTS,
            limits::TESTS,
            measured::TESTS,
            hostile::TESTS,
            adoption::TESTS,
            handed::TESTS,
            restarts::TESTS,
        ]),
    }
}
