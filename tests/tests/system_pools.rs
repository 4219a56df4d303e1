//! Machines that come for what waits, and go when nothing does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cluster_tests::harness::{Cluster, PATIENCE, shoal};
use serde_json::Value;

/// A directory for the machines of a pool, and the file of its coordinators. The command fails as long as there is a file `broken`.
struct Pool {
    directory: tempfile::TempDir,
}

impl Pool {
    fn new(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pools/processes");
        let line = format!(
            "if [ -e {at}/broken ]; then echo the quota is exceeded >&2; exit 1; fi; exec {} {} {at}/machines",
            script.display(),
            shoal().display()
        );
        let file = format!(
            "[pools.burst]\ncommand = ['sh', '-c', '{line}']\nmaximum = 2\ncool_down = 1\nidle = 1\n{more}"
        );
        fs::write(directory.path().join("shoal.toml"), file).unwrap();
        Self { directory }
    }

    fn cluster(&self, name: &str, coordinators: usize) -> Cluster {
        let config = format!("--config={}", self.path("shoal.toml").display());
        let cluster = Cluster::of_arguments(name, coordinators, &[&config]);
        cluster.place.config(
            r#"
- step:
    name: hello
    image: busybox
    environment: burst
    command: echo hello
- step:
    name: keep
    image: busybox
    environment: burst
    command: echo kept > "$VH_OUTPUTS_DIR/kept"
"#,
        );
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Looks until what is looked for is there. Every look is a command that waits for an answer.
#[track_caller]
fn wait_for(cluster: &Cluster, command: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = cluster.place.json(command);
        if wanted(&said) {
            return said;
        }
        assert!(Instant::now() < until, "it stays as it is: {said:#}");
    }
}

fn workers(said: &Value) -> &[Value] {
    said.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn a_machine_comes_for_an_execution_and_goes_after_it() {
    let pool = Pool::new("");
    let cluster = pool.cluster("pools", 3);
    let list = ["worker", "list"];
    cluster.place.run(&["execution", "run", "hello"]).succeeds();
    let execution = cluster.place.execution(1);
    let worker = execution["attempts"][0]["worker"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(worker.starts_with("burst-"), "{worker}");
    // It was drained before it was ended, and nothing else was made.
    let said = wait_for(&cluster, &list, |said| {
        workers(said)
            .iter()
            .all(|worker| worker["connected"] == false)
    });
    assert_eq!(workers(&said).len(), 1, "{said:#}");
    assert_eq!(workers(&said)[0]["draining"], true, "{said:#}");
    // Another one comes for what is asked for next.
    cluster.place.run(&["execution", "run", "hello"]).succeeds();
    let execution = cluster.place.execution(2);
    assert_ne!(execution["attempts"][0]["worker"], worker.as_str());
}

#[test]
fn what_is_wrong_with_who_makes_machines_is_told_and_it_is_asked_again() {
    let pool = Pool::new("");
    fs::write(pool.path("broken"), "").unwrap();
    let cluster = pool.cluster("pools-broken", 1);
    cluster
        .place
        .run(&["execution", "run", "hello", "--detach"])
        .succeeds();
    let status = cluster.wait_for(|status| status["pools"][0]["failure_count"].as_i64() >= Some(2));
    let failure = status["pools"][0]["failure"].as_str().unwrap_or_default();
    assert!(failure.contains("the quota is exceeded"), "{status:#}");
    let explained = cluster.place.run(&["explain", "1"]).succeeds();
    let text = explained.text();
    assert!(text.contains("1 machines in all were asked for"), "{text}");
    assert!(text.contains("the quota is exceeded"), "{text}");
    fs::remove_file(pool.path("broken")).unwrap();
    wait_for(&cluster, &["execution", "show", "1"], |said| {
        said["state"] == "complete"
    });
}

#[test]
fn a_machine_that_alone_has_outputs_is_not_given_back() {
    let pool = Pool::new("");
    let cluster = pool.cluster("pools-outputs", 1);
    cluster.place.run(&["execution", "run", "keep"]).succeeds();
    let status = cluster.wait_for(|status| status["pools"][0]["holding_workers"][0].is_string());
    assert_eq!(status["pools"][0]["present"], 1, "{status:#}");
    let execution = cluster.place.execution(1);
    let worker = format!(
        "workers/{}",
        execution["attempts"][0]["worker"].as_str().unwrap()
    );
    assert_eq!(status["pools"][0]["holding_workers"][0], worker.as_str());
}

/// What waits starts as soon as a worker joins: nobody looks from time to time.
#[test]
fn a_worker_that_joins_is_used() {
    let mut cluster = Cluster::of("joins", 1);
    cluster
        .place
        .config("- step:\n    name: hello\n    image: busybox\n    command: echo hello\n");
    let waits = ["execution", "run", "hello", "--detach", "--priority", "7"];
    cluster.place.run(&waits).succeeds();
    assert_eq!(cluster.place.execution(1)["priority"], 7);
    let explained = cluster.place.run(&["explain", "1"]).succeeds();
    assert!(
        explained.text().contains("there is no worker"),
        "{}",
        explained.text()
    );
    cluster.add_worker("joins", None);
    cluster.place.run(&["execution", "watch", "1"]).succeeds();
    assert_eq!(cluster.place.execution(1)["attempts"][0]["worker"], "joins");
}
