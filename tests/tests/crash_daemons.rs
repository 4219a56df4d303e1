//! What is promised when single processes are killed while a step runs: the daemon of a worker, the coordinator, a shim, a program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cluster_tests::harness::{Cluster, Gate, Kind, Place, Process};

/// A step that prints a line, then two thousand when the gate is opened, then the last when it is opened again.
fn config(gate: &Gate) -> String {
    format!(
        "- step:
    name: work
    image: busybox
    command:
      - echo first
      - {gate}
      - seq 1 2000
      - {gate}
      - echo last
",
        gate = gate.line()
    )
}

/// What it prints.
fn printed() -> Vec<String> {
    let numbers = (1..=2000).map(|number: u32| number.to_string());
    [
        vec!["first".to_owned()],
        numbers.collect(),
        vec!["last".to_owned()],
    ]
    .concat()
}

/// Kills daemons while a step runs, lets the step print while they are away, starts them again, and lets the step end. The
/// person's own command runs all the while.
fn killed_daemons(name: &str, kill: impl Fn(&mut Cluster), restart: impl Fn(&mut Cluster)) {
    let mut cluster = Cluster::new(name);
    cluster.add_worker("alone", None);
    let mut gate = cluster.place.gate("gate");
    cluster.place.config(&config(&gate));
    let mut run = cluster.place.start(&["execution", "run", "work"]);
    gate.wait();
    kill(&mut cluster);
    gate.open();
    gate.wait();
    restart(&mut cluster);
    gate.open();

    let shown = run.ends_with(0);
    let shown: Vec<&str> = shown
        .iter()
        .filter_map(|line| line.strip_prefix("work | "))
        .collect();
    let at = shown
        .iter()
        .position(|line| *line == "first")
        .expect("the first line is shown");
    assert_eq!(
        shown[at..],
        printed(),
        "I-21: who watches sees each line once, in order"
    );
    let execution = cluster.place.execution(1);
    let attempts = execution["attempts"]
        .as_array()
        .expect("there are attempts");
    assert_eq!(
        attempts.len(),
        1,
        "I-12: the step has run once: {attempts:#?}"
    );
    let log = cluster.place.log_of(1, None);
    assert_eq!(
        log.stdout().lines().collect::<Vec<_>>(),
        printed(),
        "I-21: the log is whole"
    );
}

/// I-17
#[test]
fn a_killed_worker_daemon_takes_its_step_back() {
    killed_daemons(
        "killed-worker",
        |cluster| cluster.workers[0].kill(),
        |cluster| cluster.workers[0].restart(&cluster.place),
    );
}

/// I-11, I-12
#[test]
fn a_killed_coordinator_costs_no_attempt_and_no_line() {
    killed_daemons(
        "killed-coordinator",
        |cluster| cluster.coordinator.kill(),
        |cluster| cluster.coordinator.restart(&cluster.place),
    );
}

/// I-12
#[test]
fn both_daemons_killed_cost_no_attempt_and_no_line() {
    killed_daemons(
        "killed-both",
        |cluster| {
            cluster.coordinator.kill();
            cluster.workers[0].kill();
        },
        |cluster| {
            // The worker first: it finds the coordinator when that comes.
            cluster.workers[0].restart(&cluster.place);
            cluster.coordinator.restart(&cluster.place);
        },
    );
}

/// Kills processes of these kinds at the first gate of a step that an embedded node runs, and goes on with a watch when the command
/// was among them.
fn killed_at_the_gate(name: &str, kinds: &[Kind]) -> (Place, Gate, Process) {
    let place = Place::new(name);
    let mut gate = place.gate("gate");
    place.config(&config(&gate));
    let mut shoal = place.start(&["execution", "run", "work"]);
    gate.wait();
    // What was shown to anyone is stored; what the shim still held in memory may be lost with it.
    shoal.wait_for("work | first");
    place.kill(kinds);
    if kinds.contains(&Kind::Command) {
        shoal = place.start(&["execution", "watch", "1"]);
    }
    (place, gate, shoal)
}

/// I-06, I-08, I-21: with its shim gone, nobody knows how a program would have ended, so another attempt is made. What is left of the
/// program is killed first: the gate is opened once for each time that one program must pass it.
#[test]
fn an_attempt_whose_shim_was_killed_is_made_again() {
    for (name, kinds) in [
        ("all", &[Kind::Command, Kind::Shim, Kind::Program][..]),
        ("command-and-shim", &[Kind::Command, Kind::Shim]),
        ("shim", &[Kind::Shim]),
    ] {
        let (place, mut gate, mut shoal) = killed_at_the_gate(name, kinds);
        gate.wait();
        gate.open();
        gate.wait();
        gate.open();
        shoal.ends_with(0);
        let execution = place.execution(1);
        let states: Vec<_> = execution["attempts"]
            .as_array()
            .expect("attempts")
            .iter()
            .map(|attempt| &attempt["state"])
            .collect();
        assert_eq!(states, ["error", "complete"], "{name}: {execution:#}");
        assert_eq!(
            place.log_of(1, None).stdout().lines().collect::<Vec<_>>(),
            printed(),
            "{name}"
        );
        assert_eq!(
            place.log_of(1, Some(1)).stdout(),
            "first\n",
            "{name}: what the lost attempt had printed is kept"
        );
    }
}

/// A program that something outside killed has ended by a signal. That is its own end, and is told as such; it is not tried again.
#[test]
fn a_killed_program_is_an_error_that_names_the_signal() {
    for (name, kinds) in [
        ("program", &[Kind::Program][..]),
        ("command-and-program", &[Kind::Command, Kind::Program]),
    ] {
        let (place, _gate, mut shoal) = killed_at_the_gate(name, kinds);
        shoal.ends_with(1);
        let execution = place.execution(1);
        assert_eq!(execution["state"], "error", "{name}: {execution:#}");
        assert_eq!(execution["end_reason"], "signal", "{name}: {execution:#}");
        assert_eq!(
            execution["attempts"][0]["signal"], 9,
            "{name}: {execution:#}"
        );
        assert_eq!(
            execution["attempts"].as_array().map(Vec::len),
            Some(1),
            "{name}: {execution:#}"
        );
        assert_eq!(place.log_of(1, None).stdout(), "first\n", "{name}");
    }
}
