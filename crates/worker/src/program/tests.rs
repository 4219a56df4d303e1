//! What a program finds, file by file.

use contract::api::{self, Source, value::Kind};
use contract::link::AssignedParameter;
use expect_test::{Expect, expect};

use super::*;

fn fence() -> Fence {
    Fence {
        execution_id: *b"\x01\x97\x4b\xba0123456789ab",
        attempt: 2,
        index: 9,
    }
}

fn parameter(name: &str, kind: Option<Kind>) -> AssignedParameter {
    AssignedParameter {
        name: name.to_owned(),
        value: Some(api::Value { kind }),
    }
}

fn assignment() -> Assignment {
    let list = [0.5, 1e-5].map(|number| api::Value {
        kind: Some(Kind::Number(number)),
    });
    Assignment {
        project: "digits".to_owned(),
        project_id: "0196c52a-528b-8d35-dd35-737aa5ae672b".to_owned(),
        execution_number: 6,
        step: "train".to_owned(),
        image: "python:3.12-slim".to_owned(),
        commands: ["#!/bin/sh", "  ", "echo a", "echo b"]
            .map(str::to_owned)
            .to_vec(),
        parameters: vec![
            parameter("epochs", Some(Kind::Integer(5))),
            parameter("rate", Some(Kind::Number(1e-5))),
            parameter("fast", Some(Kind::Boolean(true))),
            parameter("tag", Some(Kind::Text("no".to_owned()))),
            parameter("since", Some(Kind::Date("2020-09-02".to_owned()))),
            parameter(
                "grid",
                Some(Kind::List(api::ValueList {
                    items: list.to_vec(),
                })),
            ),
            parameter("unset", None),
        ],
        environment_variables: [("A", "1"), ("VH_JOB_ID", "mine")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
        source: Some(Source {
            digest: vec![0xab; 32].into(),
            commit: "2db0b9da".to_owned(),
            ..Source::default()
        }),
        create_time_ms: 1_749_322_183_984,
        ..Assignment::default()
    }
}

fn inputs() -> Vec<Input> {
    let file = |name: &str, uri: &str| InputFile {
        name: name.to_owned(),
        uri: uri.to_owned(),
        size: Some(12),
        ..InputFile::default()
    };
    vec![
        Input {
            name: "model".to_owned(),
            files: vec![InputFile {
                checksums: vec![("sha256".to_owned(), "8d42".to_owned())],
                properties_json: r#"{"valohai.tags": ["best"], "score": 1e-5}"#.to_owned(),
                ..file("a/best.bin", "datum://01974bba-352f-7c8c-d111-d8595a8649f2")
            }],
            on_demand: false,
        },
        Input {
            name: "later".to_owned(),
            files: vec![InputFile {
                size: None,
                ..file("x.zip", "https://x.org/x.zip")
            }],
            on_demand: true,
        },
        Input {
            name: "extra".to_owned(),
            ..Input::default()
        },
    ]
}

fn built(assignment: &Assignment) -> ProgramFiles {
    let machine = Machine {
        worker: "w1".to_owned(),
        version: "0.1.0".to_owned(),
        runtime: "process".to_owned(),
        local_ip: String::new(),
        has_devices: false,
    };
    let layout = Layout::below(Path::new("/valohai"));
    build(fence(), assignment, &inputs(), &layout, &machine)
}

fn check(name: &str, expected: &Expect) {
    let files = built(&assignment()).config;
    let (_, bytes) = files.iter().find(|(file, _)| file == name).unwrap();
    expected.assert_eq(std::str::from_utf8(bytes).unwrap());
}

#[test]
fn the_ten_files_and_yaml_says_what_json_says() {
    let files = built(&assignment()).config;
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    expect!["api.json api.yaml execution.json execution.yaml inputs.json inputs.yaml parameters.json parameters.yaml runtime.json runtime.yaml"].assert_eq(&names.join(" "));
    for pair in files.chunks(2) {
        // JSON is YAML, but for floats such as `1e-05`, which YAML 1.1 takes for text.
        let [json, yaml] = [0, 1].map(|at| std::str::from_utf8(&pair[at].1).unwrap());
        let json = json.replace("1e-05", "1.0e-05");
        let [json, yaml] =
            [json.as_str(), yaml].map(|text| spec::parse_value(text.as_bytes()).unwrap());
        assert_eq!(json, yaml, "{}", pair[0].0);
    }
}

#[test]
fn parameters_keep_their_types() {
    check(
        "parameters.json",
        &expect![[r#"
        {"epochs": 5, "rate": 1e-05, "fast": true, "tag": "no", "since": "2020-09-02", "grid": [0.5, 1e-05]}
    "#]],
    );
    check(
        "parameters.yaml",
        &expect![[r#"
        epochs: 5
        rate: 1.0e-05
        fast: true
        tag: "no"
        since: "2020-09-02"
        grid:
          - 0.5
          - 1.0e-05
    "#]],
    );
}

#[test]
fn inputs_say_where_their_files_are() {
    check(
        "inputs.yaml",
        &expect![[r#"
        model:
          input_id: "229d23ec-25f6-8edd-a1d8-9f714f316b9f"
          files:
            -
              name: "a/best.bin"
              path: "/valohai/inputs/model/a/best.bin"
              size: 12
              uri: "datum://01974bba-352f-7c8c-d111-d8595a8649f2"
              checksums:
                sha256: "8d42"
              metadata:
                -
                  valohai.tags:
                    - "best"
                  score: 1.0e-05
              datum_id: "01974bba-352f-7c8c-d111-d8595a8649f2"
              input_id: "229d23ec-25f6-8edd-a1d8-9f714f316b9f"
              download_intent: "always"
        later:
          files:
            -
              name: "x.zip"
              path: "/valohai/inputs/later/x.zip"
              size: null
              uri: "https://x.org/x.zip"
              checksums: {}
              metadata: []
              datum_id: null
              input_id: "eb72eabc-fa22-8638-a270-1997561c2e44"
              download_intent: "on-demand"
        extra:
          files: []
    "#]],
    );
}

#[test]
fn the_execution_outside_a_pipeline() {
    check(
        "execution.yaml",
        &expect![[r#"
        valohai.commit-identifier: "2db0b9da"
        valohai.creator-email: null
        valohai.creator-id: null
        valohai.creator-name: null
        valohai.environment-id: null
        valohai.environment-name: null
        valohai.environment-slug: null
        valohai.execution-counter: 6
        valohai.execution-ctime: "2025-06-07T18:49:43.984000+00:00"
        valohai.execution-duration: null
        valohai.execution-id: "01974bba-3031-3233-3435-363738396162"
        valohai.execution-image: "python:3.12-slim"
        valohai.execution-qtime: null
        valohai.execution-status: "created"
        valohai.execution-step: "train"
        valohai.execution-tags: []
        valohai.execution-title: null
        valohai.project-id: "0196c52a-528b-8d35-dd35-737aa5ae672b"
        valohai.project-name: "digits"
    "#]],
    );
    check(
        "runtime.yaml",
        &expect![[r#"
        shoal.attempt: 2
        shoal.runtime: "process"
        shoal.version: "0.1.0"
        shoal.worker: "w1"
    "#]],
    );
    check(
        "api.json",
        &expect![[r#"
        {}
    "#]],
    );
}

#[test]
fn the_execution_in_a_pipeline_of_a_changed_tree() {
    let mut assignment = assignment();
    assignment.pipeline_id = "01974bba-0000-8000-8000-000000000001".to_owned();
    assignment.pipeline_number = 3;
    assignment.node = "train-node".to_owned();
    if let Some(source) = &mut assignment.source {
        source.dirty = true;
    }
    let program = built(&assignment);
    let (_, bytes) = program
        .config
        .iter()
        .find(|(file, _)| file == "execution.json")
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let interesting = [
        "commit-identifier",
        "pipeline-counter",
        "pipeline-id",
        "pipeline-node-id",
        "pipeline-title",
    ];
    let lines = interesting.map(|key| format!("{key}: {}\n", json[format!("valohai.{key}")]));
    expect![[r#"
        commit-identifier: "~abababababababababababababababababababababababababababababababab"
        pipeline-counter: 3
        pipeline-id: "01974bba-0000-8000-8000-000000000001"
        pipeline-node-id: "train-node"
        pipeline-title: null
    "#]]
    .assert_eq(&lines.concat());
    let names = ["VH_PIPELINE_ID", "VH_PIPELINE_NODE_ID"];
    let variables = program
        .environment
        .iter()
        .filter(|(name, _)| names.contains(&name.as_str()));
    expect![[r#"
        VH_PIPELINE_ID=01974bba-0000-8000-8000-000000000001
        VH_PIPELINE_NODE_ID=train-node
    "#]]
    .assert_eq(
        &variables
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect::<String>(),
    );
}

#[test]
fn the_script_and_the_environment() {
    let program = built(&assignment());
    expect![[r#"
        #!/bin/sh
        echo a
        echo b"#]]
    .assert_eq(&program.script);
    let lines = program
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"));
    expect![[r#"
        A=1
        ATTEMPT_TOKEN=01974bba-3031-3233-3435-363738396162.2.9
        PYTHONUNBUFFERED=1
        VH_CONFIG_DIR=/valohai/config
        VH_EXECUTION_ID=01974bba-3031-3233-3435-363738396162
        VH_INPUTS_DIR=/valohai/inputs
        VH_JOB_ID=exec-01974bba-3031-3233-3435-363738396162
        VH_OUTPUTS_DIR=/valohai/outputs
        VH_PROJECT_ID=0196c52a-528b-8d35-dd35-737aa5ae672b
        VH_REPOSITORY_DIR=/valohai/repository
    "#]]
    .assert_eq(&lines.collect::<String>());
}
