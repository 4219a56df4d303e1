//! P12, the cold build of the workspace: debug, everything of it, nothing compiled before. Sources of dependencies are there.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::args;
use crate::report::Figure;
use crate::work::Unit;

pub(crate) fn run(arguments: &args::Build) -> anyhow::Result<Vec<Figure>> {
    let mut rounds = Vec::new();
    let fetched = Command::new("cargo")
        .args(["fetch", "--locked"])
        .current_dir(&arguments.workspace)
        .status()?;
    ensure!(fetched.success(), "cargo fetch ended with {fetched}");
    for round in 0..arguments.rounds {
        let target = tempfile::tempdir()?;
        let start = Instant::now();
        let status = Command::new("cargo")
            .args(["build", "--workspace", "--locked", "--offline", "--quiet"])
            .env("CARGO_TARGET_DIR", target.path())
            .current_dir(&arguments.workspace)
            .status()
            .context("cannot start cargo")?;
        ensure!(status.success(), "cargo build ended with {status}");
        rounds.push(start.elapsed().as_secs_f64());
        eprintln!("P12 round {round}: {:.0} s", start.elapsed().as_secs_f64());
    }
    let mut figure = Figure::new("P12", "cold build, debug", Unit::Seconds);
    figure.rounds = rounds;
    Ok(vec![figure])
}
