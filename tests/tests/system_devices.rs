//! What is promised of devices (I-15): one execution has a GPU at a time, programs see their own only, and `shoal explain` says who waits for
//! what. The inventory is declared, so that no GPU is needed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use cluster_tests::harness::Cluster;

const CONFIG: &str = r#"
- step:
    name: train
    image: busybox
    command:
      - echo "sees $CUDA_VISIBLE_DEVICES"
      - 'WAIT'
    resources:
      devices: {nvidia.com/gpu: 1}
- step:
    name: both
    image: busybox
    command: echo "sees $CUDA_VISIBLE_DEVICES"
    resources:
      cpu: {min: 0.5}
      devices: {nvidia.com/gpu: 2, nvidia.com/gpu.memory: 8000}
- step:
    name: none
    image: busybox
    command: echo "sees [$CUDA_VISIBLE_DEVICES] $NVIDIA_VISIBLE_DEVICES"
- step:
    name: impossible
    image: busybox
    command: "true"
    resources:
      devices: {nvidia.com/h100: 1}
"#;

#[test]
fn a_gpu_is_one_executions_at_a_time_and_explain_says_who_waits() {
    let mut cluster = Cluster::new("devices");
    let devices = cluster.place.path().join("devices");
    let both = "nvidia.com/gpu=gpu-a,name=Tesla T4,memory=15360\nnvidia.com/gpu=gpu-b,name=Tesla T4,memory=15360\n";
    fs::write(&devices, both).unwrap();
    let file = ["--slots=4", "--devices-file", devices.to_str().unwrap()];
    cluster.add_worker_with("worker", &file);
    let place = &cluster.place;
    let mut gate = place.gate("gate");
    place.config(&CONFIG.replace("WAIT", &gate.line()));
    let run = |step: &str| {
        place
            .run(&["execution", "run", step, "--detach"])
            .succeeds()
    };

    run("train");
    gate.wait();
    run("both");
    run("none");
    place.run(&["execution", "watch", "3"]).succeeds();
    assert_eq!(place.log_of(3, None).stdout(), "sees [] void\n");
    let explained = place.json(&["explain", "2"]);
    let standing = explained["standing"].as_str().unwrap();
    assert!(
        standing.contains("next on worker worker") && standing.contains("1 of 2 devices"),
        "{explained:#}"
    );
    // What is next is not passed by what needs less.
    run("train");
    let explained = place.run(&["explain", "4"]).succeeds().text();
    assert!(explained.contains("which is next there"), "{explained}");
    let shown = place.json(&["worker", "show", "worker"]);
    assert_eq!(shown["devices"][0]["id"], "gpu-a", "{shown:#}");
    assert!(shown["devices"][0]["execution"].is_string(), "{shown:#}");
    assert!(shown["devices"][1]["execution"].is_null(), "{shown:#}");

    gate.open();
    gate.open();
    for number in ["1", "2", "4"] {
        place.run(&["execution", "watch", number]).succeeds();
    }
    assert_eq!(place.log_of(1, None).stdout(), "sees gpu-a\n");
    assert_eq!(place.log_of(2, None).stdout(), "sees gpu-a,gpu-b\n");
    assert_eq!(place.log_of(4, None).stdout(), "sees gpu-a\n");

    run("impossible");
    let explained = place.run(&["explain", "5"]).succeeds().text();
    assert!(explained.contains("could ever take it"), "{explained}");
}

#[test]
fn an_execution_whose_gpu_is_gone_is_tried_again_on_another() {
    let mut cluster = Cluster::new("device-lost");
    let devices = cluster.place.path().join("devices");
    fs::write(&devices, "nvidia.com/gpu=gpu-a\nnvidia.com/gpu=gpu-b\n").unwrap();
    let file = ["--devices-file", devices.to_str().unwrap()];
    cluster.add_worker_with("worker", &file);
    let place = &cluster.place;
    let mut gate = place.gate("gate");
    place.config(&CONFIG.replace("WAIT", &gate.line()));
    place
        .run(&["execution", "run", "train", "--detach"])
        .succeeds();
    gate.wait();
    fs::write(&devices, "nvidia.com/gpu=gpu-b\n").unwrap();
    // The next attempt, on the other one.
    gate.wait();
    gate.open();
    place.run(&["execution", "watch", "1"]).succeeds();
    let execution = place.execution(1);
    let attempts = execution["attempts"].as_array().unwrap();
    assert_eq!(attempts[0]["end_reason"], "device_lost", "{execution:#}");
    assert_eq!(attempts[0]["device_ids"][0], "gpu-a", "{execution:#}");
    assert_eq!(attempts[1]["device_ids"][0], "gpu-b", "{execution:#}");
    let shown = place.json(&["worker", "show", "worker"]);
    assert_eq!(shown["devices"].as_array().unwrap().len(), 1, "{shown:#}");
}

#[test]
fn a_drained_worker_keeps_what_it_has_and_takes_nothing_new() {
    let mut cluster = Cluster::new("drain");
    cluster.add_worker("worker", None);
    let place = &cluster.place;
    let mut gate = place.gate("gate");
    let step = |name: &str, command: &str| {
        format!("- step: {{name: {name}, image: busybox, command: '{command}'}}\n")
    };
    place.config(&(step("long", &gate.line()) + &step("short", "echo done")));
    place
        .run(&["execution", "run", "long", "--detach"])
        .succeeds();
    gate.wait();
    let told = place.run(&["worker", "drain", "worker"]).succeeds().text();
    assert!(told.contains("it has 1"), "{told}");
    place
        .run(&["execution", "run", "short", "--detach"])
        .succeeds();
    let explained = place.run(&["explain", "2"]).succeeds().text();
    assert!(explained.contains("no  drains"), "{explained}");
    gate.open();
    place.run(&["execution", "watch", "1"]).succeeds();
    place.run(&["worker", "undrain", "worker"]).succeeds();
    place.run(&["execution", "watch", "2"]).succeeds();
    let unknown = place
        .run(&["worker", "drain", "nobody"])
        .ends_with(4)
        .stderr;
    let unknown = String::from_utf8_lossy(&unknown);
    assert!(unknown.contains("shoal worker list"), "{unknown}");
}
