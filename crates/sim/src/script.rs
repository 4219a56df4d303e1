//! Scripts: a story in a few lines, and what happened.
//!
//! ```text
//! coordinators 3 workers 2 slots 1
//! submit fan-out
//! crash c1
//! wait 5s
//! start c1
//! run-until idle
//! ----
//! …
//! ```
//!
//! Nothing goes wrong in a script but what it says. At its end every checker looks at the outcome.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};

use crate::Bug;
use crate::chance::Chance;
use crate::clients::PROJECT;
use crate::coordinator;
use crate::machine;
use crate::swarm::{SECOND, Swarm};
use crate::transcript::Detail;
use crate::world::World;

/// The line between a script and what happened.
pub const SEPARATOR: &str = "----\n";

/// Time between two commands.
const BETWEEN_US: u64 = 10_000;

/// Plays the commands of a script, with a bug planted or without; what happened, as it stands after the separator.
///
/// # Errors
/// When a command is not understood.
pub fn play(script: &str, bug: Option<Bug>) -> anyhow::Result<String> {
    let commands = script.split(SEPARATOR).next().unwrap_or_default();
    let mut lines = commands
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let [
        "coordinators",
        coordinators,
        "workers",
        workers,
        "slots",
        slots,
    ] = first[..]
    else {
        bail!("a script begins with: coordinators L workers N slots M");
    };
    let swarm = Swarm::quiet(coordinators.parse()?, workers.parse()?, slots.parse()?);
    let mut world = World::new(Chance::new(1), swarm, bug, Detail::News);
    let mut out = String::new();
    for line in lines {
        writeln!(out, "> {line}")?;
        command(&mut world, line).with_context(|| format!("in {line:?}"))?;
        // Commands follow each other as if a person typed them.
        world.run_until(world.stage.now_us() + BETWEEN_US);
        out.push_str(&world.stage.transcript.take());
    }
    world.finish();
    out.push_str(&summary(&world));
    Ok(out)
}

fn command(world: &mut World, line: &str) -> anyhow::Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["submit", blueprint] => world.clients.submit(&mut world.stage, blueprint),
        ["run", step] => world.clients.run(&mut world.stage, step),
        ["cancel", "pipeline", number] => world
            .clients
            .cancel_pipeline(&mut world.stage, number.parse()?),
        ["cancel", number] => {
            let number = number
                .strip_prefix('#')
                .context("an execution is named like #3")?;
            world
                .clients
                .cancel_execution(&mut world.stage, number.parse()?);
        }
        ["crash", "all"] => {
            (0..world.coordinators.len()).for_each(|id| world.crash_coordinator(id))
        }
        ["crash", at] if is_coordinator(at) => {
            world.crash_coordinator(coordinator_of(world, at)?);
        }
        ["start", at] if is_coordinator(at) => {
            let id = coordinator_of(world, at)?;
            if let Some(host) = world.coordinators.get_mut(id) {
                host.start(&mut world.stage);
            }
        }
        ["slow-disk", at, factor] => {
            let id = coordinator_of(world, at)?;
            if let Some(host) = world.coordinators.get_mut(id) {
                host.slow_down(factor.parse()?);
            }
        }
        ["lose-disk", at] => world.take_disk(coordinator_of(world, at)?, false),
        ["copy-disk", at] => {
            let id = coordinator_of(world, at)?;
            if let Some(host) = world.coordinators.get_mut(id) {
                host.copy_disk();
            }
        }
        ["put-back", at] => world.take_disk(coordinator_of(world, at)?, true),
        ["cut-off", at, length] => {
            let id = coordinator_of(world, at)?;
            world.cut_off(id, seconds(length)?, true, true);
        }
        ["pause", at, length] if is_coordinator(at) => {
            let id = coordinator_of(world, at)?;
            world.pause_coordinator(id, seconds(length)?);
        }
        ["pause", worker, length] => {
            let id = worker_of(world, worker)?;
            world.pause_machine(id, seconds(length)?);
        }
        ["crash", worker] => world.crash_daemon(worker_of(world, worker)?),
        ["start", worker] => {
            let id = worker_of(world, worker)?;
            world.machines[id].start_daemon(&mut world.stage);
        }
        ["reboot", worker] => world.reboot(worker_of(world, worker)?),
        ["cut", worker] => {
            let id = worker_of(world, worker)?;
            world.wires.network.cut_machine(&mut world.stage, id);
        }
        ["partition", worker, length] => {
            let id = worker_of(world, worker)?;
            world.partition(id, seconds(length)?);
        }
        ["drain", worker] => world.drain(worker_of(world, worker)?, true),
        ["undrain", worker] => world.drain(worker_of(world, worker)?, false),
        ["wait", length] => world.run_until(world.stage.now_us() + seconds(length)?),
        ["run-until", "parts", worker] => world.run_until_parts(worker_of(world, worker)?),
        ["run-until", "idle"] => world.run_until_idle(),
        _ => bail!("not a command"),
    }
    Ok(())
}

/// Coordinators are named `c1`, `c2` …, or `leader`.
fn is_coordinator(name: &str) -> bool {
    name == "leader" || coordinator::id_of(name).is_some()
}

fn coordinator_of(world: &World, name: &str) -> anyhow::Result<usize> {
    if name == "leader" {
        return world.coordinators.leader().context("nobody leads");
    }
    coordinator::id_of(name)
        .filter(|id| *id < world.coordinators.len())
        .with_context(|| format!("there is no coordinator {name}"))
}

fn worker_of(world: &World, name: &str) -> anyhow::Result<usize> {
    machine::id_of(name)
        .filter(|id| *id < world.machines.len())
        .with_context(|| format!("there is no worker {name}"))
}

/// `5s` or `200ms`, in microseconds.
fn seconds(text: &str) -> anyhow::Result<u64> {
    if let Some(ms) = text.strip_suffix("ms") {
        return Ok(ms.parse::<u64>()? * 1_000);
    }
    let seconds = text
        .strip_suffix('s')
        .context("a time is like 5s or 200ms")?;
    Ok(seconds.parse::<u64>()? * SECOND)
}

/// Where everything stands.
fn summary(world: &World) -> String {
    let mut out = String::new();
    let ledger = world.coordinators.newest();
    let mut pipelines: Vec<_> = ledger.pipelines(PROJECT).collect();
    pipelines.reverse();
    let mut executions: Vec<_> = ledger.executions(PROJECT).collect();
    executions.reverse();
    // Writing to a string cannot fail.
    for pipeline in pipelines {
        let _ = writeln!(
            out,
            "pipeline {} {}: {:?} {}",
            pipeline.number, pipeline.blueprint.name, pipeline.state, pipeline.message
        );
    }
    for execution in executions {
        let outputs = execution.outputs.iter().filter_map(|id| ledger.datum(id));
        let outputs: Vec<&str> = outputs.map(|datum| datum.file_name.as_str()).collect();
        let attempts: Vec<String> = execution
            .attempts
            .iter()
            .map(|attempt| format!("{} {:?}", attempt.worker, attempt.state))
            .collect();
        let _ = writeln!(
            out,
            "#{} {}: {:?} {:?}; attempts: {}; outputs: {}",
            execution.number,
            execution.template().step,
            execution.state(),
            execution.end_reason,
            attempts.join(", "),
            outputs.join(", "),
        );
    }
    match world.violation() {
        None => out.push_str("every promise was kept\n"),
        Some(violation) => {
            let _ = writeln!(out, "{violation}");
        }
    }
    out.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}
