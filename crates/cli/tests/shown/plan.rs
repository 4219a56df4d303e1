//! `shoal pipeline plan` and `shoal execution command`: what would run, without running it.

use expect_test::expect;

use crate::place::{GOOD, Place};

#[test]
fn a_plan() {
    let place = Place::with(GOOD);
    place.check(
        "pipeline plan everything",
        &expect![[r#"
        exit 0
        --- stdout
        NODE    TYPE       RUNS
        first   execution  prepare
        second  execution  train

        FROM                TO
        first.output.*.csv  second.input.data
    "#]],
    );
    place.check(
        "pipeline plan EVENING --output json",
        &expect![[r#"
        exit 0
        --- stdout
        {
          "edges": [],
          "nodes": [
            {
              "name": "only",
              "template": {
                "commit": "HEAD",
                "step": "prepare",
                "name": "prepare",
                "image": "python:3.12",
                "command": [
                  "python3 prepare.py {parameters}",
                  "echo done"
                ],
                "parameters": {
                  "rows": 100,
                  "verbose": null
                },
                "inputs": {},
                "runtime_config": {}
              },
              "type": "execution"
            }
          ],
          "parameters": {}
        }
    "#]],
    );
}

#[test]
fn commands_of_a_step() {
    let place = Place::with(GOOD);
    place.check(
        "execution command prepare",
        &expect![[r#"
        exit 0
        --- stdout
        python3 prepare.py --rows=100
        echo done
    "#]],
    );
    place.check(
        "exec command tr -f . --output json",
        &expect![[r#"
        exit 0
        --- stdout
        [
          "python3 train.py --lr=0.1"
        ]
    "#]],
    );
}

#[test]
fn names_that_nothing_has() {
    let place = Place::with(GOOD);
    place.check(
        "pipeline plan everythin",
        &expect![[r#"
        exit 0
        --- stdout
        NODE    TYPE       RUNS
        first   execution  prepare
        second  execution  train

        FROM                TO
        first.output.*.csv  second.input.data
    "#]],
    );
    place.check(
        "pipeline plan eve",
        &expect![[r#"
        exit 2
        --- stderr
        error: `eve` could be more than one pipeline
          hint: it begins `everything`, `evening`
    "#]],
    );
    place.check(
        "pipeline plan evryting",
        &expect![[r#"
        exit 2
        --- stderr
        error: there is no pipeline `evryting`
          hint: did you mean `everything`?
    "#]],
    );
    place.check("pipeline plan x -o json", &expect![[r#"
        exit 2
        --- stderr
        {"error":{"kind":"usage","reason":null,"message":"there is no pipeline `x`","details":[],"hint":"there are `everything`, `evening`"}}
    "#]]);
    place.check(
        "execution command x",
        &expect![[r#"
        exit 2
        --- stderr
        error: there is no step `x`
          hint: there are `prepare`, `train`
    "#]],
    );
    place.check(
        "execution run trian",
        &expect![[r#"
        exit 2
        --- stderr
        error: there is no step `trian`
          hint: did you mean `train`?
    "#]],
    );
}
