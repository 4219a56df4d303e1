//! Membership: growing, shrinking, replacing; and ledgers that are compared.

use contract::api::ErrorReason;
use contract::ledger::Snapshot;
use coordinator::{Answer, Request};

use crate::world::{Disk, World, uuid};

fn add(world: &mut World, id: u64, address: &str, request: u128) -> u64 {
    let request = Request::AddMember {
        request_id: uuid(request),
        address: address.into(),
        feature_level: 0,
    };
    let token = world.ask(id, request);
    world.run(4);
    match world.answers.get(&token) {
        Some(Ok(Answer::Member { member_id })) => *member_id,
        other => panic!("{other:?}"),
    }
}

fn remove(
    world: &mut World,
    id: u64,
    member_id: u64,
    request: u128,
) -> Result<Answer, ErrorReason> {
    let request = Request::RemoveMember {
        request_id: uuid(request),
        member_id,
    };
    let token = world.ask(id, request);
    world.run(4);
    let answer = world.answers.get(&token).cloned().expect("it is answered");
    answer.map_err(|refusal| refusal.reason)
}

/// One founder and two that join.
pub fn grown() -> World {
    let mut world = World::of(1, 1);
    for (id, request) in [(2, 101), (3, 102)] {
        let address = format!("c{id}:1");
        assert_eq!(add(&mut world, 1, &address, request), id);
        assert_eq!(
            add(&mut world, 1, &address, request),
            id,
            "I-02: a repeat is the same member"
        );
        world.add(id, Disk::default());
        world.run(60);
        assert!(
            world.mind(1).members().voters.contains(&id),
            "{:?}",
            world.mind(1).members()
        );
    }
    world
}

/// Three of which the third is lost; a fourth has just been admitted in its place. And who leads.
fn replacing() -> (World, u64) {
    let mut world = grown();
    world.crash(3, 0);
    world.nodes.remove(&3);
    world.run(60);
    let leader = world.leader().unwrap();
    assert!(remove(&mut world, leader, 3, 500).is_ok());
    world.run(20);
    let leader = world.leader().unwrap();
    assert_eq!(add(&mut world, leader, "c3:1", 501), 4);
    world.add(4, Disk::default());
    (world, leader)
}

/// One message arrives, or where none is on its way a tick passes: so no moment is missed.
fn advance(world: &mut World) {
    if world.network.is_empty() {
        let ids: Vec<u64> = world.nodes.keys().copied().collect();
        ids.into_iter().for_each(|id| world.tick(id));
    } else {
        world.deliver(0, false);
    }
}

#[test]
fn one_grows_to_three_and_survives_its_founder() {
    let mut world = grown();
    for request in 0..5 {
        world.submit(1, request);
        world.run(2);
    }
    for node in world.nodes.values() {
        let views: Vec<_> = node
            .members
            .iter()
            .map(|view| (view.member_id, &*view.address, view.learner))
            .collect();
        assert_eq!(
            views,
            [(1, "c1:1", false), (2, "c2:1", false), (3, "c3:1", false)]
        );
    }
    world.crash(1, 0);
    world.elect();
    let token = world.submit(world.leader().unwrap(), 50);
    world.run(4);
    assert!(world.answers[&token].is_ok());
    world.heal_and_check();
}

#[test]
fn a_leader_that_is_removed_hands_over_and_its_id_never_comes_back() {
    let mut world = grown();
    assert_eq!(
        remove(&mut world, 1, 1, 200),
        Ok(Answer::Member { member_id: 1 })
    );
    world.run(100);
    let leader = world.leader().unwrap();
    assert_ne!(leader, 1);
    assert_eq!(world.mind(leader).members().voters, [2, 3]);
    // It knows, or hears nothing any more.
    world.crash(1, 0);
    world.nodes.remove(&1);
    let id = add(&mut world, leader, "c1:1", 201);
    assert_eq!(id, 4, "I-13: a machine that comes back is somebody else");
    world.add(4, Disk::default());
    world.run(60);
    assert_eq!(world.mind(leader).members().voters, [2, 3, 4]);
    world.heal_and_check();
}

#[test]
fn what_would_leave_no_majority_is_refused() {
    let mut world = grown();
    world.crash(2, 0);
    world.run(40);
    let leader = world.leader().unwrap();
    let other = if leader == 1 { 3 } else { 1 };
    assert_eq!(
        remove(&mut world, leader, other, 300),
        Err(ErrorReason::StateForbids)
    );
    assert_eq!(
        remove(&mut world, leader, 9, 301),
        Err(ErrorReason::ResourceNotFound)
    );
    // The one that is down can go.
    assert!(remove(&mut world, leader, 2, 302).is_ok());
    world.run(40);
    assert!(!world.mind(leader).members().voters.contains(&2));
    let mut alone = World::of(1, 2);
    assert_eq!(
        remove(&mut alone, 1, 1, 303),
        Err(ErrorReason::StateForbids)
    );
}

/// The answer to a removal is lost, the request comes again, and by then the change is under way and nobody else can be heard.
#[test]
fn a_removal_that_was_answered_is_never_refused_later() {
    let mut world = grown();
    world.crash(2, 0);
    world.run(40);
    let leader = world.leader().unwrap();
    let request = Request::RemoveMember {
        request_id: uuid(300),
        member_id: 2,
    };
    let token = world.ask(leader, request.clone());
    let mut steps = 0;
    while !world.answers.contains_key(&token) {
        world.deliver(0, false);
        steps += 1;
        assert!(steps < 1_000, "it is never answered");
    }
    assert!(world.mind(leader).members().voters.contains(&2));
    // Nothing is heard of the other any more, and the leader has not stepped down yet.
    world.network.clear();
    let heard = |world: &World| {
        world
            .mind(leader)
            .group()
            .is_heard(if leader == 1 { 3 } else { 1 })
    };
    while heard(&world) {
        world.tick(leader);
        world.network.clear();
    }
    let again = world.ask(leader, request);
    let refused = world
        .answers
        .get(&again)
        .and_then(|answer| answer.as_ref().err());
    assert!(
        refused.is_none_or(|refusal| refusal.reason != ErrorReason::StateForbids),
        "I-02: {refused:?}"
    );
}

/// A member is replaced, and as soon as anybody shows the new one as voting, one of the others may be lost: with whom it has been
/// seen to vote, a majority is left.
#[test]
fn once_a_new_member_is_shown_to_vote_another_may_be_lost() {
    for (seen_by, lost) in [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2)] {
        let (mut world, _) = replacing();
        let is_shown = |world: &World| {
            let members = &world.nodes[&seen_by].members;
            members.len() == 3 && members.iter().all(|view| !view.learner)
        };
        let mut steps = 0;
        while !is_shown(&world) {
            advance(&mut world);
            steps += 1;
            assert!(steps < 50_000, "it never votes");
        }
        world.crash(lost, 0);
        world.nodes.remove(&lost);
        world.run(200);
        let leader = world.leader();
        let leader =
            leader.unwrap_or_else(|| panic!("seen by {seen_by}, {lost} is lost: nobody leads"));
        let token = world.submit(leader, 60);
        world.run(4);
        assert!(world.answers[&token].is_ok());
        assert!(remove(&mut world, leader, lost, 502).is_ok());
        world.run(60);
        assert_eq!(world.mind(leader).members().voters.len(), 2);
    }
}

#[test]
fn a_change_that_a_leader_began_is_finished_by_the_next() {
    for steps in 0..24 {
        let mut world = grown();
        world.add(4, Disk::default());
        let leader = world.leader().unwrap();
        let request = Request::AddMember {
            request_id: uuid(400),
            address: "c4:1".into(),
            feature_level: 0,
        };
        let token = world.ask(leader, request);
        for _ in 0..steps {
            world.deliver(0, false);
        }
        world.crash(leader, 0);
        world.run(100);
        world.start(leader);
        world.run(200);
        let leader = world.leader().unwrap();
        let known = world.nodes[&leader].published.members().count();
        let answered = matches!(world.answers.get(&token), Some(Ok(_)));
        assert!(known == 4 || !answered);
        if known == 4 {
            assert_eq!(
                world.mind(leader).members().voters,
                [1, 2, 3, 4],
                "after {steps} messages"
            );
        }
        world.heal_and_check();
    }
}

#[test]
fn a_member_that_was_away_for_long_is_sent_a_snapshot_and_the_log_stays_short() {
    let mut world = World::of(3, 9);
    world.snapshot_entries = 50;
    for id in 1..=3 {
        world.crash(id, 0);
        world.start(id);
    }
    world.elect();
    let leader = world.leader().unwrap();
    let away = leader % 3 + 1;
    world.crash(away, 0);
    for request in 0..300 {
        world.submit(leader, request);
        world.drain();
    }
    assert!(
        world.mind(leader).group().log_len() <= 100,
        "{}",
        world.mind(leader).group().log_len()
    );
    assert_eq!(world.snapshots_taken, 0);
    world.start(away);
    world.run(20);
    assert!(world.snapshots_taken >= 1);
    assert_eq!(
        world.nodes[&away].published.revision(),
        world.nodes[&leader].published.revision()
    );
    // One that misses little is sent entries.
    world.crash(away, 0);
    let taken = world.snapshots_taken;
    for request in 300..310 {
        world.submit(leader, request);
        world.drain();
    }
    world.start(away);
    world.run(20);
    assert_eq!(world.snapshots_taken, taken);
    world.heal_and_check();
}

#[test]
fn a_member_whose_ledger_differs_stops_and_says_so() {
    let mut world = World::of(3, 10);
    world.snapshot_entries = 100;
    for id in 1..=3 {
        world.crash(id, 0);
        world.start(id);
    }
    world.elect();
    let leader = world.leader().unwrap();
    for request in 0..120 {
        world.submit(leader, request);
        world.drain();
    }
    let odd = leader % 3 + 1;
    world.crash(odd, 0);
    world
        .nodes
        .get_mut(&odd)
        .unwrap()
        .disk
        .tamper(|snapshot: &mut Snapshot| {
            snapshot.digest = vec![7; 32].into();
        });
    // Publishing it would be noticed by the test itself: only what the member says counts here.
    world.compares = false;
    world.start(odd);
    for request in 120..1_200 {
        world.submit(leader, request);
        world.drain();
    }
    let why = world.nodes[&odd].halted.clone().expect("I-04: it stops");
    assert!(why.contains("differs"), "{why}");
    let others = world
        .nodes
        .values()
        .filter(|node| node.halted.is_some())
        .count();
    assert_eq!(others, 1);
}

#[test]
fn that_a_change_was_decided_outlives_a_start_of_all_that_are_left() {
    // Nothing was asked for since the last of three joined.
    for gone in 1..=3 {
        let mut world = grown();
        for id in 1..=3 {
            world.crash(id, 0);
        }
        world.cut.insert(gone);
        for id in (1..=3).filter(|id| *id != gone) {
            world.start(id);
        }
        world.elect();
        assert_ne!(world.leader(), Some(gone));
    }
}

/// The same while requests come in at every moment: what follows a change in the log may have been sent before the change was decided, and then says
/// nothing of it to the disks.
#[test]
fn a_change_that_counts_as_known_outlives_a_start_of_all_that_are_left() {
    for (every, gone) in (1..=12).flat_map(|every| [(every, 1), (every, 2), (every, 4)]) {
        let (mut world, leader) = replacing();
        let is_known = |world: &World| {
            let mind = world.mind(leader);
            mind.members().voters == [1, 2, 4]
                && mind.members().voters_outgoing.is_empty()
                && mind.group().is_change_known()
        };
        let mut steps = 0;
        while !is_known(&world) {
            advance(&mut world);
            steps += 1;
            if steps % every == 0 && steps / every < 400 {
                world.submit(leader, 1_000 + steps);
            }
            assert!(steps < 50_000, "it is never known");
        }
        for id in [1, 2, 4] {
            world.crash(id, 0);
        }
        world.network.clear();
        world.nodes.remove(&gone);
        for id in [1, 2, 4].into_iter().filter(|id| *id != gone) {
            world.start(id);
        }
        world.run(400);
        assert!(
            world.leader().is_some(),
            "{gone} is gone, a request every {every} steps: nobody leads"
        );
    }
}
