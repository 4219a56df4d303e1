//! What is written to disk stays readable.

use contract::ledger::Snapshot;
use expect_test::expect;
use ledger::{Ledger, RestoreError};
use prost::Message as _;

use crate::build;
use crate::world::World;

/// One of everything.
fn full() -> World {
    let mut world = World::new();
    world.apply(vec![
        build::worker("w1", 1, &["gpu"]),
        build::worker("w2", 4, &[]),
    ]);
    world.apply(vec![
        build::lose_worker("w2", 4),
        build::create_execution("a", build::template("train")),
    ]);
    let plan = contract::ledger::Plan {
        name: "demo".to_owned(),
        nodes: vec![contract::ledger::PlanNode {
            name: "only".to_owned(),
            template: Some(build::template("train")),
            ..contract::ledger::PlanNode::default()
        }],
        ..contract::ledger::Plan::default()
    };
    world.apply(vec![
        build::create_pipeline("b", plan),
        build::assign(1, "w1"),
        build::assign(2, "w1"),
    ]);
    let mut result = build::result(contract::api::State::Complete);
    result.outputs = vec![build::output("model.bin")];
    result.metadata_json = "{\"acc\":0.9}".to_owned();
    let fence = world.fence(1);
    world.apply(vec![build::finish("w1", fence, result)]);
    world
}

#[test]
fn a_snapshot_is_what_it_was_made_of() {
    let world = full();
    for at in 1..world.entries.len() {
        world.check_replay(at);
    }
}

/// The bytes are those of version 1, written once. If this fails, a released version's disks can no longer be read.
#[test]
fn version_1_stays_readable() {
    let bytes: &[u8] = include_bytes!("snapshot-1.bin");
    let restored = Ledger::restore(Snapshot::decode(bytes).unwrap()).unwrap();
    restored.check_invariants().unwrap();
    let mut out = String::new();
    for (revision, subject) in restored.changed_since(0) {
        out += &format!("{revision} {subject}\n");
    }
    for datum in restored.data(build::PROJECT) {
        out += &format!("{} {}\n", datum.uri(), datum.file_name);
    }
    let execution = restored.execution(build::PROJECT, 1).unwrap();
    out += &format!(
        "{} {:?} {}\n",
        execution.execution_id,
        execution.state(),
        execution.commands().join("; ")
    );
    expect![[r#"
        3 worker w2
        4 pipeline p/1
        4 execution p#2
        5 execution p#1
        5 worker w1
        datum://84a704c7-8126-8ec9-b09b-99e4a661e4ab model.bin
        fcbbb89a-8e6f-8e34-bc81-26e12053714f Complete run
    "#]]
    .assert_eq(&out);
}

/// Makes a snapshot one of no ledger.
type Spoil = fn(&mut Snapshot);

#[test]
fn what_is_no_ledger_is_refused() {
    let good = full().ledger.snapshot();
    let cases: [(&str, Spoil); 8] = [
        ("a newer version", |snapshot| snapshot.version = 2),
        ("no version", |snapshot| snapshot.version = 0),
        ("a short id", |snapshot| {
            snapshot.executions[0].execution_id = vec![1, 2].into()
        }),
        ("a state of nobody", |snapshot| {
            snapshot.executions[0].state = 99
        }),
        ("a missing execution", |snapshot| {
            drop(snapshot.executions.pop())
        }),
        ("a missing project", |snapshot| snapshot.projects.clear()),
        ("a missing datum", |snapshot| snapshot.data.clear()),
        ("a worker with another's attempt", |snapshot| {
            snapshot.workers[0].attempts.clear()
        }),
    ];
    for (what, spoil) in cases {
        let mut bad = good.clone();
        spoil(&mut bad);
        let refused = Ledger::restore(bad);
        assert!(refused.is_err(), "{what} was taken");
        if what == "a newer version" {
            assert_eq!(refused.unwrap_err(), RestoreError::Version(2));
        }
    }
}

#[test]
fn an_entry_of_a_newer_version_changes_nothing() {
    let mut ledger = full().ledger;
    let index = ledger.revision() + 1;
    let mut entry = build::entry(0, vec![build::worker("w9", 1, &[])]);
    entry.version = 2;
    assert_eq!(
        ledger.apply(index, &entry).outcomes,
        [Err(ledger::Refused::Unknown)]
    );
    assert!(ledger.worker("w9").is_none());
    let unknown = contract::ledger::Entry {
        version: 1,
        leader_time_ms: 0,
        commands: vec![contract::ledger::Command { kind: None }],
    };
    assert_eq!(
        ledger.apply(index + 1, &unknown).outcomes,
        [Err(ledger::Refused::Unknown)]
    );
}

#[test]
fn time_never_runs_back() {
    let mut ledger = Ledger::new();
    ledger.apply(
        1,
        &build::entry(
            500,
            vec![build::create_execution("a", build::template("s"))],
        ),
    );
    ledger.apply(
        2,
        &build::entry(
            100,
            vec![build::create_execution("b", build::template("s"))],
        ),
    );
    assert_eq!(ledger.time_ms(), 500);
    assert_eq!(
        ledger.execution(build::PROJECT, 2).unwrap().create_time_ms,
        500
    );
}
