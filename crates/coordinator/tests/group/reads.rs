//! Fresh reads: never stale, never for ever, on any member.

use contract::api::ErrorReason;
use coordinator::TICK_MS;

use crate::world::World;

#[test]
fn every_member_answers_with_what_was_acknowledged_before() {
    let mut world = World::of(3, 1);
    world.elect();
    let leader = world.leader().unwrap();
    for request in 0..20 {
        let token = world.submit(leader, request);
        world.drain();
        assert!(world.answers[&token].is_ok());
        let reads: Vec<u64> = (1..=3).map(|id| world.read(id)).collect();
        world.drain();
        world.run(1);
        for token in reads {
            assert!(
                matches!(world.read_answer(token), Some(Ok(_))),
                "{:?}",
                world.read_answer(token)
            );
        }
    }
}

#[test]
fn a_leader_that_was_deposed_and_does_not_know_it_answers_nothing_stale() {
    let mut world = World::of(3, 2);
    world.elect();
    world.run(10);
    let old = world.leader().unwrap();
    world.cut.insert(old);
    // The others elect another and acknowledge more; time does not pass for the old one.
    let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    for _ in 0..200 {
        others.iter().for_each(|id| world.tick(*id));
        world.drain();
        if world.leader().is_some() {
            break;
        }
    }
    let new = world.leader().unwrap();
    let token = world.submit(new, 1);
    world.drain();
    assert!(world.answers[&token].is_ok());
    assert!(
        world.mind(old).is_ready(),
        "it still takes itself for the leader"
    );
    let stale = world.read(old);
    world.drain();
    assert_eq!(world.read_answer(stale), None, "I-03, I-11: it cannot know");
    world.cut.clear();
    world.run(40);
    assert!(
        matches!(world.read_answer(stale), Some(Ok(_))),
        "it asked the new leader"
    );
}

#[test]
fn a_read_that_is_lost_on_the_way_is_asked_again() {
    let mut world = World::of(3, 3);
    world.elect();
    world.run(10);
    let leader = world.leader().unwrap();
    let follower = leader % 3 + 1;
    let read = world.read(follower);
    while !world.network.is_empty() {
        world.deliver(0, true);
    }
    assert_eq!(world.read_answer(read), None);
    world.run(20);
    assert!(matches!(world.read_answer(read), Some(Ok(_))));
}

#[test]
fn readers_that_nobody_can_answer_hear_so_within_five_seconds() {
    let mut world = World::of(3, 4);
    world.elect();
    let leader = world.leader().unwrap();
    let follower = leader % 3 + 1;
    world.cut.extend([leader, follower]);
    let reads = [world.read(leader), world.read(follower)];
    world.run(4_000 / TICK_MS);
    for read in reads {
        assert_eq!(world.read_answer(read), Some(Err(ErrorReason::NoQuorum)));
    }
}

#[test]
fn reads_that_wait_share_a_round() {
    let mut world = World::of(3, 5);
    world.elect();
    world.run(10);
    let leader = world.leader().unwrap();
    let follower = leader % 3 + 1;
    let first = world.read(follower);
    let asked = world.network.len();
    assert!(asked >= 1);
    // Rounds are few, however many ask.
    let reads: Vec<u64> = (0..100).map(|_| world.read(follower)).collect();
    assert!(
        world.network.len() <= 4,
        "{} messages for 101 reads",
        world.network.len()
    );
    world.run(20);
    for read in reads.into_iter().chain([first]) {
        assert!(matches!(world.read_answer(read), Some(Ok(_))));
    }
}

#[test]
fn a_member_alone_answers_at_once() {
    let mut world = World::of(1, 6);
    let token = world.submit(1, 1);
    assert!(world.answers[&token].is_ok());
    let read = world.read(1);
    assert!(matches!(world.read_answer(read), Some(Ok(_))));
    assert!(world.network.is_empty());
}
