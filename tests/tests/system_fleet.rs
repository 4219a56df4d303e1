//! What is promised of several machines: steps go where their environment says, outputs go from worker to worker, and a full disk is
//! the trouble of one attempt only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use cluster_tests::harness::Cluster;

/// I-19: the coordinator says who has the bytes, and never has them itself.
#[test]
fn outputs_move_from_worker_to_worker() {
    let mut cluster = Cluster::new("fleet");
    cluster.add_worker("left", Some("west"));
    cluster.add_worker("right", Some("east"));
    cluster.place.config(
        r#"
- step:
    name: produce
    image: busybox
    environment: west
    command:
      - head -c 8000000 /dev/urandom > "$VH_OUTPUTS_DIR/bytes"
      - sha256sum < "$VH_OUTPUTS_DIR/bytes"
- step:
    name: consume
    image: busybox
    environment: east
    command:
      - sha256sum < "$VH_INPUTS_DIR/data/bytes"
    inputs:
      - name: data
- pipeline:
    name: across
    nodes:
      - name: produce
        type: execution
        step: produce
      - name: consume
        type: execution
        step: consume
    edges:
      - [produce.output.bytes, consume.input.data]
"#,
    );
    cluster.place.run(&["pipeline", "run", "across"]).succeeds();
    let (produce, consume) = (cluster.place.execution(1), cluster.place.execution(2));
    assert_eq!(produce["attempts"][0]["worker"], "left", "{produce:#}");
    assert_eq!(consume["attempts"][0]["worker"], "right", "{consume:#}");
    let sum = cluster.place.log_of(1, None).stdout();
    assert_eq!(sum.trim().len(), 67, "a sum and a dash: {sum}");
    assert_eq!(
        cluster.place.log_of(2, None).stdout(),
        sum,
        "what was consumed is what was produced"
    );

    let digest = produce["outputs"][0]["digest"]
        .as_str()
        .expect("the output has a digest");
    for (who, holds) in [("left", true), ("right", true), ("coordinator", false)] {
        let blob = cluster
            .place
            .path()
            .join(who)
            .join("blobs")
            .join(&digest[..2])
            .join(digest);
        assert_eq!(fs::exists(&blob).unwrap(), holds, "{}", blob.display());
    }
    // The same bytes again, this time by the client.
    let directory = cluster.place.path().join("downloaded");
    cluster
        .place
        .run(&[
            "execution",
            "outputs",
            "1",
            "--download",
            directory.to_str().unwrap(),
        ])
        .succeeds();
    assert_eq!(
        fs::metadata(directory.join("bytes")).unwrap().len(),
        8_000_000
    );
}

/// I-16: a second daemon over a copy of a worker's directory gets nothing and harms nothing, and people are told.
#[test]
fn a_copied_data_directory_takes_nothing_from_the_original() {
    let mut cluster = Cluster::new("copied");
    cluster.add_worker("worker", None);
    let place = &cluster.place;
    let mut gate = place.gate("gate");
    place.config(&format!(
        "- step: {{name: long, image: busybox, command: '{}'}}\n- step: {{name: short, image: busybox, command: echo done}}\n",
        gate.line()
    ));
    place
        .run(&["execution", "run", "long", "--detach"])
        .succeeds();
    gate.wait();
    let listed = place.run(&["worker", "list"]).succeeds().text();
    assert!(!listed.contains("second daemon"), "{listed}");

    let (original, copy) = (place.path().join("worker"), place.path().join("copy"));
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&original, &copy])
        .status();
    assert!(copied.unwrap().success());
    let mut second = place.start(&[
        "worker",
        "--name=worker",
        "--slots=2",
        &format!("--coordinator={}", cluster.coordinator.address),
        &format!("--data-dir={}", copy.display()),
    ]);
    second.wait_for("another daemon is in contact as worker worker");
    let listed = place.run(&["worker", "list"]).succeeds().text();
    assert!(
        listed.contains("worker: a second daemon spoke as this worker"),
        "{listed}"
    );
    gate.open();
    place.run(&["execution", "watch", "1"]).succeeds();
    let execution = place.execution(1);
    assert_eq!(
        execution["attempts"].as_array().unwrap().len(),
        1,
        "{execution:#}"
    );
    // With the original gone, the other one is as good as any.
    cluster.workers[0].kill();
    let place = &cluster.place;
    place.run(&["execution", "run", "short"]).succeeds();
}

/// A worker on a small disk: the step that fills it fails with words, and the worker takes the next one.
#[test]
fn a_full_disk_ends_one_attempt_and_the_worker_goes_on() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a small disk");
        return;
    }
    let mut cluster = Cluster::new("full-disk");
    let data = cluster.place.path().join("small");
    fs::create_dir(&data).unwrap();
    // In a mount namespace of its own, so that the disk is gone when the last process in it is.
    let mount = format!("mount -t tmpfs -o size=24m none {}", data.display());
    let around = format!(
        "exec unshare --mount --propagation private sh -c '{mount} && exec \"$@\"' sh \"$@\""
    );
    cluster.add_worker_within("small", None, Some(&around));
    cluster.place.config(
        r#"
- step:
    name: fill-outputs
    image: busybox
    command: head -c 60000000 /dev/zero > "$VH_OUTPUTS_DIR/zeros"
- step:
    name: fill-by-collecting
    image: busybox
    command: head -c 14000000 /dev/urandom > "$VH_OUTPUTS_DIR/bytes"
- step:
    name: fill-log
    image: busybox
    command: yes 'a line that is long enough to fill a small disk before anyone loses patience' | head -c 200000000
- step:
    name: small
    image: busybox
    command: echo well
"#,
    );
    for (step, reasons) in [
        // The program finds no room, and says so by its exit code; or its complaint was what did not fit into the log.
        ("fill-outputs", &["exit_code", "disk_full"][..]),
        ("fill-by-collecting", &["disk_full"]),
        ("fill-log", &["disk_full"]),
    ] {
        let finished = cluster
            .place
            .run(&["execution", "run", step, "--quiet"])
            .ends_with(1);
        let execution = cluster.place.newest();
        assert_eq!(execution["step"], step, "{execution:#}");
        assert_eq!(
            execution["state"],
            "error",
            "{execution:#}\n{}",
            finished.text()
        );
        let reason = execution["end_reason"].as_str().unwrap_or_default();
        assert!(reasons.contains(&reason), "{execution:#}");
        assert_eq!(
            execution["attempts"].as_array().map(Vec::len),
            Some(1),
            "not the machine's loss: {execution:#}"
        );
        assert!(
            execution["outputs"].as_array().is_some_and(Vec::is_empty),
            "I-18: {execution:#}"
        );
        // What the step left is removed behind its end: until then there may be no room for others, which must be said likewise.
        while cluster
            .place
            .run(&["execution", "run", "small", "--quiet"])
            .code
            != Some(0)
        {
            assert_eq!(
                cluster.place.newest()["end_reason"],
                "disk_full",
                "after {step}"
            );
        }
    }
}
