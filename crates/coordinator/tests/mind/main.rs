//! The coordinator's mind, driven by scripts: what goes in, and what it asks for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contact;

mod copies;
mod world;

use contract::api::{self, State};
use coordinator::{Input, Request};
use expect_test::expect;

use crate::world::{World, YAML, execution, finished, running, uuid};

#[test]
fn nothing_is_answered_before_it_is_stored() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.stores = false;
    world.transcript.clear();
    assert_eq!(world.run_step(7, "greet"), None);
    world.check(expect![[r#"
        persist 7 (2 entries)
    "#]]);
    let number = *world.held.last().unwrap();
    world.handle(Input::Persisted { number });
    world.check(expect![[r#"
        publish 6
        reply 7: Execution { project: "p", number: 1, warnings: [] }
        desired 1: ID.1
    "#]]);
}

#[test]
fn submitting_and_assigning_cost_one_sync_and_finishing_starts_what_is_next() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.transcript.clear();
    let chain = api::CreatePipelineRequest {
        parent: "projects/p".into(),
        request_id: uuid(1),
        config: YAML.into(),
        blueprint: "CHAI".into(),
        ..api::CreatePipelineRequest::default()
    };
    world
        .ask(1, Request::CreatePipeline(chain))
        .unwrap()
        .unwrap();
    world.check(expect![[r#"
        persist 7 (2 entries)
        publish 6
        reply 1: Pipeline { project: "p", number: 1, warnings: [] }
        desired 1: ID.1
    "#]]);
    let first = world.fence();
    world.report(1, 1, vec![running(&first)]);
    assert_eq!(world.state(1), State::Started);
    world.transcript.clear();
    world.report(1, 1, vec![finished(&first)]);
    world.check(expect![[r#"
        persist 11 (2 entries)
        publish 9
        seal ID.1 at 2
        desired 1: ID.1
    "#]]);
    assert_eq!(
        (world.state(1), world.state(2)),
        (State::Complete, State::Queued)
    );
    let second = world.fence();
    assert_ne!(first, second);
    let assignment = world.desired[0].assignment.clone().unwrap();
    assert_eq!(assignment.inputs[0].files[0].locations, ["w1:1"]);
    world.report(1, 1, vec![finished(&second)]);
    assert_eq!(
        world.mind.ledger().pipeline("p", 1).unwrap().state,
        State::Complete
    );
}

#[test]
fn whatever_is_repeated_changes_nothing() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    let first = world.run_step(1, "greet").unwrap().unwrap();
    let again = world
        .ask(2, Request::CreateExecution(execution(1, "greet")))
        .unwrap()
        .unwrap();
    assert_eq!(again, first, "I-02: the same execution again");
    let mut other = execution(1, "greet");
    other.title = "another".into();
    let reused = world
        .ask(3, Request::CreateExecution(other))
        .unwrap()
        .unwrap_err();
    assert_eq!(reused.reason, api::ErrorReason::RequestIdReused);
    let fence = world.fence();
    world.report(1, 1, vec![finished(&fence)]);
    let hash = world.mind.ledger().state_hash();
    for _ in 0..3 {
        world.report(1, 1, vec![finished(&fence)]);
    }
    assert_eq!(
        world.mind.ledger().state_hash(),
        hash,
        "I-06, I-07: a result is accepted once"
    );
    assert_eq!(
        world.mind.ledger().execution("p", 1).unwrap().outputs.len(),
        1
    );
}

#[test]
fn a_restart_goes_on_where_it_stood() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let fence = world.fence();
    let hash = world.mind.ledger().state_hash();
    world.restart();
    assert_eq!(
        world.mind.ledger().state_hash(),
        hash,
        "I-01: what was acknowledged is there"
    );
    // The worker's daemon has started again too, and has taken its attempt back.
    world.report(2, 2, vec![running(&fence)]);
    world.report(2, 2, vec![finished(&fence)]);
    let execution = world.mind.ledger().execution("p", 1).unwrap();
    assert_eq!(
        (execution.state(), execution.attempts.len()),
        (State::Complete, 1)
    );
}

#[test]
fn what_is_cancelled_is_stopped_and_what_waits_never_starts() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    world.run_step(2, "greet").unwrap().unwrap();
    let fence = world.fence();
    world.report(1, 1, vec![running(&fence)]);
    for number in [1_u64, 2] {
        let name = format!("projects/p/executions/{number}");
        let cancel = api::CancelExecutionRequest {
            name,
            request_id: uuid(100 + u128::from(number)),
        };
        world
            .ask(100 + number, Request::CancelExecution(cancel))
            .unwrap()
            .unwrap();
    }
    assert_eq!(
        (world.state(1), world.state(2)),
        (State::Stopping, State::Stopped)
    );
    assert!(world.desired[0].stop, "I-10: the worker is told to stop it");
    let mut stopped = finished(&fence);
    if let Some(result) = &mut stopped.result {
        result.state = State::Stopped.into();
    }
    world.report(1, 1, vec![stopped]);
    assert_eq!(world.state(1), State::Stopped);
}

#[test]
fn snapshots_bound_the_log_and_are_enough_to_start_from() {
    let mut world = World::new();
    world.report(1, 1, vec![]);
    for number in 1..=600 {
        world.run_step(number, "greet").unwrap().unwrap();
        let fence = world.fence();
        world.report(1, 1, vec![finished(&fence)]);
    }
    assert!(world.snapshot.is_some());
    assert!(
        world.disk.entries.len() <= 1_002,
        "{} entries are kept",
        world.disk.entries.len()
    );
    let hash = world.mind.ledger().state_hash();
    world.restart();
    assert_eq!(world.mind.ledger().state_hash(), hash);
}

#[test]
fn mistakes_in_the_file_are_refused_with_their_places_all_at_once() {
    let mut world = World::new();
    let mut request = execution(1, "greet");
    request.config = b"- step:\n    name: a\n    imge: x\n".to_vec().into();
    let refusal = world
        .ask(1, Request::CreateExecution(request))
        .unwrap()
        .unwrap_err();
    assert_eq!(refusal.reason, api::ErrorReason::InvalidConfig);
    assert!(
        refusal
            .violations
            .iter()
            .any(|violation| violation.field == "config:3:5"),
        "{refusal:?}"
    );
    assert!(refusal.violations.len() >= 2, "{refusal:?}");
    let unknown = world.run_step(2, "gret").unwrap().unwrap_err();
    assert!(unknown.message.contains("greet"), "{unknown}");
}
