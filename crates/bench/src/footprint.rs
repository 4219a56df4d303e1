//! P10, footprint: memory of an idle worker, what the coordinator keeps of a finished execution, and how soon the embedded
//! node runs its first step.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::args;
use crate::contenders::{Contender as _, cluster, shoal::Shoal};
use crate::report::Figure;
use crate::work::{Script, Unit, Work};

const ROW: &str = "P10";

/// Tells when its program began, as seconds since the epoch.
const CLOCK: &str =
    "- step:\n    name: clock\n    image: busybox\n    command: echo \"$EPOCHREALTIME\"\n";

pub(crate) fn run(arguments: &args::Footprint) -> anyhow::Result<Vec<Figure>> {
    let mut floor = Figure::new(ROW, "floor: bash to its first line", Unit::Milliseconds);
    let mut embedded = Figure::new(ROW, "embedded start to first step", Unit::Milliseconds);
    let mut idle = Figure::new(ROW, "worker idle, resident", Unit::Mebibytes);
    let mut memory = Figure::new(ROW, "coordinator, memory", Unit::BytesEach);
    let mut disk = Figure::new(ROW, "coordinator, disk", Unit::BytesEach);
    for round in 0..arguments.common.rounds {
        eprintln!("{ROW} round {round}");
        floor.rounds.push(shell_start()?);
        embedded.rounds.push(embedded_start(&arguments.common)?);
        let mut shoal = Shoal::start(&arguments.common, 2)?;
        idle.rounds
            .push(mebibytes(shoal.cluster()?.worker_memory()?));
        let before = (
            shoal.cluster()?.coordinator_memory()?,
            shoal.cluster()?.coordinator_disk()?,
        );
        shoal.round(Work::Many {
            count: arguments.count,
            slots: 2,
            script: Script::Builtin,
        })?;
        let each =
            |after: u64, before: u64| after.saturating_sub(before) as f64 / arguments.count as f64;
        memory
            .rounds
            .push(each(shoal.cluster()?.coordinator_memory()?, before.0));
        disk.rounds
            .push(each(shoal.cluster()?.coordinator_disk()?, before.1));
    }
    Ok(vec![floor, embedded, idle, memory, disk])
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Milliseconds from starting a shell to its first line.
fn shell_start() -> anyhow::Result<f64> {
    let mut command = Command::new("bash");
    command.args(["-c", "echo \"$EPOCHREALTIME\""]);
    first_line(command)
}

/// Milliseconds from starting `shoal execution run` in a directory that has no node yet to the first line of the step.
fn embedded_start(common: &args::Common) -> anyhow::Result<f64> {
    let directory = cluster::scratch(common)?;
    std::fs::write(directory.path().join("valohai.yaml"), CLOCK)?;
    let mut command = Command::new(cluster::program(common)?);
    command
        .args(["execution", "run", "clock"])
        .current_dir(directory.path());
    command.env_remove("SHOAL_CLUSTER").stderr(Stdio::null());
    first_line(command)
}

/// Milliseconds from starting a command to the time that it prints, whenever that is seen.
fn first_line(mut command: Command) -> anyhow::Result<f64> {
    let (start, began) = (std::time::SystemTime::now(), Instant::now());
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let start = start.duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    let printed = text
        .split_whitespace()
        .filter_map(|word| word.replace(',', ".").parse::<f64>().ok())
        .find(|time| (start..start + began.elapsed().as_secs_f64()).contains(time))
        .with_context(|| format!("no time in {text:?}"))?;
    Ok((printed - start) * 1_000.0)
}
