//! Networks that are cut, slow and broken.

use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::{leader, pause};
use crate::faults::{Fleet, Party, Rule};

/// One megabit, in bytes.
const MEGABIT: u64 = 125_000;

fn stall() -> Rule {
    Rule {
        stall: true,
        ..Rule::default()
    }
}

/// Everyone whom a coordinator speaks to.
fn others(fleet: &Fleet, one: usize) -> Vec<Party> {
    (0..fleet.size())
        .filter(|at| *at != one)
        .map(Party::Coordinator)
        .collect()
}

/// The leader cannot reach the others; now and then clients and workers cannot reach it either. A coordinator that is alone is cut
/// off from these.
pub(super) async fn partition_leader(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    let leader = leader(fleet, chance).await;
    let mut cut = others(fleet, leader);
    if cut.is_empty() || chance.random_ratio(1, 3) {
        cut.push(Party::Client);
        cut.extend((0..fleet.workers()).map(Party::Worker));
    }
    for other in cut {
        fleet
            .rules
            .set_between(Party::Coordinator(leader), other, &stall());
    }
    pause(chance, 1_000, 6_000).await;
}

/// One coordinator is heard by nobody, or hears nobody.
pub(super) async fn one_way(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    let one = if chance.random() {
        leader(fleet, chance).await
    } else {
        chance.random_range(0..fleet.size())
    };
    let mut cut = others(fleet, one);
    if cut.is_empty() {
        cut.push(Party::Client);
    }
    let is_mute = chance.random();
    for other in cut {
        let (from, to) = if is_mute {
            (Party::Coordinator(one), other)
        } else {
            (other, Party::Coordinator(one))
        };
        fleet.rules.set(from, to, stall());
    }
    pause(chance, 1_000, 6_000).await;
}

/// Every coordinator is cut off from some, and none from all.
pub(super) async fn bridge(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    let bridge = chance.random_range(0..fleet.size());
    let rest: Vec<usize> = (0..fleet.size()).filter(|at| *at != bridge).collect();
    let (left, right) = rest.split_at(rest.len() / 2);
    for one in left {
        for other in right {
            fleet.rules.set_between(
                Party::Coordinator(*one),
                Party::Coordinator(*other),
                &stall(),
            );
        }
    }
    pause(chance, 1_000, 6_000).await;
}

/// Everything is 200 ms late, give or take 100, and now and then nothing passes between two for a while.
pub(super) async fn delay(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    let late = Rule {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(200),
        ..Rule::default()
    };
    let everyone = (0..fleet.workers())
        .map(Party::Worker)
        .chain([Party::Client]);
    let mut pairs: Vec<(Party, Party)> = Vec::new();
    for at in 0..fleet.size() {
        let one = Party::Coordinator(at);
        pairs.extend(others(fleet, at).into_iter().map(|other| (one, other)));
        pairs.extend(everyone.clone().map(|other| (one, other)));
    }
    for (one, other) in &pairs {
        fleet.rules.set_between(*one, *other, &late);
    }
    for _ in 0..chance.random_range(1..4) {
        pause(chance, 500, 1_500).await;
        let (one, other) = pairs[chance.random_range(0..pairs.len())];
        fleet.rules.set_between(one, other, &stall());
        pause(chance, 100, 1_000).await;
        fleet.rules.set_between(one, other, &late);
    }
}

/// A narrow link between coordinators.
pub(super) async fn throttle(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    let narrow = Rule {
        bytes_per_second: Some(MEGABIT),
        ..Rule::default()
    };
    for at in 0..fleet.size() {
        let mut narrowed = others(fleet, at);
        if narrowed.is_empty() {
            narrowed.push(Party::Client);
        }
        for other in narrowed {
            fleet
                .rules
                .set_between(Party::Coordinator(at), other, &narrow);
        }
    }
    pause(chance, 2_000, 6_000).await;
}

/// All connections between two are reset, several times in a row; what was on its way is lost.
pub(super) async fn reset(fleet: &mut Fleet, chance: &mut ChaCha8Rng) {
    let reset = Rule {
        reset: true,
        ..Rule::default()
    };
    for _ in 0..chance.random_range(2..8) {
        let one = chance.random_range(0..fleet.size());
        let mut targets = others(fleet, one);
        targets.push(Party::Client);
        targets.extend((0..fleet.workers()).map(Party::Worker));
        let other = targets[chance.random_range(0..targets.len())];
        fleet
            .rules
            .set_between(Party::Coordinator(one), other, &reset);
        pause(chance, 20, 200).await;
        fleet.rules.heal();
        pause(chance, 50, 500).await;
    }
}
