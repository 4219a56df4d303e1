//! One seed, from its beginning to its report.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::bug::Bug;
use crate::chance::Chance;
use crate::checkers::Violation;
use crate::swarm::Swarm;
use crate::tally::Tally;
use crate::transcript::Detail;
use crate::world::World;

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The promise that was broken first, if one was.
    pub violation: Option<Violation>,
    /// Microseconds that passed in the run.
    pub simulated_us: u64,
    /// What the run came by.
    pub tally: Tally,
    /// Hash of every line of the transcript, kept or not.
    pub hash: u64,
    /// The lines that were kept.
    pub transcript: String,
}

/// Runs a seed, with a bug planted or without.
pub fn run(seed: u64, bug: Option<Bug>, detail: Detail) -> Report {
    let mut chance = Chance::new(seed);
    let swarm = Swarm::draw(&mut chance);
    let mut world = World::new(chance, swarm, bug, detail);
    // A mind that asserts what no longer holds panics: that is a finding like any other.
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let time_us = world.stage.now_us();
    let panicked = ended.err().map(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| {
            panic
                .downcast_ref::<&str>()
                .map(|words| (*words).to_owned())
        });
        Violation {
            code: "panic",
            what: words.unwrap_or_default(),
            time_us,
        }
    });
    Report {
        seed,
        violation: panicked.or_else(|| world.violation().cloned()),
        simulated_us: time_us,
        tally: world.stage.tally,
        hash: world.stage.transcript.hash(),
        transcript: world.stage.transcript.take(),
    }
}
