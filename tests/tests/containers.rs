//! What is promised of steps in containers: the same as of all steps, and that a worker lets no more be done than it grants. Where there is no
//! container engine each test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use cluster_tests::harness::{BUSYBOX, Cluster, Engine, Log};
use serde_json::Value;

/// A cluster whose one worker runs steps in containers, and a directory of the machine that it grants.
fn cluster(name: &str, more: &[&str]) -> Option<(Cluster, &'static Engine)> {
    let engine = Engine::get()?;
    let mut cluster = Cluster::new(name);
    let shared = cluster.place.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mount = format!("--allow-mount={}", shared.display());
    let mut arguments = vec![
        "--runtime=docker",
        "--container-network=none",
        "--container-memory=128",
        &mount,
    ];
    arguments.extend(more);
    cluster.add_worker_with("boxer", &arguments);
    Some((cluster, engine))
}

fn attempts(execution: &Value) -> usize {
    execution["attempts"].as_array().unwrap().len()
}

/// Waits until the worker has forgotten all it had, and so has the engine.
fn nothing_is_left(cluster: &Cluster, engine: &Engine) {
    let data = cluster.place.path().join("boxer");
    let until = std::time::Instant::now() + cluster_tests::harness::PATIENCE;
    while !engine.containers(&data).is_empty() {
        assert!(
            std::time::Instant::now() < until,
            "left: {:?}",
            engine.containers(&data)
        );
    }
}

#[test]
fn a_pipeline_runs_in_containers_and_leaves_nothing() {
    let Some((cluster, engine)) = cluster("boxes", &[]) else {
        return;
    };
    let place = &cluster.place;
    place.config(&format!(
        r#"
- step:
    name: make
    image: {BUSYBOX}
    command:
      - 'echo "{{\"letters\": 5}}"'
      - test -x /bin/busybox && test ! -e /usr/bin/python3 && echo in the image
      - echo made by {{parameter-value:who}} >$VH_OUTPUTS_DIR/note.txt
    parameters:
      - name: who
        type: string
        default: it's me
- step:
    name: read
    image: {BUSYBOX}
    command: cat /valohai/inputs/notes/note.txt
    inputs:
      - name: notes
- pipeline:
    name: both
    nodes:
      - {{name: make, type: execution, step: make}}
      - {{name: read, type: execution, step: read}}
    edges:
      - [make.output.*, read.input.notes]
"#
    ));
    place.run(&["pipeline", "run", "both"]).succeeds();
    let make = place.execution(1);
    assert_eq!(make["metadata"]["letters"], 5);
    assert_eq!(attempts(&make), 1);
    let digest = make["attempts"][0]["image_digest"].as_str().unwrap();
    let known = engine.docker(&["image", "inspect", "--format", "{{.Id}}", BUSYBOX]);
    assert_eq!(
        digest,
        known.trim(),
        "an image of no registry is named by its id"
    );
    let log = |number| place.log_of(number, None);
    let printed = |log: &Log, stream: &str| -> String {
        let of_stream = log.records.iter().filter(|(from, _)| from == stream);
        of_stream.map(|(_, text)| text.as_str()).collect()
    };
    let told = printed(&log(1), "status");
    assert!(
        told.contains(&format!("image {BUSYBOX}, {digest}")) && told.contains("started"),
        "{told}"
    );
    assert!(printed(&log(1), "stdout").contains("in the image"));
    assert!(printed(&log(2), "stdout").contains("made by it's me"));
    let worker = place.json(&["worker", "show", "boxer"]);
    assert_eq!(worker["runtime"], "docker", "{worker}");
    nothing_is_left(&cluster, engine);
}

/// I-06, I-12, I-17, I-21.
#[test]
fn a_killed_worker_takes_its_containers_back() {
    let Some((mut cluster, engine)) = cluster("adopts", &[]) else {
        return;
    };
    let shared = cluster.place.path().join("shared");
    cluster.place.config(&format!(
        "- step:\n    name: long\n    image: {BUSYBOX}\n    mounts: ['{}:/shared']\n    command:\n      - echo before\n      - touch /shared/begun\n      \
         - until [ -e /shared/go ]; do sleep 0.05; done\n      - echo after\n      - exit 3\n",
        shared.display()
    ));
    cluster
        .place
        .run(&["execution", "run", "long", "--detach"])
        .succeeds();
    let until = std::time::Instant::now() + cluster_tests::harness::PATIENCE;
    while !shared.join("begun").exists() {
        assert!(std::time::Instant::now() < until, "the step does not begin");
    }
    cluster.workers[0].kill();
    let data = cluster.place.path().join("boxer");
    assert_eq!(engine.containers(&data).len(), 1, "it runs on");
    fs::write(shared.join("go"), "").unwrap();
    cluster.workers[0].restart(&cluster.place);
    cluster.place.run(&["execution", "watch", "1"]).ends_with(1);
    let execution = cluster.place.execution(1);
    assert_eq!(execution["exit_code"], 3, "{execution}");
    assert_eq!(attempts(&execution), 1);
    let log = cluster.place.log_of(1, None);
    let lines: Vec<&str> = log.records.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        lines[1..],
        ["started\n", "before\n", "after\n"],
        "{lines:?}"
    );
    nothing_is_left(&cluster, engine);
}
