//! `shoal lint` over good and bad files.

use expect_test::expect;

use crate::place::{GOOD, Place};

const BAD: &str = "\
- step:
    name: train
    image: python:3.12
    commnd: python3 train.py
    parameters:
      - name: lr
        type: flaot
- pipeline:
    name: all
    nodes:
      - name: only
        type: execution
        step: trian
    edges: []
";

const OLDER: &str = "\
- step:
    name: train
    image: python:3.12
    command: python3 train.py
- pipeline:
    name: all
    nodes:
      - name: a
        type: execution
        step: train
      - name: b
        type: execution
        step: train
    edges:
      - [a.outputs.*, b.input.model]
";

#[test]
fn a_good_file() {
    let place = Place::with(GOOD);
    place.check(
        "lint",
        &expect![[r#"
        exit 0
        --- stdout
        valohai.yaml: no errors, no warnings
    "#]],
    );
    place.check(
        "lint --output json valohai.yaml",
        &expect![[r#"
        exit 0
        --- stdout
        {
          "file": "valohai.yaml",
          "valid": true,
          "errors": [],
          "warnings": []
        }
    "#]],
    );
}

#[test]
fn a_bad_file() {
    let place = Place::with(BAD);
    place.check(
        "lint",
        &expect![[r#"
        exit 1
        --- stdout
        error: a step needs the field `command`
         --> valohai.yaml:2:5
          |
        2 |     name: train
          |     ^^^^^^^^^^^
        error: a step has no field `commnd`
         --> valohai.yaml:4:5
          |
        4 |     commnd: python3 train.py
          |     ^^^^^^
          = did you mean `command`?
        error: `flaot` is not taken here
         --> valohai.yaml:7:15
          |
        7 |         type: flaot
          |               ^^^^^
          = did you mean `float`?
        valohai.yaml: 3 errors, no warnings
    "#]],
    );
    place.check(
        "lint --output json valohai.yaml",
        &expect![[r#"
        exit 1
        --- stdout
        {
          "file": "valohai.yaml",
          "valid": false,
          "errors": [
            {
              "message": "a step needs the field `command`",
              "hint": null,
              "code": "missing-field",
              "line": 2,
              "column": 5,
              "path": "0.step"
            },
            {
              "message": "a step has no field `commnd`",
              "hint": "did you mean `command`?",
              "code": "unknown-field",
              "line": 4,
              "column": 5,
              "path": "0.step"
            },
            {
              "message": "`flaot` is not taken here",
              "hint": "did you mean `float`?",
              "code": "bad-value",
              "line": 7,
              "column": 15,
              "path": "0.step.parameters.0.type"
            }
          ],
          "warnings": []
        }
    "#]],
    );
}

#[test]
fn a_file_of_older_spelling() {
    let place = Place::with(OLDER);
    place.check(
        "lint",
        &expect![[r#"
        exit 0
        --- stdout
        warning: `outputs` is taken for `output`
          --> valohai.yaml:15:10
           |
        15 |       - [a.outputs.*, b.input.model]
           |          ^^^^^^^^^^^
           = other programs refuse the plural; write `output`
        valohai.yaml: no errors, 1 warning
    "#]],
    );
    place.check(
        "lint --strict-warnings -o json",
        &expect![[r#"
        exit 1
        --- stdout
        {
          "file": "valohai.yaml",
          "valid": true,
          "errors": [],
          "warnings": [
            {
              "message": "`outputs` is taken for `output`",
              "hint": "other programs refuse the plural; write `output`",
              "code": "other-spelling",
              "line": 15,
              "column": 10,
              "path": "1.pipeline.edges.0"
            }
          ]
        }
    "#]],
    );
}

#[test]
fn what_is_no_yaml() {
    let place = Place::with("- step:\n  - a: [1\n");
    place.check(
        "lint",
        &expect![[r#"
        exit 1
        --- stdout
        error: `,` or `]` is expected here, not the end of the file
         --> valohai.yaml:3:1
          |
        3 | 
          | ^
          = what opens on line 2, column 8 is not closed
        valohai.yaml: 1 error, no warnings
    "#]],
    );
}

#[test]
fn several_files() {
    let place = Place::with(GOOD);
    place.write("bad.yaml", "- stepp: {}\n");
    place.check(
        "lint valohai.yaml bad.yaml",
        &expect![[r#"
        exit 0
        --- stdout
        valohai.yaml: no errors, no warnings
        warning: `stepp` is no type of item and is ignored
         --> bad.yaml:1:3
          |
        1 | - stepp: {}
          |   ^^^^^
          = did you mean `step`?
        bad.yaml: no errors, 1 warning
    "#]],
    );
    place.check(
        "lint . no.yaml",
        &expect![[r#"
        exit 2
        --- stdout
        valohai.yaml: no errors, no warnings
        --- stderr
        error: there is no file HERE/no.yaml
    "#]],
    );
}

#[test]
fn no_file() {
    Place::empty().check(
        "lint",
        &expect![[r#"
        exit 2
        --- stderr
        error: there is no valohai.yaml in HERE or above it
          hint: go to the directory it is in, or name it with --file
    "#]],
    );
    Place::empty().check("lint -o json", &expect![[r#"
        exit 2
        --- stderr
        {"error":{"kind":"usage","reason":null,"message":"there is no valohai.yaml in HERE or above it","details":[],"hint":"go to the directory it is in, or name it with --file"}}
    "#]]);
}

#[test]
fn a_run_shows_what_is_wrong_with_the_file() {
    let place = Place::with(BAD);
    place.check(
        "pipeline run all",
        &expect![[r#"
        exit 1
        --- stderr
        error: a step needs the field `command`
         --> valohai.yaml:2:5
          |
        2 |     name: train
          |     ^^^^^^^^^^^
        error: a step has no field `commnd`
         --> valohai.yaml:4:5
          |
        4 |     commnd: python3 train.py
          |     ^^^^^^
          = did you mean `command`?
        error: `flaot` is not taken here
         --> valohai.yaml:7:15
          |
        7 |         type: flaot
          |               ^^^^^
          = did you mean `float`?
        error: valohai.yaml has 3 errors
    "#]],
    );
    place.check("pipeline run all -o json", &expect![[r#"
        exit 1
        --- stderr
        {"error":{"kind":"command","reason":null,"message":"valohai.yaml has 3 errors","details":[{"place":"valohai.yaml:2:5","message":"a step needs the field `command`"},{"place":"valohai.yaml:4:5","message":"a step has no field `commnd`"},{"place":"valohai.yaml:7:15","message":"`flaot` is not taken here"}],"hint":null}}
    "#]]);
}
