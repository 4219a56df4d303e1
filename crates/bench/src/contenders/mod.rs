//! Who can do a round's work.

pub(crate) mod shoal;

pub(crate) mod floor;

pub(crate) mod docker;

mod peer;

pub(crate) mod cluster;

pub(crate) mod group;

mod etcd;

mod processor;

use crate::args;
use crate::work::Work;

/// One that does a round's work and tells how long it took.
pub(crate) trait Contender {
    /// Name in the table.
    fn name(&self) -> &str;

    /// Does the work once. For [`Work::Single`] the seconds of each step, else one number: the seconds of all.
    fn round(&mut self, work: Work) -> anyhow::Result<Vec<f64>>;

    /// What the last round's figure is made of, where that is known: names and milliseconds of a step.
    fn parts(&mut self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
}

/// Everyone who takes part in a race: the floor first.
pub(crate) fn all(arguments: &args::Race, work: Work) -> anyhow::Result<Vec<Box<dyn Contender>>> {
    let scratch = || cluster::scratch(&arguments.common);
    let script = match work {
        Work::Single { script, .. } | Work::Many { script, .. } => script.text(),
        Work::Chain { .. } => "read and write",
    };
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.push(Box::new(floor::Processes::new(script, scratch()?)?));
    if matches!(work, Work::Single { .. }) {
        contenders.push(Box::new(floor::Sync::new(scratch()?)?));
    }
    contenders.push(Box::new(match &arguments.cluster {
        Some(address) => shoal::Shoal::at(address)?,
        None => shoal::Shoal::start(&arguments.common, arguments.slots)?,
    }));
    for peer in &arguments.peers {
        contenders.push(Box::new(peer::Peer::start(peer, arguments.slots)?));
    }
    Ok(contenders)
}
