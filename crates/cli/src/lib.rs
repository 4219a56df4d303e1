//! The `shoal` command line.
//!
//! Reading order: `args` is what can be typed, `commands` what it does, one file each. `place` and `source` say which files are
//! meant, `launch` reads values given by name, `settings` the file of a daemon and `pools` what it says of machines that come and go, `connect` reaches the cluster. `tables` and `json` are records as people and programs
//! see them, `print` is how text reaches a terminal, `failure` how a command ends.

pub mod args;

mod commands;

mod place;
mod source;

mod launch;
mod order;
mod pools;
mod settings;

mod containers;

mod contexts;

mod connect;

mod tables;

mod json;

mod print;

mod failure;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

pub use failure::{Exit, Failure};

/// Reads the arguments, does what they say, and answers with the exit code.
pub fn main() -> ExitCode {
    let arguments = order::options_first(&mut args::Cli::command(), std::env::args_os());
    let cli = match args::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return misunderstood(error).into(),
    };
    start_log(&cli.global);
    let format = cli.global.output;
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            failure::print(
                &Failure::new(format!("cannot start threads: {error}")),
                format,
            );
            return Exit::Failed.into();
        }
    };
    let exit = match runtime.block_on(commands::execute(cli)) {
        Ok(exit) => exit,
        Err(failure) => {
            failure::print(&failure, format);
            failure.exit()
        }
    };
    // What still waits for the network or a disk must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    exit.into()
}

/// Prints help where it was asked for, or says what is wrong with the arguments in the form that was asked for.
fn misunderstood(error: clap::Error) -> Exit {
    let asked = ["json", "-ojson", "-o=json", "--output=json"];
    if error.use_stderr() && std::env::args().any(|argument| asked.contains(&argument.as_str())) {
        failure::print(&error.into(), args::Format::Json);
        return Exit::Usage;
    }
    // Who pipes help into `head` expects silence when it closes.
    drop(error.print());
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    }
}

/// Messages of Shoal itself go to standard error: warnings unless more is asked for, by `-v` or by `SHOAL_LOG`.
fn start_log(global: &args::Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        (_, 2) => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SHOAL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .with_target(false)
        .init();
}
