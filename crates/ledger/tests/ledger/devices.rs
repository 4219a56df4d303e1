//! I-15: a device is one attempt's at a time, also when nobody knows whether the attempt's program runs still.

use contract::api::State;
use ledger::{Fence, Outcome, Refused};

use crate::build;
use crate::world::World;

/// One worker with two GPUs, and three executions that need one each.
fn world() -> World {
    let mut world = World::new();
    world.one(build::gpu_worker("w", 1, &["a", "b"])).unwrap();
    for label in ["1", "2", "3"] {
        let create = build::create_execution(label, build::gpu_template("train", 1));
        world.one(create).unwrap();
    }
    world
}

#[track_caller]
fn assigned(world: &mut World, execution: i64, device: &str) -> Fence {
    let assign = build::assign_with(execution, "w", &[device]);
    match world.one(assign).unwrap() {
        Outcome::Attempt(fence) => fence,
        other => panic!("{other:?}"),
    }
}

fn holds(world: &World) -> Vec<String> {
    let worker = world.ledger.worker("w").unwrap();
    worker.holds().keys().map(|id| id.to_string()).collect()
}

#[test]
fn what_was_decided_is_checked_again() {
    let mut world = world();
    assigned(&mut world, 1, "a");
    let taken = |id: &str| Refused::DeviceTaken {
        worker: "w".into(),
        device_id: id.to_owned(),
    };
    for (devices, expected) in [
        (&["a"][..], Some(taken("a"))),
        (&["z"], Some(taken("z"))),
        (&["b", "b"], Some(taken("b"))),
        (&[], None),
    ] {
        let refused = world.one(build::assign_with(2, "w", devices)).unwrap_err();
        match expected {
            Some(expected) => assert_eq!(refused, expected),
            None => assert!(matches!(refused, Refused::Malformed { .. }), "{refused}"),
        }
    }
    assigned(&mut world, 2, "b");
    assert_eq!(holds(&world), ["a", "b"]);
    assert_eq!(world.ledger.worker("w").unwrap().taken().cpu_millis, 1_000);
}

#[test]
fn a_result_gives_the_device_back() {
    let mut world = world();
    let fence = assigned(&mut world, 1, "a");
    let finish = build::finish("w", fence, build::result(State::Complete));
    world.one(finish).unwrap();
    assert_eq!(holds(&world), [] as [&str; 0]);
    let attempt = &world.execution(1).attempts[0];
    assert_eq!(
        &*attempt.device_ids,
        ["a".into()],
        "what it had is remembered"
    );
    assert_eq!(world.ledger.worker("w").unwrap().taken().cpu_millis, 0);
}

#[test]
fn a_lost_attempt_keeps_its_device_until_the_worker_says_that_it_has_it_no_more() {
    let mut world = world();
    let lost = assigned(&mut world, 1, "a");
    let live = assigned(&mut world, 2, "b");
    world.one(build::lose(lost, "gone")).unwrap();
    assert_eq!(holds(&world), ["a", "b"]);
    let again = world.one(build::assign_with(1, "w", &["a"])).unwrap_err();
    assert!(matches!(again, Refused::DeviceTaken { .. }));
    // Another incarnation's word counts for nothing, and a live attempt's device is not given back.
    let stale = world.one(build::release("w", 7, &[lost])).unwrap_err();
    assert_eq!(stale, Refused::StaleIncarnation { current: 1 });
    let live_too = world.one(build::release("w", 1, &[live])).unwrap();
    assert_eq!(live_too, Outcome::Nothing);
    world.one(build::release("w", 1, &[lost, live])).unwrap();
    assert_eq!(holds(&world), ["b"]);
    assigned(&mut world, 1, "a");
}

#[test]
fn devices_of_a_lost_worker_stay_taken_when_it_comes_back() {
    let mut world = world();
    let fence = assigned(&mut world, 1, "a");
    world.one(build::lose_worker("w", 1)).unwrap();
    // It had lost a GPU, too.
    world.one(build::gpu_worker("w", 2, &["a"])).unwrap();
    assert_eq!(holds(&world), ["a"]);
    let restored = ledger::Ledger::restore(world.ledger.snapshot()).unwrap();
    assert_eq!(restored.worker("w"), world.ledger.worker("w"));
    world.one(build::release("w", 2, &[fence])).unwrap();
    assigned(&mut world, 1, "a");
}
