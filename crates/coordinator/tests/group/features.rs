//! I-12: the feature level rises once every member knows it, and who knows less stops by name.

use std::collections::BTreeMap;

use contract::ledger::Snapshot;
use proptest::prelude::*;

use crate::cases;
use crate::world::World;

/// A group whose members know these levels.
fn knowing(levels: &[u32]) -> World {
    let mut world = World::of(levels.len() as u64, 7);
    for (id, level) in (1..).zip(levels) {
        upgrade(&mut world, id, *level);
    }
    world.elect();
    world.run(40);
    world
}

/// Restarts a member with another version.
fn upgrade(world: &mut World, id: u64, level: u32) {
    world.crash(id, 100);
    world.levels.insert(id, level);
    world.start(id);
}

fn level(world: &World) -> u32 {
    let published = world.nodes.values().map(|node| &node.published);
    published
        .map(|ledger| ledger.feature_level())
        .max()
        .unwrap()
}

/// Writes something, so that everybody has the newest entry.
fn write(world: &mut World, request: u128) {
    world.elect();
    let leader = world.leader().unwrap();
    let token = world.submit(leader, request);
    world.run(60);
    assert!(world.answers[&token].is_ok(), "{:?}", world.answers[&token]);
}

#[test]
fn the_level_rises_when_the_last_member_was_upgraded_and_no_sooner() {
    let mut world = knowing(&[1, 1, 1]);
    assert_eq!(level(&world), 1);
    for (id, expected) in [(1, 1), (2, 1), (3, 2)] {
        upgrade(&mut world, id, 2);
        write(&mut world, 100 + u128::from(id));
        assert_eq!(level(&world), expected, "after member {id}");
    }
    world.heal_and_check();
    let ledger = &world.nodes[&1].published;
    assert_eq!(ledger.feature_version(), "0.1.0");
}

#[test]
fn a_member_that_is_put_back_stops_by_name() {
    let mut world = knowing(&[2, 2, 2]);
    write(&mut world, 1);
    assert_eq!(level(&world), 2);
    let leader = world.leader().unwrap();
    let other = 1 + leader % 3;
    upgrade(&mut world, other, 1);
    world.run(60);
    let halted = world.nodes[&other].halted.clone();
    let words = "this cluster is at feature level 2; this shoal (0.1.0) knows up to 1; use version 0.1.0 or newer";
    assert_eq!(halted.as_deref(), Some(words));
    // The others go on, and so does it with what it takes.
    world.nodes.get_mut(&other).unwrap().halted = None;
    upgrade(&mut world, other, 2);
    write(&mut world, 2);
    world.heal_and_check();
}

/// Whoever was away while the level rose hears of it in a snapshot, or in the log.
#[test]
fn a_member_that_was_away_stops_before_it_takes_part() {
    for snapshot_entries in [1_000, 5] {
        let mut world = knowing(&[2, 2, 1]);
        assert_eq!(level(&world), 1);
        world.snapshot_entries = snapshot_entries;
        world.crash(3, 100);
        // It says that it was upgraded, and is put back before it hears that the level rose.
        world.levels.insert(3, 2);
        for id in [1, 2] {
            upgrade(&mut world, id, 2);
        }
        world.elect();
        let leader = world.leader().unwrap();
        world.tell(3, leader);
        for request in 10..30 {
            write(&mut world, request);
        }
        assert_eq!(level(&world), 2);
        world.levels.insert(3, 1);
        world.start(3);
        world.run(200);
        let halted = world.nodes[&3].halted.clone().unwrap_or_default();
        assert!(halted.contains("feature level 2"), "{halted:?}");
        let published = &world.nodes[&3].published;
        assert!(published.feature_level() < 2, "nothing of it was applied");
    }
}

/// A snapshot of a level that nobody here knows is not read.
#[test]
fn a_start_from_a_higher_level_stops() {
    let mut world = knowing(&[1]);
    world.snapshot_entries = 1;
    upgrade(&mut world, 1, 1);
    write(&mut world, 1);
    world.crash(1, 100);
    let tampered = |snapshot: &mut Snapshot| {
        snapshot.feature_level = 9;
        snapshot.feature_version = "9.0.0".into();
    };
    world.nodes.get_mut(&1).unwrap().disk.tamper(tampered);
    world.start(1);
    let halted = world.nodes[&1].halted.clone().unwrap_or_default();
    assert!(halted.contains("use version 9.0.0 or newer"), "{halted:?}");
}

proptest! {
    #![proptest_config(cases(24))]

    /// Restarts with other versions in any order, while messages are lost: nobody that stays up knows less than its ledger needs, the level
    /// never falls, and in the end it is what all know.
    #[test]
    fn whatever_versions_come_and_go(steps in prop::collection::vec((1..4_u64, 1..4_u32, 0..60_usize, any::<bool>()), 1..14), seed: u64) {
        let mut world = World::of(3, seed);
        let mut seen = BTreeMap::new();
        for (id, level_of, messages, lose) in steps {
            upgrade(&mut world, id, level_of);
            world.run(30);
            for at in 0..messages {
                world.deliver(at * 7, lose && at % 3 == 0);
            }
            world.run(10);
            // By revision, not by what is published now: whoever knew of a rise may be down, and start again before it hears that it was decided.
            for ledger in world.nodes.values().map(|node| &node.published) {
                let (revision, now) = (ledger.revision(), ledger.feature_level());
                let same = *seen.entry(revision).or_insert(now);
                prop_assert_eq!(same, now, "I-12: two levels at revision {}", revision);
            }
            prop_assert!(seen.values().is_sorted(), "I-12: the level fell: {:?}", seen);
            for (id, node) in &world.nodes {
                let knows = world.levels.get(id).copied().unwrap_or_default();
                let is_up = node.mind.is_some() && node.halted.is_none();
                prop_assert!(!is_up || node.published.feature_level() <= knows, "I-12: member {} goes on", id);
            }
        }
        for id in 1..=3 {
            world.nodes.get_mut(&id).unwrap().halted = None;
            upgrade(&mut world, id, 3);
        }
        world.elect();
        world.run(200);
        world.heal_and_check();
        prop_assert_eq!(level(&world), 3);
    }
}
