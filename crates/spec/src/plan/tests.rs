//! Plans as text: a file and a launch, what is run, and what is refused where.

#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};

use super::*;
use crate::model::Config;
use crate::plan::launch::read_arguments;
use crate::python::repr;
use crate::{Diagnostic, Severity};

fn config(text: &str) -> Config {
    let parsed = crate::parse(text.as_bytes());
    let diagnostics = parsed.diagnostics;
    parsed.config.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

/// `--name=value` for parameters, `node.input: URI` for inputs.
fn launch(arguments: &[&str]) -> Launch {
    let (parameters, inputs): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .partition(|argument| argument.starts_with("--"));
    let parameters: Vec<String> = parameters.into_iter().map(str::to_owned).collect();
    let inputs = inputs
        .into_iter()
        .filter_map(|input| input.split_once(": "));
    Launch {
        parameters: read_arguments(&parameters).unwrap(),
        inputs: inputs
            .map(|(name, uri)| (name.to_owned(), vec![uri.to_owned()]))
            .collect(),
        ..Launch::default()
    }
}

fn show_template(template: &StepTemplate) -> String {
    let mut out = String::new();
    for parameter in &template.parameters {
        let (name, value, origin) = (
            &parameter.definition.name.value,
            repr(&parameter.value),
            parameter.origin,
        );
        out += &format!("  {name} = {value} ({origin:?})\n");
    }
    for input in &template.inputs {
        out += &format!(
            "  {} <- {} ({:?})\n",
            input.name,
            input.uris.join(" "),
            input.origin
        );
    }
    for (name, value) in &template.environment_variables {
        out += &format!("  ${name} = {value}\n");
    }
    for name in &template.required_environment_variables {
        out += &format!("  ${name} is required\n");
    }
    match template.build_commands() {
        Ok(commands) => commands
            .lines
            .iter()
            .for_each(|line| out += &format!("  > {line}\n")),
        Err(error) => out += &format!("  ! {error}\n"),
    }
    out
}

fn show_diagnostics(diagnostics: &[Diagnostic]) -> String {
    let show = |diagnostic: &Diagnostic| {
        let Diagnostic {
            severity,
            code,
            message,
            hint,
            span,
            ..
        } = diagnostic;
        let level = if *severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        let hint = hint
            .as_ref()
            .map(|hint| format!(" [{hint}]"))
            .unwrap_or_default();
        format!(
            "{level} {} {}:{}: {message}{hint}\n",
            code.word(),
            span.line,
            span.column
        )
    };
    diagnostics.iter().map(show).collect()
}

fn check(text: &str, arguments: &[&str], expected: Expect) {
    let config = config(text);
    let shown = match expand(&config, &config.pipelines[0], &launch(arguments)) {
        Ok(Expanded { made, warnings }) => {
            let mut out = String::new();
            for node in &made.nodes {
                let merge = if node.edge_append { ", append" } else { "" };
                out += &format!(
                    "{}: {} on {} ({:?}{merge})\n",
                    node.name, node.template.step, node.template.image, node.on_error
                );
                out += &show_template(&node.template);
                for action in &node.actions {
                    out += &format!(
                        "  when {:?} if {:?} then {:?}\n",
                        action.when, action.conditions, action.then
                    );
                }
            }
            for (name, value) in &made.parameters {
                out += &format!("{name} = {}\n", repr(value));
            }
            out + &show_diagnostics(&warnings)
        }
        Err(errors) => show_diagnostics(&errors),
    };
    expected.assert_eq(&shown);
}

const STEPS: &str = "
- step:
    name: prepare
    image: python:3
    command: prepare {parameters}
    parameters:
      - {name: size, type: integer, default: 10}
      - {name: verbose, type: flag, default: true}
    inputs:
      - {name: raw, default: 'https://example.com/raw.csv'}
    environment-variables:
      - {name: LEVEL, default: info}
      - {name: TOKEN, optional: false}
- step:
    name: train
    image: pytorch
    command: ['train {parameters}']
    stop-condition: metadata.val-loss < 0.1
    parameters:
      - {name: lr, type: float}
      - {name: layers, type: integer, multiple: separate, default: [1]}
    inputs:
      - {name: data, default: 's3://bucket/data'}
      - {name: weights, optional: true}
";

fn with_steps(pipeline: &str) -> String {
    format!("{STEPS}- pipeline:\n{pipeline}")
}

fn good() -> String {
    with_steps(
        "    name: all
    parameters:
      - {name: rate, default: 0.5, targets: [train.parameters.lr]}
      - {name: unused, target: train.parameter.layers}
    nodes:
      - name: prepare
        type: execution
        step: prepare
        on-error: retry
        override: {environment-variables: [{name: TOKEN, default: t}]}
      - name: train
        type: execution
        step: train
        edge-merge-mode: append
        override:
          image: other
          parameters: [{name: layers, default: 7}]
          inputs: [{name: data}]
          environment-variables: [{name: EXTRA, default: x}]
        actions:
          - {when: [node-complete, node-sometimes], if: metadata.drift <= 1, then: stop-pipeline}
          - {when: node-complete, then: dance}
    edges:
      - ['prepare.output.*.csv', train.input.data]
      - [prepare.dependency.x, train.dependency.x]
",
    )
}

#[test]
fn a_plan_has_every_name_resolved() {
    check(
        &good(),
        &[],
        expect![[r#"
            prepare: prepare on python:3 (Retry)
              size = 10 (Default)
              verbose = True (Default)
              raw <- https://example.com/raw.csv (Default)
              $LEVEL = info
              $TOKEN = t
              $TOKEN is required
              > prepare --size=10 --verbose
            train: train on other (StopAll, append)
              lr = 0.5 (PipelineParameter)
              layers = 7 (Override)
              data <-  (Nowhere)
              weights <-  (Nowhere)
              $EXTRA = x
              > train --lr=0.5 --layers=7
              when ["node-complete"] if ["metadata.drift <= 1"] then ["stop-pipeline"]
            rate = 0.5
        "#]],
    );
    check(
        &good(),
        &[
            "--rate=0.25",
            "--prepare.size=20",
            "--prepare.verbose=no",
            "--train.layers+=3",
            "--train.layers=4",
            "prepare.raw: file:///x",
        ],
        expect![[r#"
            prepare: prepare on python:3 (Retry)
              size = 20 (Launch)
              verbose = False (Launch)
              raw <- file:///x (Launch)
              $LEVEL = info
              $TOKEN = t
              $TOKEN is required
              > prepare --size=20
            train: train on other (StopAll, append)
              lr = 0.25 (PipelineParameter)
              layers = [7, 3, 4] (Launch)
              data <-  (Nowhere)
              weights <-  (Nowhere)
              $EXTRA = x
              > train --lr=0.25 --layers=7,3,4
              when ["node-complete"] if ["metadata.drift <= 1"] then ["stop-pipeline"]
            rate = '0.25'
        "#]],
    );
}

#[test]
fn a_launch_that_does_not_fit() {
    check(
        &good(),
        &[
            "--rat=1",
            "--trian.lr=2",
            "--train.lrr=3",
            "--prepare.size=x",
            "--prepare.verbose=maybe",
            "--rate=high",
            "prepare.raws: file:///x",
            "raw: file:///x",
            "prepare.raw: s3://x",
        ],
        expect![[r#"
            error bad-launch 0:0: the pipeline `all` has no parameter `rat` [did you mean `rate`?]
            error bad-launch 0:0: the pipeline `all` has no parameter `trian.lr` [did you mean `train`?]
            error bad-launch 28:46: node `train`, parameter `lr`: `high` is not a number
            error bad-launch 0:0: node `train`, the step `train` has no parameter `lrr` [did you mean `lr`?]
            error bad-launch 0:0: node `prepare`, parameter `size`: `x` is not an integer
            error bad-launch 0:0: node `prepare`, parameter `verbose`: `maybe` is neither `true` nor `false`
            error bad-launch 0:0: node `prepare`, input `raw`: files of `s3://` cannot be fetched by this version of Shoal; taken are `http://`, `https://`, `file://` and `datum://`
            error bad-launch 0:0: node `prepare`, the step `prepare` has no input `raws` [did you mean `raw`?]
            error bad-launch 0:0: `raw` is not an input of a node [name it as `node.input`]
        "#]],
    );
}

#[test]
fn what_is_missing_is_named() {
    check(
        &with_steps(
            "    name: all
    nodes:
      - {name: train, type: execution, step: train, override: {inputs: [{name: data}]}}
      - {name: second, type: execution, step: train}
    edges:
      - [train.parameter.lr, second.parameter.lr]
      - ['train.output.*', second.input.data]
",
        ),
        &[],
        expect![[r#"
            error bad-launch 20:16: node `train`, the parameter `lr` is required and has neither a value nor a default
            error bad-launch 28:80: node `train`, the input `data` is required and has neither a URI nor a default
        "#]],
    );
}

#[test]
fn edges_that_lead_nowhere() {
    check(
        &with_steps(
            "    name: all
    nodes:
      - {name: a, type: execution, step: prepare}
      - {name: b, type: execution, step: train}
      - {name: c, type: execution, step: train}
      - {name: d, type: execution, step: train}
    edges:
      - ['a.output.*', a.input.raw]
      - ['a.output.*', b.input.dat]
      - [a.parameter.sizes, b.parameter.lr]
      - [a.metadata.x, b.parameter.lr]
      - ['a.output.*', b.parameter.lr]
      - ['a.input.ra?', b.input.data]
      - ['a.input.rb*', b.input.data]
      - [a.environment-variable.TOKEN, b.environment-variable.ANY]
      - [a.environment-variable.TOKENS, b.environment-variable.ANY]
      - ['b.output.*', c.input.data]
      - ['c.output.*', d.input.data]
      - ['d.output.*', b.input.weights]
",
        ),
        &["--c.lr=1", "--d.lr=1"],
        expect![[r#"
            error bad-graph 33:9: the edge from `a.output.*` leads to its own node
            error unknown-reference 34:24: `b.input.dat`: the step `train` has no input `dat` [did you mean `data`?]
            error unknown-reference 35:10: `a.parameter.sizes`: the step `prepare` has no parameter `sizes` [did you mean `size`?]
            error bad-graph 36:24: `b.parameter.lr` gets a value from `a.parameter.sizes` and from `a.metadata.x` [let one edge lead there]
            error bad-graph 37:9: an edge cannot make a parameter of an output [an input takes outputs and inputs, a parameter takes parameters and metadata]
            error unknown-reference 39:10: `a.input.rb*`: the step `prepare` has no input `rb*`
            error unknown-reference 41:10: `a.environment-variable.TOKENS`: the step `prepare` has no environment-variable `TOKENS` [did you mean `TOKEN`?]
            error bad-graph 41:41: `b.environment-variable.ANY` gets a value from `a.environment-variable.TOKEN` and from `a.environment-variable.TOKENS` [let one edge lead there]
            error bad-graph 44:9: the nodes wait for each other in a circle: b -> c -> d -> b
            error bad-launch 13:16: node `a`, the environment variable `TOKEN` is required and has no value
        "#]],
    );
}

#[test]
fn what_is_not_run_yet_is_refused_with_its_place() {
    check(
        "
- step:
    name: train
    image: i
    command: c
    mounts: ['/a:/b', '/var/run/docker.sock:/s']
    environment-variable-groups: [secrets]
    upload-store: store
    resources: {cpu: {min: 1}}
    inputs:
      - {name: a, default: [dataset://x/latest, 's3://{parameter:x}', 'datum://', /data, 'datum://ok', '{parameter:x}']}
- task: {name: sweep, step: train, parameters: []}
- pipeline:
    name: all
    reuse-executions: true
    nodes:
      - name: one
        type: execution
        step: train
        actions:
          - {when: node-starting, then: require-approval}
          - {when: node-complete, if: 'a >', then: noop}
      - {name: two, type: task, task: sweep}
      - {name: three, type: deployment, deployment: d}
      - {name: four, type: execution, step: other, commit: abc}
    edges:
      - ['one.output.*', three.file.e.f]
",
        &[],
        expect![[r#"
            error not-executable 21:41: `require-approval` of the node `one` cannot be run by this version of Shoal
            error bad-value 22:39: `a >` is not an expression: the expression ends too early: a value is missing
            error not-executable 6:23: refused: the mount `/var/run/docker.sock` of the step `train`: it would hand over the machine itself
            error not-executable 7:35: the step `train` with the variables of the group `secrets` cannot be run by this version of Shoal
            error not-executable 23:16: the task node `two` cannot be run by this version of Shoal
            error not-executable 24:16: the deployment node `three` cannot be run by this version of Shoal
            error not-executable 25:60: the node `four` with a step of another commit (`abc`) cannot be run by this version of Shoal
            error not-executable 11:29: node `one`, input `a`: files of `dataset://` cannot be fetched by this version of Shoal; taken are `http://`, `https://`, `file://` and `datum://`
            error not-executable 11:49: node `one`, input `a`: files of `s3://` cannot be fetched by this version of Shoal; taken are `http://`, `https://`, `file://` and `datum://`
            error not-executable 11:71: node `one`, input `a`: `datum://` names no file
            error not-executable 11:83: node `one`, input `a`: `/data` is not a URI; taken are `http://`, `https://`, `file://` and `datum://`
        "#]],
    );
}

#[test]
fn a_single_step_has_a_template_too() {
    let config = config(STEPS);
    let show = |step: usize, launch: &Launch| match template(&config.steps[step], launch) {
        Ok(expanded) => format!("{}\n{}", expanded.made.step, show_template(&expanded.made)),
        Err(errors) => show_diagnostics(&errors),
    };
    expect![[r#"
        error bad-launch 13:16: the environment variable `TOKEN` is required and has no value
    "#]]
    .assert_eq(&show(0, &launch(&["--size=5"])));
    let mut with_token = launch(&["--size=5"]);
    with_token
        .environment_variables
        .insert("TOKEN".to_owned(), "t".to_owned());
    expect![[r#"
        prepare
          size = 5 (Launch)
          verbose = True (Default)
          raw <- https://example.com/raw.csv (Default)
          $LEVEL = info
          $TOKEN = t
          $TOKEN is required
          > prepare --size=5 --verbose
    "#]]
    .assert_eq(&show(0, &with_token));
    expect![[r#"
        error bad-launch 20:16: the parameter `lr` is required and has neither a value nor a default
    "#]]
    .assert_eq(&show(1, &launch(&["data: datum://x"])));
}

#[test]
fn uris_are_interpolated_when_values_are_there() {
    let config = config(
        "- step:\n    name: s\n    image: i\n    command: c\n    parameters: [{name: x, default: 1.0}]\n    inputs: [{name: a, default: 'https://h/{parameter:x}/{parameter:y}'}]\n",
    );
    let template = template(&config.steps[0], &Launch::default()).unwrap().made;
    let built = template
        .build_uris(&template.inputs[0])
        .map_err(|error| error.to_string());
    assert_eq!(
        built,
        Err("the step has no parameter `y`; did you mean `x`?".to_owned())
    );
    let input = TemplateInput {
        uris: vec!["https://h/{parameter:x}".to_owned()],
        ..template.inputs[0].clone()
    };
    assert_eq!(
        template.build_uris(&input),
        Ok(vec!["https://h/1.0".to_owned()])
    );
}

#[test]
fn the_payload_is_the_references() {
    let config = config(&good());
    let json = reference_json(&config, &config.pipelines[0], "HEAD").unwrap();
    let train = &json["nodes"][1];
    expect![[r#"
        {
          "name": "train",
          "actions": [
            {
              "when": [
                "node-complete",
                "node-sometimes"
              ],
              "if": [
                "metadata.drift <= 1"
              ],
              "then": [
                "stop-pipeline"
              ]
            },
            {
              "when": [
                "node-complete"
              ],
              "if": [],
              "then": [
                "dance"
              ]
            }
          ],
          "edge-merge-mode": "append",
          "template": {
            "commit": "HEAD",
            "step": "train",
            "name": "train",
            "image": "other",
            "command": [
              "train {parameters}"
            ],
            "parameters": {
              "lr": null,
              "layers": 7
            },
            "inputs": {
              "data": [],
              "weights": []
            },
            "environment-variables": {
              "EXTRA": "x"
            },
            "stop-condition": "metadata.val-loss < 0.1",
            "runtime_config": {}
          },
          "type": "execution"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(train).unwrap());
    expect![[r#"
        {
          "rate": {
            "config": {
              "name": "rate",
              "default": 0.5,
              "targets": [
                "train.parameters.lr"
              ]
            },
            "expression": 0.5
          },
          "unused": {
            "config": {
              "name": "unused",
              "targets": [
                "train.parameter.layers"
              ]
            },
            "expression": ""
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&json["parameters"]).unwrap());
    expect![[r#"{"source_node":"prepare","source_type":"output","source_key":"*.csv","target_node":"train","target_type":"input","target_key":"data"}"#]].assert_eq(&json["edges"][0].to_string());
}
