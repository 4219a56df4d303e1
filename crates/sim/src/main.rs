//! `sim SEED` replays a seed in words; `sim --seeds A..B` runs many and ends with one line. `--bug NAME` plants a bug, `--all` tells
//! every message. Exit code 1 when a promise was broken.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use sim::{Bug, Detail, Tally};

/// What was asked for.
struct Asked {
    first: u64,
    end: u64,
    many: bool,
    bug: Option<Bug>,
    detail: Detail,
}

fn main() -> anyhow::Result<ExitCode> {
    let asked = read(std::env::args().skip(1))?;
    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut simulated_us = 0;
    let mut violations = 0;
    let mut out = std::io::stdout().lock();
    for seed in asked.first..asked.end {
        let report = sim::run(seed, asked.bug, asked.detail);
        tally.add(&report.tally);
        simulated_us += report.simulated_us;
        out.write_all(report.transcript.as_bytes())?;
        if let Some(violation) = &report.violation {
            violations += 1;
            writeln!(out, "seed {seed}: {violation}")?;
        }
        if !asked.many {
            writeln!(out, "seed {seed}: hash {:016x}", report.hash)?;
        }
    }
    for name in tally.never().iter().filter(|_| asked.many) {
        writeln!(out, "never: {name}")?;
    }
    let hours = simulated_us as f64 / 3.6e9;
    let wall = begun.elapsed().as_secs_f64();
    writeln!(
        out,
        "{} seeds, {hours:.2} simulated hours, {} faults, {} operations, {violations} violations, {:.0} times real time",
        asked.end - asked.first,
        tally.fault_count(),
        tally.operations,
        hours * 3_600.0 / wall.max(1e-9),
    )?;
    Ok(if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Asked> {
    let mut asked = Asked {
        first: 0,
        end: 0,
        many: false,
        bug: None,
        detail: Detail::None,
    };
    let mut everything = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => {
                let range = arguments.next().context("--seeds A..B")?;
                let (first, end) = range.split_once("..").context("--seeds A..B")?;
                (asked.first, asked.end, asked.many) = (first.parse()?, end.parse()?, true);
            }
            "--bug" => {
                let name = arguments.next().context("--bug NAME")?;
                let bug = Bug::ALL.into_iter().find(|bug| bug.to_string() == name);
                asked.bug = Some(bug.with_context(|| format!("no bug is named {name}"))?);
            }
            "--all" => everything = true,
            seed => {
                asked.first = seed
                    .parse()
                    .with_context(|| format!("{seed:?} is no seed"))?;
                asked.end = asked.first + 1;
            }
        }
    }
    if asked.first >= asked.end {
        bail!("usage: sim SEED [--all] [--bug NAME] | sim --seeds A..B [--bug NAME]");
    }
    if !asked.many {
        asked.detail = if everything {
            Detail::Everything
        } else {
            Detail::News
        };
    }
    Ok(asked)
}
