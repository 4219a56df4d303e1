//! Workers that come, stay away and come again: what becomes of what they had.

use contract::api::State;
use contract::link::{Device, Offer, SynchronizeRequest};
use coordinator::{Input, SessionId};
use expect_test::expect;

use crate::world::{World, finished, running};

#[test]
fn what_a_machine_forgot_is_run_again_under_a_new_fence() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let before = world.fence();
    world.report(1, 1, vec![running(&before)]);
    // A power cut: the daemon comes back, and its disk knows nothing of the attempt.
    world.report(2, 2, vec![]);
    let after = world.fence();
    assert_eq!(
        (before.attempt, after.attempt),
        (1, 2),
        "I-06: no second program under one fence"
    );
    // What was assigned but had not started is simply sent again.
    world.report(3, 3, vec![]);
    assert_eq!(world.fence(), after);
}

#[test]
fn an_older_incarnation_is_sent_away() {
    let mut world = World::new();
    world.report(1, 5, vec![]);
    world.transcript.clear();
    world.report(2, 4, vec![]);
    world.check(expect![[r#"
        end session 2: STALE_INCARNATION: worker w1 has started again since; this daemon must stop
    "#]]);
}

/// I-16: what runs at the original is not lost to a copy of its directory, whatever the copy counts to.
#[test]
fn a_daemon_over_a_copied_directory_is_sent_away_while_the_original_lives() {
    let mut world = World::new();
    world.report_as(1, (5, "original"), vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let fence = world.fence();
    world.report_as(1, (5, "original"), vec![running(&fence)]);
    world.transcript.clear();
    world.report_as(2, (5, "copy"), vec![]);
    world.check(expect![[r#"
        end session 2: STALE_INCARNATION: worker w1 is another daemon, with the same name or a copy of this one's data directory; this daemon must stop
    "#]]);
    world.report_as(3, (6, "copy"), vec![]);
    world.check(expect![[r#"
        end session 3: DUPLICATE_WORKER: another daemon is in contact as worker w1: two have the same name, or copies of one data directory; stop one of them, or give it a name and a data directory of its own
    "#]]);
    // Nor by patience: the original speaks on.
    for _ in 0..4 {
        world.now.monotonic_us += 5_000_000;
        world.report_as(1, (5, "original"), vec![running(&fence)]);
        world.report_as(4, (7, "copy"), vec![]);
    }
    assert_eq!(world.state(1), State::Started);
    assert_eq!(world.fence(), fence, "I-06: no other attempt");
    let known = world.mind.ledger().worker("w1").unwrap();
    assert_eq!(
        (known.incarnation, &*known.instance_id),
        (5, b"original".as_slice())
    );
}

/// The machine may be gone whose connection stands.
#[test]
fn a_daemon_that_was_started_again_takes_the_place_of_one_that_is_gone_or_silent() {
    let mut world = World::new();
    world.report_as(1, (1, "first"), vec![]);
    world.handle(Input::WorkerGone {
        session: SessionId(1),
    });
    world.report_as(2, (2, "second"), vec![]);
    assert_eq!(world.mind.ledger().worker("w1").unwrap().incarnation, 2);
    // Its connection stands, and it says nothing: a power cut.
    world.now.monotonic_us += 10_000_001;
    world.report_as(3, (3, "third"), vec![]);
    assert_eq!(world.mind.ledger().worker("w1").unwrap().incarnation, 3);
    world.transcript.clear();
    // The same daemon on another connection, before the first one is seen to have ended.
    world.report_as(4, (3, "third"), vec![]);
    world.check(expect![[r#"
        desired 4:
    "#]]);
}

/// Equal counts are told apart also where the original is away for a moment.
#[test]
fn a_copy_does_not_slip_in_while_the_original_is_away() {
    let mut world = World::new();
    world.report_as(1, (5, "original"), vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let fence = world.fence();
    world.report_as(1, (5, "original"), vec![running(&fence)]);
    world.handle(Input::WorkerGone {
        session: SessionId(1),
    });
    world.restart();
    world.handle(Input::Tick);
    world.desired.clear();
    world.report_as(2, (5, "copy"), vec![]);
    assert!(
        world.desired.is_empty(),
        "I-06: the copy is told to run nothing"
    );
    world.report_as(3, (5, "original"), vec![running(&fence)]);
    assert_eq!((world.fence(), world.state(1)), (fence, State::Started));
}

#[test]
fn a_worker_that_stays_away_loses_its_attempts_and_its_late_result_is_refused() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let lost = world.fence();
    world.handle(Input::WorkerGone {
        session: SessionId(1),
    });
    world.now.monotonic_us += 59_000_000;
    world.handle(Input::Tick);
    assert!(
        world
            .mind
            .ledger()
            .execution("p", 1)
            .unwrap()
            .live_attempt()
            .is_some(),
        "not yet"
    );
    world.now.monotonic_us += 2_000_000;
    world.handle(Input::Tick);
    assert!(world.mind.ledger().execution("p", 1).unwrap().is_waiting());
    world.report(2, 2, vec![running(&lost)]);
    assert_eq!(
        (world.fence().attempt, world.desired.len()),
        (2, 1),
        "I-07: the old attempt is not desired any more"
    );
    let hash = world.mind.ledger().state_hash();
    world.report(2, 2, vec![finished(&lost)]);
    assert_eq!(
        world.mind.ledger().state_hash(),
        hash,
        "I-07: its late result is refused"
    );
}

/// RELIABILITY (e): replaced after `lost_after` and five seconds at most, also if its connection stands.
#[test]
fn a_worker_that_sleeps_is_lost_though_its_connection_stands() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let lost = world.fence();
    for _ in 0..30 {
        // It speaks every five seconds, and lives.
        world.now.monotonic_us += 5_000_000;
        world.handle(Input::Tick);
        world.report(1, 1, vec![running(&lost)]);
    }
    world.now.monotonic_us += 64_900_000;
    world.handle(Input::Tick);
    let waits = |world: &World| world.mind.ledger().execution("p", 1).unwrap().is_waiting();
    assert!(!waits(&world), "not yet");
    world.now.monotonic_us += 200_000;
    world.handle(Input::Tick);
    assert!(waits(&world));
    // It wakes, on the same connection, and is told to stop what it has; then it takes the work up again, as a new attempt.
    world.report(1, 1, vec![running(&lost)]);
    assert_eq!((world.fence().attempt, world.desired.len()), (2, 1), "I-07");
    let hash = world.mind.ledger().state_hash();
    world.report(1, 1, vec![finished(&lost)]);
    assert_eq!(world.mind.ledger().state_hash(), hash, "I-07");
}

/// I-15. A worker that stands still has said that it has nothing, and an assignment waits for it in its connection: the device stays with that
/// attempt, lost or not, until the worker has read that it should not run it.
#[test]
fn a_device_is_given_back_when_its_worker_has_read_that_it_should_not_use_it() {
    let mut world = World::new();
    let offer = Offer {
        address: "w1:1".into(),
        slot_count: 1,
        devices: vec![Device {
            device_id: "gpu-0".into(),
            kind: "nvidia.com/gpu".into(),
            ..Device::default()
        }],
        ..Offer::default()
    };
    let state = |desired_generation: u64| SynchronizeRequest {
        incarnation: 1,
        offer: Some(offer.clone()),
        desired_generation,
        ..SynchronizeRequest::default()
    };
    let holders = |world: &World| {
        let worker = world.mind.ledger().worker("w1").unwrap();
        worker
            .holds()
            .values()
            .map(|fence| fence.attempt)
            .collect::<Vec<_>>()
    };
    world.say(1, state(0));
    world.run_step(1, "train").unwrap().unwrap();
    let assigned = world.desired_generation;
    assert_eq!((world.fence().attempt, holders(&world)), (1, vec![1]));

    // Said before it read the assignment; then it stands still until it counts as lost.
    world.say(1, state(assigned - 1));
    world.now.monotonic_us += 66_000_000;
    world.handle(Input::Tick);
    assert!(world.mind.ledger().execution("p", 1).unwrap().is_waiting());
    world.say(1, state(assigned - 1));
    assert_eq!(holders(&world), [1], "it will read the assignment");
    let withdrawn = world.desired_generation;
    assert_eq!((world.desired.len(), withdrawn > assigned), (0, true));
    world.say(1, state(assigned));
    assert_eq!(holders(&world), [1], "it may be about to run it");

    // What was said last is said again on another connection, perhaps before what the earlier one brought is looked at.
    world.say(2, state(assigned));
    assert_eq!(holders(&world), [1]);
    let again = world.desired_generation;
    assert!(again > withdrawn);
    world.say(2, state(again));
    assert_eq!((world.fence().attempt, holders(&world)), (2, vec![2]));
}

/// A connection that ends long after its worker fell silent gives it no more time.
#[test]
fn the_end_of_a_connection_is_no_sign_of_life() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    world.now.monotonic_us += 30_000_000;
    world.handle(Input::WorkerGone {
        session: SessionId(1),
    });
    let waits = |world: &World| world.mind.ledger().execution("p", 1).unwrap().is_waiting();
    world.now.monotonic_us += 34_900_000;
    world.handle(Input::Tick);
    assert!(!waits(&world), "not yet");
    world.now.monotonic_us += 200_000;
    world.handle(Input::Tick);
    assert!(waits(&world));
}
