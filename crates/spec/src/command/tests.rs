//! Commands as a table: one step, what it says and what comes out.

#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};

use super::*;

fn step(text: &str) -> Step {
    let parsed = crate::parse(text.as_bytes());
    let config = parsed
        .config
        .unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
    config.steps[0].clone()
}

/// Values as YAML: `{a: 1, b: [x, y]}`.
fn values(text: &str) -> Values {
    match crate::parse_value(text.as_bytes()).unwrap() {
        Value::Map(entries) => entries
            .into_iter()
            .map(|(name, value)| (crate::python::str(&name), value))
            .collect(),
        _ => Values::new(),
    }
}

fn check(step_text: &str, given: &str, expected: Expect) {
    let built = match build_commands(&step(step_text), &values(given), FlagDefaults::Ignored) {
        Ok(Commands { lines, warnings }) => {
            let lines = lines.into_iter().map(|line| format!("> {line}\n"));
            lines
                .chain(
                    warnings
                        .into_iter()
                        .map(|warning| format!("warning: {warning}\n")),
                )
                .collect()
        }
        Err(error) => format!("error: {error}\n"),
    };
    expected.assert_eq(&built);
}

const NUMBERS: &str = "
- step:
    name: train
    image: python:3
    source-path: a b.py
    command:
      - python {source-path} {parameters}
      - echo {parameter:lr} {parameter-value:lr} {parameter:none} {parameter-value:none} {params}
      - 'echo ${HOME} {print $1} {{parameters}} {parameter: lr} {} {a
        b}'
      - '   '
    parameters:
      - {name: lr, type: float, default: 0.00001}
      - {name: decoder, default: foo bar, pass-as: '--decoder-spec  {v}'}
      - {name: none, type: integer}
      - {name: verbose, type: flag, default: true}
";

#[test]
fn placeholders_are_replaced_and_the_rest_is_left() {
    check(
        NUMBERS,
        "{}",
        expect![[r#"
            > python 'a b.py' --lr=1e-05 --decoder-spec 'foo bar'
            > echo --lr=1e-05 1e-05  {parameter-value:none} --lr=1e-05 --decoder-spec 'foo bar'
            > echo ${HOME} {print $1} {{parameters}} {parameter: lr} {} {a b}
            > 
        "#]],
    );
    check(
        NUMBERS,
        "{verbose: yes, none: 3, lr: 1e-3, decoder: null}",
        expect![[r#"
            > python 'a b.py' --lr=1e-3 --none=3 --verbose
            > echo --lr=1e-3 1e-3 --none=3 3 --lr=1e-3 --none=3 --verbose
            > echo ${HOME} {print $1} {{parameters}} {parameter: lr} {} {a b}
            > 
        "#]],
    );
}

const SEVERAL: &str = "
- step:
    name: train
    image: python:3
    command: run {parameters} | {parameter-value:layer}
    parameters:
      - {name: layer, multiple: repeat, type: integer, default: [1, 2], pass-as: '-l {v:03d}'}
      - {name: cost, multiple: separate, default: [1000, 0.01], multiple-separator: '; '}
      - {name: empty, multiple: separate}
      - {name: fast, type: flag, pass-true-as: --fast, pass-false-as: --slow}
      - {name: quiet, type: flag, pass-as: -q}
";

#[test]
fn several_values_and_flags() {
    check(
        SEVERAL,
        "{}",
        expect![[r#"
            > run -l 001 -l 002 '--cost=1000; 0.01' | '[1, 2]'
        "#]],
    );
    check(
        SEVERAL,
        "{layer: 7, cost: x, empty: [a b], fast: false, quiet: true}",
        expect![[r#"
            > run -l 007 --cost=x '--empty=a b' --slow -q | 7
        "#]],
    );
    check(
        SEVERAL,
        "{layer: [[1]]}",
        expect![[r#"
            error: the parameter `layer` has a list within its list of values
        "#]],
    );
    check(
        SEVERAL,
        "{layer: [a]}",
        expect![[r#"
            > run {parameters} | {parameter-value:layer}
            warning: `run {parameters} | {parameter-value:layer}` is left as it is: `pass-as` of `layer`: the format code `d` is for numbers, and the value is a string
        "#]],
    );
}

#[test]
fn templates_that_do_not_fit() {
    let with = |template: &str| {
        format!(
            "- step:\n    name: s\n    image: i\n    command: x {{parameters}}\n    parameters:\n      - {{name: a b, default: 1, pass-as: '{template}'}}\n"
        )
    };
    check(
        &with(""),
        "{}",
        expect![[r#"
        > x '--a b=1'
    "#]],
    );
    check(
        &with("   "),
        "{}",
        expect![[r#"
        > x
    "#]],
    );
    check(
        &with("--on"),
        "{}",
        expect![[r#"
        > x --on
    "#]],
    );
    check(
        &with("{v!r} {{{name}}}"),
        "{}",
        expect![[r#"
        > x 1 '{a b}'
    "#]],
    );
    check(
        &with("{0}"),
        "{}",
        expect![[r#"
            > x {parameters}
            warning: `x {parameters}` is left as it is: `pass-as` of `a b`: placeholders have names, not numbers
        "#]],
    );
    check(
        &with("--x={val}"),
        "{}",
        expect![[r#"
            error: `pass-as` of the parameter `a b`: `{val}` is not a known placeholder; the placeholders are `{name}`, `{value}` and `{v}`
        "#]],
    );
    check(
        &with("{v}"),
        "{a b: [1, 2]}",
        expect![[r#"
            error: the parameter `a b` takes one value and has a list; give it `multiple: repeat` or `multiple: separate`
        "#]],
    );
}

#[test]
fn executions_pass_the_defaults_of_flags() {
    let lines = |flags| {
        build_commands(&step(NUMBERS), &Values::new(), flags)
            .unwrap()
            .lines[0]
            .clone()
    };
    assert!(!lines(FlagDefaults::Ignored).contains("--verbose"));
    assert!(lines(FlagDefaults::Passed).ends_with(" --verbose"));
}

#[test]
fn a_script_is_its_lines() {
    let lines = [
        "#!/bin/bash\nset -e",
        "if true; then",
        " ",
        "echo a &",
        "fi",
    ]
    .map(str::to_owned);
    assert_eq!(
        join_script(&lines),
        "#!/bin/bash\nset -e\nif true; then\necho a &\nfi"
    );
    assert_eq!(join_script(&[]), "");
}

#[test]
fn uris_take_bare_values() {
    let step = step(NUMBERS);
    let parameters: Vec<_> = step.parameters.iter().collect();
    let values = values("{lr: 0.5, decoder: a b, layers: [1]}");
    let uri =
        |uri: &str| interpolate_uri(uri, &parameters, &values).map_err(|error| error.to_string());
    let table = [
        ("s3://b/{parameter:decoder}/*.jpg", Ok("s3://b/a b/*.jpg")),
        (
            "dataset://{parameter-value:lr}_x/latest",
            Ok("dataset://0.5_x/latest"),
        ),
        ("http://x/{id}/{}", Ok("http://x/{id}/{}")),
        (
            "s3://{parameter:none}",
            Err("the parameter `none` has no value"),
        ),
        (
            "s3://{parameter:decodre}",
            Err("the step has no parameter `decodre`; did you mean `decoder`?"),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            uri(text),
            expected.map(str::to_owned).map_err(str::to_owned),
            "{text}"
        );
    }
    assert!(uri("s3://{parameter:layers}").is_err());
}

const CHECKED: &str = "
- step:
    name: train
    image: python:3
    command: run
    parameters:
      - {name: lr, type: float, min: 0, max: 1}
      - {name: epochs, type: integer, default: 5}
      - {name: model, choices: [small, large]}
      - {name: sizes, type: integer, multiple: separate}
      - {name: fast, type: flag}
";

#[test]
fn values_are_checked_as_their_parameters_take_them() {
    let step = step(CHECKED);
    let checked = |name: &str, value: &str| {
        let value = crate::parse_value(value.as_bytes()).unwrap();
        match check_value(step.parameter(name).unwrap(), &value) {
            Ok(value) => crate::python::repr(&value),
            Err(errors) => errors.iter().map(|error| format!("!{error}")).collect(),
        }
    };
    let table = [
        ("lr", "'0.5'", "0.5"),
        ("lr", "1", "1.0"),
        ("lr", "1.5", "!1.5 is greater than the maximum 1"),
        ("lr", "-1", "!-1.0 is less than the minimum 0"),
        ("lr", "''", "!no value is given"),
        ("lr", "[0.5]", "!only one value is allowed"),
        ("lr", "~", "!no value is given"),
        ("epochs", "'7'", "7"),
        ("epochs", "5.0", "!`5.0` is not an integer"),
        ("epochs", "true", "!`True` is not an integer"),
        ("model", "small", "'small'"),
        (
            "model",
            "huge",
            "!'huge' is not one of the choices: 'small', 'large'",
        ),
        ("sizes", "['1', 2]", "[1, 2]"),
        ("sizes", "3", "[3]"),
        ("sizes", "[[1]]", "!a list within a list of values"),
        (
            "sizes",
            "[a, b]",
            "!`a` is not an integer!`b` is not an integer",
        ),
        ("fast", "true", "True"),
        (
            "fast",
            "maybe",
            "!'maybe' is not one of the choices: True, False",
        ),
    ];
    for (name, value, expected) in table {
        assert_eq!(checked(name, value), expected, "{name}: {value}");
    }
}

#[test]
fn flags_are_typed_as_words() {
    let step = step(CHECKED);
    let flag = step.parameter("fast").unwrap();
    assert_eq!(value_from_text(flag, "Yes"), Ok(Value::Bool(true)));
    assert_eq!(value_from_text(flag, "0"), Ok(Value::Bool(false)));
    assert_eq!(
        value_from_text(flag, "maybe"),
        Err(ValueError::NotAFlag("maybe".to_owned()))
    );
    assert_eq!(
        value_from_text(step.parameter("lr").unwrap(), "1e-3"),
        Ok(Value::Str("1e-3".to_owned()))
    );
}
