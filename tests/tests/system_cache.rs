//! What a worker keeps of what it has fetched: as much as it may, the longest unused goes first, and never what was made there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use cluster_tests::harness::{Cluster, PATIENCE};
use serde_json::Value;

const STEPS: &str = r#"
- step:
    name: make
    image: busybox
    environment: west
    command:
      - head -c "$BYTES" /dev/urandom > "$VH_OUTPUTS_DIR/bytes"
      - sha256sum < "$VH_OUTPUTS_DIR/bytes"
- step:
    name: own
    image: busybox
    environment: east
    command:
      - head -c "$BYTES" /dev/urandom > "$VH_OUTPUTS_DIR/bytes"
- step:
    name: read
    image: busybox
    environment: east
    command:
      - sha256sum < "$VH_INPUTS_DIR/data/bytes"
    inputs:
      - name: data
- step:
    name: copy
    image: busybox
    environment: east
    command:
      - cp "$VH_INPUTS_DIR/data/bytes" "$VH_OUTPUTS_DIR/bytes"
      - sha256sum < "$VH_OUTPUTS_DIR/bytes"
    inputs:
      - name: data
"#;

/// An output that a step has made.
struct Made {
    uri: String,
    digest: String,
    /// What the step printed of it.
    sum: String,
}

/// Runs a step that makes one output.
fn run(cluster: &Cluster, arguments: &[&str]) -> Made {
    let run = [&["execution", "run"], arguments].concat();
    cluster.place.run(&run).succeeds();
    let execution = cluster.place.newest();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = execution["number"].as_i64().unwrap();
    Made {
        uri: text(&execution["outputs"][0]["uri"]),
        digest: text(&execution["outputs"][0]["digest"]),
        sum: cluster.place.log_of(number, None).stdout(),
    }
}

/// Makes an output of so many bytes: `make` where nothing is read, `own` where it is.
fn make(cluster: &Cluster, step: &str, bytes: usize) -> Made {
    run(cluster, &[step, &format!("--env=BYTES={bytes}")])
}

/// Runs a step with this input, which must find in it what was made.
fn with_input(cluster: &Cluster, step: &str, input: &Made) {
    let given = format!("--data={}", input.uri);
    assert_eq!(run(cluster, &[step, &given]).sum, input.sum);
}

fn blob(cluster: &Cluster, worker: &str, digest: &str) -> PathBuf {
    let blobs = cluster.place.path().join(worker).join("blobs");
    blobs.join(&digest[..2]).join(digest)
}

/// Waits until exactly those are on the worker.
fn wait_for(cluster: &Cluster, worker: &str, expected: &[(&Made, bool)]) {
    let until = Instant::now() + PATIENCE;
    loop {
        let is_here = |made: &Made| blob(cluster, worker, &made.digest).exists();
        let here: Vec<_> = expected.iter().map(|(made, _)| is_here(made)).collect();
        let wanted: Vec<_> = expected.iter().map(|(_, wanted)| *wanted).collect();
        if here == wanted {
            return;
        }
        assert!(
            Instant::now() < until,
            "it stays at {here:?}, not {wanted:?}"
        );
        // Takes its time by itself.
        cluster.place.run(&["worker", "list"]).succeeds();
    }
}

/// Sizes of the blobs that the worker has only fetched.
fn cached(cluster: &Cluster, worker: &str) -> Vec<u64> {
    let blobs = cluster.place.path().join(worker).join("blobs");
    let dirs = fs::read_dir(blobs).unwrap().map(|dir| dir.unwrap().path());
    let files = dirs.flat_map(|dir| fs::read_dir(dir).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let marks = paths.filter(|path| path.extension().is_some_and(|end| end == "cached"));
    marks
        .map(|mark| fs::metadata(mark.with_extension("")).unwrap().len())
        .collect()
}

#[test]
fn what_was_fetched_stays_within_its_bound_and_what_was_made_here_stays() {
    let mut cluster = Cluster::new("cache");
    cluster.add_worker_with("maker", &["--environment=west"]);
    // Two of the inputs, and no third.
    let bound = 8 << 20;
    cluster.add_worker_with("reader", &["--environment=east", "--blob-cache=8"]);
    cluster.place.config(STEPS);
    let inputs: Vec<Made> = (0..4).map(|_| make(&cluster, "make", 3_000_000)).collect();
    let [first, second, third, fourth] = &inputs[..] else {
        panic!("four were made");
    };
    // Larger than the bound, and made here; and one that was fetched first, and then made here.
    let own = make(&cluster, "own", 9_000_000);
    with_input(&cluster, "copy", first);
    for input in [second, third, fourth] {
        with_input(&cluster, "read", input);
    }
    let stays = [(&own, true), (first, true)];
    let seen = [(second, false), (third, true), (fourth, true)];
    wait_for(&cluster, "reader", &[&stays[..], &seen].concat());
    let sizes = cached(&cluster, "reader");
    assert!(sizes.iter().sum::<u64>() <= bound, "{sizes:?}");
    assert_eq!(sizes.iter().filter(|size| **size == 3_000_000).count(), 2);
    assert!(
        sizes.iter().any(|size| *size < 1_000_000),
        "source trees are fetched, too: {sizes:?}"
    );

    // One that was used again outlives one that was not, and one that went is fetched again.
    with_input(&cluster, "read", third);
    with_input(&cluster, "read", second);
    let seen = [(second, true), (third, true), (fourth, false)];
    wait_for(&cluster, "reader", &[&stays[..], &seen].concat());
    let sizes = cached(&cluster, "reader");
    assert!(sizes.iter().sum::<u64>() <= bound, "{sizes:?}");

    // The worker that made them has them all.
    for made in &inputs {
        assert!(blob(&cluster, "maker", &made.digest).exists());
    }
    assert!(cached(&cluster, "maker").iter().all(|size| *size < 1 << 20));
}

/// Without a bound it goes when an input, or an output, finds no room: no step fails by that.
#[test]
fn what_was_fetched_makes_room_for_steps_on_a_full_disk() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount a small disk");
        return;
    }
    let mut cluster = Cluster::new("cache-disk");
    cluster.add_worker("maker", Some("west"));
    let data = cluster.place.path().join("small");
    fs::create_dir(&data).unwrap();
    // In a mount namespace of its own, so that the disk is gone when the last process in it is.
    let mount = format!("mount -t tmpfs -o size=60m none {}", data.display());
    let around = format!(
        "exec unshare --mount --propagation private sh -c '{mount} && exec \"$@\"' sh \"$@\""
    );
    cluster.add_worker_within("small", Some("east"), Some(&around));
    cluster.place.config(STEPS);
    // Each takes its size twice while its step runs: all of them have no room.
    for _ in 0..4 {
        let input = make(&cluster, "make", 14_000_000);
        with_input(&cluster, "read", &input);
    }
    // Beside two inputs, and a copy that is not removed yet, it finds room to be written, and none to be stored.
    make(&cluster, "own", 16_000_000);
    let number = cluster.place.newest()["number"].to_string();
    let to = cluster.place.path().join("downloaded");
    let download = ["execution", "outputs", &number, "--download"];
    let download = [&download[..], &[to.to_str().unwrap()]].concat();
    cluster.place.run(&download).succeeds();
    assert_eq!(fs::metadata(to.join("bytes")).unwrap().len(), 16_000_000);
}
