//! `sim SEED` replays a seed in words; `sim --seeds A..B` runs many and ends with one line. `--jobs N` uses so many cores, `--bug NAME`
//! plants a bug, `--all` tells every message, `--bugs` makes the table of planted bugs. Exit code 1 when a promise was broken.

use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};
use sim::{Bug, Detail, Report, Tally};

/// How many seeds a planted bug may get through.
const BUG_SEEDS: u64 = 400;
/// So many seeds reach every place that some must reach.
const ALL_REACHED: u64 = 1_000;

/// What was asked for.
struct Asked {
    seeds: Range<u64>,
    many: bool,
    jobs: u64,
    bug: Option<Bug>,
    bugs: bool,
    detail: Detail,
}

/// How it is called.
const USAGE: &str =
    "usage: sim SEED [--all] [--bug NAME] | sim --seeds A..B [--jobs N] [--bug NAME] | sim --bugs";

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments
        .peek()
        .is_some_and(|first| first == "--help" || first == "-h")
    {
        writeln!(std::io::stdout(), "{USAGE}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let asked = match read(arguments) {
        Ok(asked) => asked,
        Err(error) => {
            writeln!(std::io::stderr(), "sim: {error:#}\n{USAGE}")?;
            return Ok(ExitCode::from(2));
        }
    };
    if asked.bugs {
        return table_of_bugs();
    }
    if asked.many {
        // What a mind asserts is a finding like others, and is told like them.
        std::panic::set_hook(Box::new(|_| {}));
        return many(&asked);
    }
    let report = sim::run(asked.seeds.start, asked.bug, asked.detail);
    let mut out = std::io::stdout().lock();
    out.write_all(report.transcript.as_bytes())?;
    if let Some(violation) = &report.violation {
        writeln!(out, "seed {}: {violation}", report.seed)?;
    }
    writeln!(out, "seed {}: hash {:016x}", report.seed, report.hash)?;
    Ok(exit_code(report.violation.is_none()))
}

/// Many seeds at once, and one line about them.
fn many(asked: &Asked) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let next = AtomicU64::new(asked.seeds.start);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= asked.seeds.end {
                return sum;
            }
            let report = sim::run(seed, asked.bug, Detail::None);
            if let Some(violation) = &report.violation {
                // At once: who breaks a long run off has what it found.
                println!("seed {seed}: {violation}");
            }
            sum.add(&report);
        }
    };
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..asked.jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Ok(part) = worker.join() {
                sum.merge(part);
            }
        }
    });
    let mut out = std::io::stdout().lock();
    for name in sum.tally.never() {
        writeln!(out, "never: {name}")?;
    }
    let count = asked.seeds.end - asked.seeds.start;
    let hours = sum.simulated_us as f64 / 3.6e9;
    let wall = begun.elapsed().as_secs_f64().max(1e-9);
    writeln!(
        out,
        "{count} seeds, {hours:.2} simulated hours, {} faults, {} operations, {} violations, {:.0} times real time per core",
        sum.tally.fault_count(),
        sum.tally.operations,
        sum.broken,
        hours * 3_600.0 / wall / asked.jobs as f64,
    )?;
    // A simulator that does not come near the hard places any more proves nothing.
    let reaches_all = count < ALL_REACHED || asked.bug.is_some() || sum.tally.never().is_empty();
    Ok(exit_code(sum.broken == 0 && reaches_all))
}

/// What came of many seeds.
#[derive(Default)]
struct Sum {
    tally: Tally,
    simulated_us: u64,
    broken: u64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.tally.add(&report.tally);
        self.simulated_us += report.simulated_us;
        self.broken += u64::from(report.violation.is_some());
    }

    fn merge(&mut self, other: Self) {
        self.tally.add(&other.tally);
        self.simulated_us += other.simulated_us;
        self.broken += other.broken;
    }
}

/// Plants every bug and says how soon it is caught, as a page of the documentation.
fn table_of_bugs() -> anyhow::Result<ExitCode> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = std::io::stdout().lock();
    writeln!(out, "# Planted bugs\n")?;
    writeln!(
        out,
        "A simulator that never finds anything proves little. Each of these bugs is planted on purpose, and the simulator must catch it by a\n\
         promise that it breaks. Made by `cargo run --release -p sim -- --bugs`; the test `every_planted_bug_is_caught` keeps it true.\n"
    )?;
    writeln!(
        out,
        "| bug | what it does | caught by | seeds until then | seconds |"
    )?;
    writeln!(out, "| --- | --- | --- | --- | --- |")?;
    let mut caught = 0;
    for bug in Bug::ALL {
        let begun = Instant::now();
        let found = (0..BUG_SEEDS).find_map(|seed| {
            let violation = sim::run(seed, Some(bug), Detail::None).violation?;
            Some((seed, violation.code))
        });
        let seconds = begun.elapsed().as_secs_f64();
        let (by, seeds) = match found {
            Some((seed, code)) => (code.to_owned(), (seed + 1).to_string()),
            None => (bug.elsewhere().to_owned(), format!("more than {BUG_SEEDS}")),
        };
        caught += u32::from(found.is_some() || !bug.elsewhere().is_empty());
        writeln!(
            out,
            "| {bug} | {} | {by} | {seeds} | {seconds:.1} |",
            bug.words()
        )?;
    }
    writeln!(out, "\n{caught} of {} are caught.", Bug::ALL.len())?;
    Ok(exit_code(caught as usize == Bug::ALL.len()))
}

fn exit_code(is_good: bool) -> ExitCode {
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Asked> {
    let mut asked = Asked {
        seeds: 0..0,
        many: false,
        jobs: 1,
        bug: None,
        bugs: false,
        detail: Detail::News,
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => {
                let range = arguments.next().context("--seeds A..B")?;
                let (first, end) = range.split_once("..").context("--seeds A..B")?;
                asked.seeds = first.parse()?..end.parse()?;
                asked.many = true;
            }
            "--jobs" => asked.jobs = arguments.next().context("--jobs N")?.parse()?,
            "--bug" => {
                let name = arguments.next().context("--bug NAME")?;
                let bug = Bug::ALL.into_iter().find(|bug| bug.to_string() == name);
                asked.bug = Some(bug.with_context(|| format!("no bug is named {name}"))?);
            }
            "--bugs" => asked.bugs = true,
            "--all" => asked.detail = Detail::Everything,
            seed => {
                let seed: u64 = seed
                    .parse()
                    .with_context(|| format!("{seed:?} is no seed"))?;
                asked.seeds = seed..seed + 1;
            }
        }
    }
    if (asked.seeds.is_empty() && !asked.bugs) || asked.jobs == 0 {
        bail!("no seed was named");
    }
    Ok(asked)
}
