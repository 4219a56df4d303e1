//! What is promised of machine metrics: what a step uses of its machine is seen while it runs and afterwards, is no part of what it printed, and is
//! there although the worker's daemon was not. And what is promised of `worker top`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use cluster_tests::harness::{Cluster, PATIENCE, Place};
use serde_json::Value;

/// Measured ten times a second, so that tests need not wait.
const OFTEN: &str = "--measure-every=0.1";

fn samples(place: &Place, number: &str) -> Vec<Value> {
    match place.json(&["execution", "metrics", number]) {
        Value::Array(samples) => samples,
        other => panic!("no list: {other}"),
    }
}

fn wait_for(place: &Place, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = samples(place, "1");
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < until, "not seen: {:?}", seen.last());
    }
}

/// 32 MiB of text, and a processor, until the gate opens; then a quiet moment.
fn burn(gate: &str) -> String {
    format!(
        "echo before; (exec awk 'BEGIN {{ x = \"0123456789abcdef\"; for (i = 0; i < 21; i++) x = x x; while (1) y++ }}') & {gate}; kill $!; echo after"
    )
}

fn config(place: &Place, command: &str, more: &str) {
    let command = command.replace('\'', "''");
    place.config(&format!(
        "- step:\n    name: it\n    image: busybox\n    command: '{command}'\n{more}"
    ));
}

#[test]
fn a_step_that_computes_is_seen_to_and_its_log_is_as_it_was() {
    let mut cluster = Cluster::new("metrics");
    cluster.add_worker_with("worker", &[OFTEN]);
    let place = &cluster.place;
    let mut gate = place.gate("gate");
    config(place, &burn(&gate.line()), "");
    place
        .run(&["execution", "run", "it", "--detach"])
        .succeeds();
    gate.wait();
    // While it runs, by who comes late.
    // How much of a processor it gets is the machine's matter.
    let busy = |sample: &&Value| {
        sample["cpu_seconds"].as_f64().unwrap() > 0.0
            && sample["memory_bytes"].as_u64().unwrap() > 30 << 20
    };
    wait_for(place, |seen| seen.iter().filter(busy).count() > 2);
    // And by who follows.
    let mut follows = place.start(&["execution", "metrics", "1", "--follow", "-o", "json"]);
    follows.wait_for("\"memory_bytes\"");
    gate.open();
    place.run(&["execution", "watch", "1"]).succeeds();

    let all = samples(place, "1");
    assert!(all.len() > 2, "{all:?}");
    let numbers: Vec<i64> = all
        .iter()
        .map(|one| one["record"].as_i64().unwrap())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    for sample in &all {
        assert!(sample["span_seconds"].as_f64().unwrap() >= 0.1, "{sample}");
        assert!(
            sample["network_sent_bytes"].is_null(),
            "a process has no network: {sample}"
        );
    }
    // The log is what was printed; programs that read all of it see the same samples among its records, and no number is missing.
    let log = place.log_of(1, None);
    assert_eq!(log.stdout(), "before\nafter\n");
    assert_eq!(log.samples.len(), all.len());
    let shown = place.run(&["execution", "logs", "1"]).succeeds();
    assert_eq!(shown.text(), "before\nafter\n");
    // Whether or not something follows about what was left in the background.
    let tail = place.run(&["execution", "logs", "1", "--tail", "3", "--stream=stdout"]);
    let tail = tail.succeeds().text();
    assert_eq!(tail, "before\nafter\n", "samples do not count");
    // For people.
    let drawn = place.run(&["execution", "metrics", "1"]).succeeds().text();
    for part in ["execution #1, attempt 1: ", "processors", "memory", "MEAN"] {
        assert!(drawn.contains(part), "{drawn}");
    }
}

/// The shim measures, so a daemon that is away or starts anew costs neither a sample nor the step.
#[test]
fn a_step_is_measured_on_while_its_worker_is_away() {
    let mut cluster = Cluster::new("metrics-away");
    cluster.add_worker_with("worker", &[OFTEN]);
    let mut gate = cluster.place.gate("gate");
    config(&cluster.place, &burn(&gate.line()), "");
    cluster
        .place
        .run(&["execution", "run", "it", "--detach"])
        .succeeds();
    gate.wait();
    wait_for(&cluster.place, |seen| !seen.is_empty());
    cluster.workers[0].kill();
    let feed = feed_of(&cluster.place.path().join("worker/attempts"));
    let before = fs::metadata(&feed).unwrap().len();
    let until = Instant::now() + PATIENCE;
    while fs::metadata(&feed).unwrap().len() < before + 1_000 {
        assert!(Instant::now() < until, "nothing is measured");
    }
    cluster.workers[0].restart(&cluster.place);
    gate.open();
    cluster.place.run(&["execution", "watch", "1"]).succeeds();
    let execution = cluster.place.execution(1);
    assert_eq!(execution["attempts"].as_array().unwrap().len(), 1);
    for sample in samples(&cluster.place, "1") {
        // A hole would be as long as the worker was away.
        assert!(sample["span_seconds"].as_f64().unwrap() < 30.0, "{sample}");
    }
    assert_eq!(cluster.place.log_of(1, None).stdout(), "before\nafter\n");
}

/// The feed of the only attempt.
fn feed_of(attempts: &Path) -> std::path::PathBuf {
    let mut entries = fs::read_dir(attempts)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("feed"));
    entries.find(|feed| feed.exists()).expect("an attempt runs")
}

/// A declared GPU whose operator says how to read it.
#[test]
fn the_readings_of_a_declared_gpu_rise_in_the_curve_and_in_top() {
    let mut cluster = Cluster::new("metrics-gpu");
    let readings = cluster.place.path().join("readings");
    let is_told = |percent: u32| {
        let next = readings.with_extension("next");
        fs::write(
            &next,
            format!("gpu-a, {percent}, {}, 4{percent}, 70.5\n", percent * 100),
        )
        .unwrap();
        fs::rename(&next, &readings).unwrap();
    };
    is_told(0);
    let readings = format!("--device-readings={}", readings.display());
    let arguments = [
        OFTEN,
        "--device=nvidia.com/gpu=gpu-a,name=Tesla T4,memory=15360",
        &readings,
    ];
    cluster.add_worker_with("worker", &arguments);
    let place = &cluster.place;
    let mut gate = place.gate("gate");
    let resources = "    resources:\n      devices: {nvidia.com/gpu: 1}\n";
    config(place, &gate.line(), resources);
    place
        .run(&["execution", "run", "it", "--detach"])
        .succeeds();
    gate.wait();
    for percent in [0, 9] {
        is_told(percent);
        let last = |seen: &[Value]| seen.last().map(|one| one["devices"][0].clone());
        let seen = wait_for(place, |seen| {
            last(seen).is_some_and(|device| device["utilization_percent"] == percent)
        });
        let device = last(&seen).unwrap();
        assert_eq!(device["id"], "gpu-a");
        assert_eq!(device["memory_bytes"], (u64::from(percent) * 100) << 20);
        assert_eq!(device["temperature_celsius"], 40 + i64::from(percent));
        assert_eq!(device["power_milliwatts"], 70_500);
    }
    let until = Instant::now() + PATIENCE;
    let worker = loop {
        let workers = place.json(&["worker", "top", "--once"]);
        let worker = workers[0].clone();
        if worker["devices"][0]["utilization_percent"] == 9 {
            break worker;
        }
        assert!(Instant::now() < until, "{worker:#}");
    };
    assert!(
        worker["usage"]["memory_bytes"].as_u64().unwrap() > 0,
        "{worker:#}"
    );
    assert!(
        worker["usage"]["disk_total_bytes"].as_u64().unwrap() > 0,
        "{worker:#}"
    );
    assert!(worker["usage"]["cpu_millis"].is_u64(), "{worker:#}");
    let shown = place.run(&["worker", "top", "--once"]).succeeds().text();
    for part in [
        "PROCESSORS",
        "Tesla T4",
        "9 %",
        "900 MiB of 15.0 GiB",
        "49 °C",
        "70 W",
        "#1",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Again and again, until it is left.
    let mut top = place.start(&["worker", "top", "--every=0.2"]);
    top.wait_for("PROCESSORS");
    top.wait_for("PROCESSORS");
    top.kill();
    gate.open();
    place.run(&["execution", "watch", "1"]).succeeds();
    let drawn = place.run(&["execution", "metrics", "1"]).succeeds().text();
    assert!(
        drawn.contains("gpu-a busy") && drawn.contains("9 %"),
        "{drawn}"
    );
}

/// The driver's program, in a form that this test has written.
#[test]
fn a_driver_is_asked_once_and_goes_on_telling() {
    let mut cluster = Cluster::new("metrics-driver");
    let bin = cluster.place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let driver = bin.join("nvidia-smi");
    let script = "#!/bin/sh\ncase \"$*\" in\n*utilization*) while echo GPU-1, 55, 1024, 61, 70.25; do sleep 0.05; done ;;\n\
                  *memory.total*) echo GPU-1, NVIDIA T4, 15360, 550.1, 00000000:3B:00.0 ;;\n*) echo 'GPU 0: NVIDIA T4 (UUID: GPU-1)' ;;\nesac\n";
    fs::write(&driver, script).unwrap();
    fs::set_permissions(&driver, fs::Permissions::from_mode(0o755)).unwrap();
    let around = format!("PATH={}:$PATH exec \"$@\" {OFTEN}", bin.display());
    cluster.add_worker_within("worker", None, Some(&around));
    let place = &cluster.place;
    let mut gate = place.gate("gate");
    config(
        place,
        &gate.line(),
        "    resources:\n      devices: {nvidia.com/gpu: 1}\n",
    );
    place
        .run(&["execution", "run", "it", "--detach"])
        .succeeds();
    gate.wait();
    let seen = wait_for(place, |seen| {
        seen.last()
            .is_some_and(|one| one["devices"][0]["utilization_percent"] == 55)
    });
    assert_eq!(
        seen.last().unwrap()["devices"][0]["power_milliwatts"],
        70_250
    );
    let shown = place.json(&["worker", "show", "worker"]);
    let device = &shown["devices"][0];
    assert_eq!(device["driver_version"], "550.1", "{shown:#}");
    assert_eq!(device["pci_bus_id"], "00000000:3B:00.0", "{shown:#}");
    gate.open();
    place.run(&["execution", "watch", "1"]).succeeds();
}

/// Only a machine with a GPU of its own can show that a program that computes on it is seen to.
#[test]
fn training_on_a_real_gpu_is_seen_to() {
    let asked = std::process::Command::new("nvidia-smi").arg("-L").output();
    let list = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if !list.is_ok_and(|list| list.contains("UUID: GPU-")) {
        eprintln!("SKIPPED, as this machine has no NVIDIA GPU");
        return;
    }
    let imports = std::process::Command::new("python3")
        .args(["-c", "import torch; assert torch.cuda.is_available()"])
        .status();
    if !imports.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED, as this machine's python3 has no torch that finds the GPU");
        return;
    }
    let mut cluster = Cluster::new("metrics-real-gpu");
    cluster.add_worker_with("worker", &["--measure-every=0.5"]);
    let place = &cluster.place;
    fs::write(place.project().join("train.py"), TRAIN).unwrap();
    config(
        place,
        "python3 train.py",
        "    resources:\n      devices: {nvidia.com/gpu: 1}\n",
    );
    place.run(&["execution", "run", "it"]).succeeds();
    let execution = place.execution(1);
    assert!(
        execution["metadata"]["accuracy"].as_f64().unwrap() > 0.9,
        "{execution:#}"
    );
    let most = samples(place, "1")
        .iter()
        .filter_map(|one| one["devices"][0]["utilization_percent"].as_u64())
        .max();
    assert!(most.unwrap_or(0) > 20, "its utilisation rises: {most:?}");
}

/// Learns which of two spirals a point is on, for some seconds at least.
const TRAIN: &str = r#"
import json, time, torch
torch.manual_seed(0)
t = torch.rand(4096, device="cuda") * 6
side = torch.randint(0, 2, (4096,), device="cuda")
angle = t + side * 3.14159
points = torch.stack([t * angle.cos(), t * angle.sin()], 1)
model = torch.nn.Sequential(*[layer for n in (2, 2048, 2048) for layer in (torch.nn.Linear(n, 2048), torch.nn.ReLU())], torch.nn.Linear(2048, 2)).cuda()
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
until = time.time() + 10
while time.time() < until:
    loss = torch.nn.functional.cross_entropy(model(points), side)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print(json.dumps({"accuracy": (model(points).argmax(1) == side).float().mean().item()}))
"#;

/// What is brought for a step before it runs is seen: here an input from the web, a byte at a look.
#[test]
fn what_a_step_waits_for_on_its_worker_is_told() {
    const BYTES: usize = 1_000_000;
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let input = format!(
        "    inputs:\n      - name: rows\n        default: http://{}/rows.csv\n",
        web.local_addr().unwrap()
    );
    let mut cluster = Cluster::new("activity");
    cluster.add_worker_with("worker", &[OFTEN]);
    let place = &cluster.place;
    config(place, "wc -c <$VH_INPUTS_DIR/rows/rows.csv", &input);
    place
        .run(&["execution", "run", "it", "--detach"])
        .succeeds();
    let (mut call, _) = web.accept().unwrap();
    let mut head = BufReader::new(call.try_clone().unwrap()).lines();
    while !head.next().unwrap().unwrap().is_empty() {}
    write!(call, "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").unwrap();
    let mut sent = 0;
    let until = Instant::now() + PATIENCE;
    // What it did a moment before is told for a moment longer.
    loop {
        let explained = place.json(&["explain", "1"]);
        if explained["activity"] == "fetching the input rows" {
            break;
        }
        assert!(Instant::now() < until, "not told: {explained:#}");
        call.write_all(b"x").unwrap();
        sent += 1;
    }
    let told = place.run(&["explain", "1"]).succeeds().text();
    assert!(
        told.contains("is with worker worker, fetching the input rows"),
        "{told}"
    );
    // Who watches is told so too, without having asked.
    let mut watch = place.start(&["execution", "watch", "1"]);
    watch.wait_for("with worker worker, fetching the input rows");
    call.write_all(&vec![b'x'; BYTES - sent]).unwrap();
    watch.ends_with(0);
    let explained = place.json(&["explain", "1"]);
    assert!(explained["activity"].is_null(), "{explained:#}");
}
