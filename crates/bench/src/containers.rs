//! P11: one step in a container, and a hundred, beside what the engine's own command needs for the same.

use crate::args;
use crate::contenders::Contender;
use crate::contenders::cluster::scratch;
use crate::contenders::docker::DockerRun;
use crate::contenders::shoal::Shoal;
use crate::race;
use crate::report::Figure;
use crate::work::{Script, Work};

/// Networks, the usual one first.
const NETWORKS: [&str; 2] = ["bridge", "none"];

/// Runs both kinds of rounds.
pub(crate) fn run(arguments: &args::Containers) -> anyhow::Result<Vec<Figure>> {
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    for network in NETWORKS {
        let directory = scratch(&arguments.common)?;
        contenders.push(Box::new(DockerRun::new(
            &arguments.image,
            network,
            directory,
        )));
        contenders.push(Box::new(Shoal::of_containers(
            &arguments.common,
            arguments.slots,
            &arguments.image,
            network,
        )?));
    }
    let script = Script::Builtin;
    let single = Work::Single {
        count: arguments.count,
        script,
    };
    let many = Work::Many {
        count: arguments.many,
        slots: arguments.slots,
        script,
    };
    let rounds = arguments.common.rounds;
    let mut figures = race::rounds("P11", &mut contenders, rounds, single)?;
    let mut all_at_once = race::rounds("P11", &mut contenders, rounds, many)?;
    figures.append(&mut all_at_once);
    Ok(figures)
}
