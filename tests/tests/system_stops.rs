//! How a running step comes to an end before its time: cancelled, out of time, silent, or deaf to being asked.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cluster_tests::harness::Place;
use serde_json::Value;

/// State, reason, and number of attempts of an execution.
fn ending(execution: &Value) -> (&str, &str, usize) {
    let text = |key: &str| execution[key].as_str().unwrap_or_default();
    (
        text("state"),
        text("end_reason"),
        execution["attempts"].as_array().map_or(0, Vec::len),
    )
}

/// I-10: also when part of it ignores being asked: that is killed after the grace. What it wrote before is kept.
#[test]
fn a_cancelled_step_stops_with_all_that_it_started() {
    let place = Place::new("cancel");
    let mut gate = place.gate("gate");
    let mut never = place.gate("never");
    place.config(&format!(
        "- step:
    name: work
    image: busybox
    command:
      - echo kept > \"$VH_OUTPUTS_DIR/kept.txt\"
      - (trap '' TERM INT; {never}; echo unreachable) &
      - {gate}
      - echo unreachable
",
        never = never.line(),
        gate = gate.line()
    ));
    let mut run = place.start(&["execution", "run", "work"]);
    gate.wait();
    never.wait();
    place.run(&["execution", "cancel", "1"]).succeeds();
    run.ends_with(3);
    // Had anything of it survived, it would go on here and print.
    gate.open();
    never.open();
    let execution = place.execution(1);
    assert_eq!(
        ending(&execution),
        ("stopped", "cancelled", 1),
        "{execution:#}"
    );
    assert_eq!(
        execution["outputs"][0]["file_name"], "kept.txt",
        "{execution:#}"
    );
    assert_eq!(place.log_of(1, None).stdout(), "");
    // A second cancel finds it stopped, and changes nothing.
    place.run(&["execution", "cancel", "1"]).succeeds();
    assert_eq!(ending(&place.execution(1)), ("stopped", "cancelled", 1));
}

/// The gates never open: only the limit can end these steps.
#[test]
fn limits_end_a_step_and_say_which_it_was() {
    for (limit, reason) in [
        ("time-limit: 1", "time_limit"),
        ("no-output-timeout: 1", "no_output"),
    ] {
        let place = Place::new("limits");
        let gate = place.gate("gate");
        place.config(&format!(
            "- step:
    name: work
    image: busybox
    {limit}
    command:
      - echo begun
      - {gate}
      - echo unreachable
",
            gate = gate.line()
        ));
        let printed = place.run(&["execution", "run", "work"]);
        let execution = place.execution(1);
        assert_eq!(execution["end_reason"], reason, "{limit}: {execution:#}");
        assert_eq!(
            printed.code,
            if execution["state"] == "stopped" {
                Some(3)
            } else {
                Some(1)
            },
            "{limit}"
        );
        assert_eq!(ending(&execution).2, 1, "{limit}: {execution:#}");
        assert_eq!(place.log_of(1, None).stdout(), "begun\n", "{limit}");
    }
}

/// A pipeline that is cancelled stops what runs of it, and what has not begun never does.
#[test]
fn a_cancelled_pipeline_begins_nothing_more() {
    let place = Place::new("cancel-pipeline");
    let mut gate = place.gate("gate");
    place.config(&format!(
        "- step:
    name: first
    image: busybox
    command:
      - {gate}
- step:
    name: second
    image: busybox
    command: echo unreachable
    inputs:
      - name: data
- pipeline:
    name: chain
    nodes:
      - name: first
        type: execution
        step: first
      - name: second
        type: execution
        step: second
    edges:
      - [first.output.*, second.input.data]
",
        gate = gate.line()
    ));
    let mut run = place.start(&["pipeline", "run", "chain"]);
    gate.wait();
    place.run(&["pipeline", "cancel", "1"]).succeeds();
    run.ends_with(3);
    let pipeline = place.json(&["pipeline", "show", "1"]);
    assert_eq!(pipeline["state"], "stopped", "{pipeline:#}");
    for execution in place
        .json(&["execution", "list", "--pipeline=1"])
        .as_array()
        .expect("a list")
    {
        assert_eq!(execution["state"], "stopped", "{execution:#}");
        let begun = execution["step"] == "first";
        assert_eq!(ending(execution).2, usize::from(begun), "{execution:#}");
    }
}
