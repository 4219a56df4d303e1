//! The memory of requests (I-02).

use expect_test::expect;
use ledger::{REMEMBERED_REQUESTS, Refused};

use crate::build;
use crate::script::check;
use crate::world::World;

#[test]
fn a_repeat_gets_the_first_answer_and_another_body_is_refused() {
    check(
        "worker w1
         run a request=one
         run a request=one
         run b request=one
         cancel 1 request=two
         cancel 1 request=two
         cancel 2 request=two
         node a
         pipeline demo request=three
         pipeline demo request=three
         pipeline other request=three
         run a request=four input.data=-
         run a request=four",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > run a request=one
            execution p#1
              execution p#1 QUEUED
            > run a request=one
            execution p#1
            > run b request=one
            refused: request id d33fb48a-b5ad-ff26-9ae1-72b29a6913ff was used before with another body
            > cancel 1 request=two
            execution p#1
              execution p#1 STOPPED (CANCELLED): cancelled
            > cancel 1 request=two
            execution p#1
            > cancel 2 request=two
            refused: request id dc770fff-53f5-0835-f8cc-957e01c0d573 was used before with another body
            > node a
            > pipeline demo request=three
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED
              execution p#2 QUEUED
            > pipeline demo request=three
            pipeline p/1
            > pipeline other request=three
            refused: request id dbec0e68-9fb6-3bd7-2914-7727129d854e was used before with another body
            > run a request=four input.data=-
            refused: input data is required and has no file
            > run a request=four
            execution p#3
              execution p#3 QUEUED
        "#]],
    );
}

#[test]
fn both_digests_are_told() {
    let mut world = World::new();
    world
        .one(build::create_execution("one", build::template("a")))
        .unwrap();
    let refused = world
        .one(build::create_execution("one", build::template("b")))
        .unwrap_err();
    let Refused::RequestIdReused { known, given, .. } = refused else {
        panic!("{refused:?}")
    };
    assert_ne!(known, given);
}

#[test]
fn the_oldest_request_is_forgotten_first() {
    // Refusals are cheap and remembered by nobody; cancels of what has ended are remembered.
    let mut ledger = ledger::Ledger::new();
    ledger.apply(
        1,
        &build::entry(
            1,
            vec![build::create_execution("first", build::template("a"))],
        ),
    );
    let cancels = |from: usize, to: usize| {
        let kinds = (from..to)
            .map(|label| build::cancel_execution(&label.to_string(), 1))
            .collect();
        build::entry(2, kinds)
    };
    ledger.apply(2, &cancels(0, REMEMBERED_REQUESTS - 1));
    let repeat = build::entry(
        3,
        vec![build::create_execution("first", build::template("a"))],
    );
    ledger.apply(3, &repeat);
    assert_eq!(
        ledger.executions(build::PROJECT).count(),
        1,
        "it is remembered"
    );

    let restored = ledger::Ledger::restore(ledger.snapshot()).unwrap();
    for mut ledger in [ledger, restored] {
        ledger.apply(4, &cancels(REMEMBERED_REQUESTS, REMEMBERED_REQUESTS + 1));
        ledger.apply(5, &repeat);
        assert_eq!(
            ledger.executions(build::PROJECT).count(),
            2,
            "it is forgotten"
        );
        ledger.check_invariants().unwrap();
    }
}

/// I-02: a request to drain that comes once more, late, undoes nothing.
#[test]
fn a_worker_is_drained_once_by_one_request() {
    check(
        "worker w1
         drain w1 request=d
         undrain w1
         drain w1 request=d
         undrain w1
         raise 3
         drain w1 request=d
         undrain w1 request=u
         drain w1 request=d
         undrain w1 request=d
         undrain w1 request=v
         run a request=d",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > drain w1 request=d
            worker w1
              worker w1 has 0
            > undrain w1
            worker w1
              worker w1 has 0
            > drain w1 request=d
            worker w1
              worker w1 has 0
            > undrain w1
            worker w1
              worker w1 has 0
            > raise 3
            feature level 3
            > drain w1 request=d
            worker w1
              worker w1 has 0
            > undrain w1 request=u
            worker w1
              worker w1 has 0
            > drain w1 request=d
            worker w1
            > undrain w1 request=d
            refused: request id d5ede538-f628-f687-e5e0-422c7755b503 was used before with another body
            > undrain w1 request=v
            worker w1
            > run a request=d
            refused: request id d5ede538-f628-f687-e5e0-422c7755b503 was used before with another body
        "#]],
    );
}
