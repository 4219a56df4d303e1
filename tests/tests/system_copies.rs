//! A worker that is drained hands over what only it has: its machine may go with its disk, and nothing that was made is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::time::Instant;

use cluster_tests::harness::{Cluster, PATIENCE};

const CONFIG: &str = r#"
- step:
    name: produce
    image: busybox
    environment: west
    command:
      - head -c 8000000 /dev/urandom > "$VH_OUTPUTS_DIR/bytes"
      - sha256sum < "$VH_OUTPUTS_DIR/bytes"
      - echo small > "$VH_OUTPUTS_DIR/note"
- step:
    name: consume
    image: busybox
    environment: east
    command:
      - sha256sum < "$VH_INPUTS_DIR/data/bytes"
    inputs:
      - name: data
"#;

/// Waits until so many outputs are on no other worker.
#[track_caller]
fn wait_until_only_there(cluster: &Cluster, worker: &str, count: u64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let shown = cluster.place.json(&["worker", "show", worker]);
        if shown["sole_blob_count"] == count {
            return;
        }
        assert!(Instant::now() < until, "it stays as it is: {shown:#}");
    }
}

/// I-20, through the real binary.
#[test]
fn what_a_drained_worker_made_outlives_its_machine() {
    let mut cluster = Cluster::of("copies", 3);
    cluster.add_worker("left", Some("west"));
    // What it keeps for others has no part in what it may cache.
    cluster.add_worker_with("right", &["--environment=east", "--blob-cache=1"]);
    cluster.place.config(CONFIG);
    cluster
        .place
        .run(&["execution", "run", "produce"])
        .succeeds();
    wait_until_only_there(&cluster, "left", 2);
    let shown = cluster.place.run(&["worker", "show", "left"]).succeeds();
    let words = "outputs     2 on no other worker";
    assert!(shown.text().contains(words), "{}", shown.text());

    let drained = cluster.place.run(&["worker", "drain", "left"]).succeeds();
    let words =
        "worker left takes no new attempts; it has none\n2 outputs are on no other worker yet";
    assert!(drained.text().starts_with(words), "{}", drained.text());
    wait_until_only_there(&cluster, "left", 0);

    // The machine goes, disk and all.
    cluster.workers[0].kill();
    fs::remove_dir_all(cluster.place.path().join("left")).unwrap();
    let place = &cluster.place;
    let made = place.execution(1);
    let bytes = made["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|output| output["file_name"] == "bytes")
        .unwrap();
    let input = format!("--data={}", bytes["uri"].as_str().unwrap());
    place
        .run(&["execution", "run", "consume", &input])
        .succeeds();
    let (produced, consumed) = (place.log_of(1, None), place.log_of(2, None));
    assert_eq!(produced.stdout(), consumed.stdout());
    let directory = place.path().join("downloaded");
    let to = directory.to_str().unwrap();
    place
        .run(&["execution", "outputs", "1", "--download", to])
        .succeeds();
    assert_eq!(
        fs::metadata(directory.join("bytes")).unwrap().len(),
        8_000_000
    );
    assert_eq!(fs::read(directory.join("note")).unwrap(), b"small\n");
}

/// Where nobody can take it, it stays, people are told, and the first that can is asked.
#[test]
fn what_nobody_can_take_waits_for_somebody_who_can() {
    let mut cluster = Cluster::of("copies-alone", 1);
    cluster.add_worker("left", Some("west"));
    cluster.place.config(CONFIG);
    cluster
        .place
        .run(&["execution", "run", "produce"])
        .succeeds();
    cluster.place.run(&["worker", "drain", "left"]).succeeds();
    let listed = cluster.place.run(&["worker", "list"]).succeeds();
    let words = "left: 2 outputs are on no other worker yet";
    assert!(listed.text().contains(words), "{}", listed.text());
    cluster.add_worker("right", Some("east"));
    wait_until_only_there(&cluster, "left", 0);
    let listed = cluster.place.run(&["worker", "list"]).succeeds();
    assert!(!listed.text().contains("yet"), "{}", listed.text());
}
