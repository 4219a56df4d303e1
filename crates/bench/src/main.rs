//! Figures of Shoal beside its floors and its peers, measured in one run on one machine.
//!
//! An absolute time holds for nothing on a small shared machine, so each row lets Shoal, a physical floor and the peers that
//! are named do the same work in turn, round after round, and tells the median of the rounds with their spread and the ratios
//! within the run. Each contender's figure is printed as one JSON object a line on standard output, and as a table on standard
//! error. It is never a test's verdict.

mod args;

mod work;

mod race;

mod contenders;

mod scheduling;

mod submit;

mod failover;

mod footprint;

mod build;

mod containers;

mod report;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = args::Args::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: args::Args) -> anyhow::Result<()> {
    let figures = match &arguments.row {
        args::Row::P1 { race, count } => {
            let (count, script) = (*count, race.script);
            race::run("P1", race, work::Work::Single { count, script })?
        }
        args::Row::P2 { race, count } => race::run(
            "P2",
            race,
            work::Work::Many {
                count: *count,
                slots: race.slots,
                script: race.script,
            },
        )?,
        args::Row::P3 { race, length } => {
            race::run("P3", race, work::Work::Chain { length: *length })?
        }
        args::Row::P4(scheduling) => return scheduling::run(scheduling),
        args::Row::P5(submit) => submit::run(submit)?,
        args::Row::P9(failover) => failover::run(failover)?,
        args::Row::P10(footprint) => footprint::run(footprint)?,
        args::Row::P11(containers) => containers::run(containers)?,
        args::Row::P12(build) => build::run(build)?,
    };
    report::print(&figures)
}
