//! Three coordinators as real processes: what people and steps notice when one is killed, stopped or lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use cluster_tests::harness::Cluster;

const QUICK: &str = "- step:
    name: quick
    image: busybox
    command: echo done
";

/// Runs a step to its end through whichever coordinator answers.
fn run(cluster: &Cluster) {
    cluster.place.run(&["execution", "run", "quick"]).succeeds();
}

/// How many executions are recorded, as a fresh read tells.
fn recorded(cluster: &Cluster) -> usize {
    let list = cluster.place.json(&["execution", "list", "--limit=1000"]);
    list.as_array().expect("a list").len()
}

/// I-01, I-12
#[test]
fn a_killed_leader_is_followed_and_nothing_is_lost() {
    let mut cluster = Cluster::of("failover", 3);
    cluster.add_worker("alone", None);
    cluster.place.config(QUICK);
    run(&cluster);
    for round in 0..3 {
        let leader = cluster.leader();
        cluster.coordinator_at(leader).kill();
        run(&cluster);
        assert_eq!(recorded(&cluster), round + 2, "I-01");
        cluster.restart_coordinator(leader);
    }
}

/// I-12
#[test]
fn all_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::of("all-killed", 3);
    cluster.add_worker("alone", None);
    cluster.place.config(QUICK);
    run(&cluster);
    for position in 0..3 {
        cluster.coordinator_at(position).kill();
    }
    let place = &cluster.place;
    cluster.coordinator.restart(place);
    for other in &mut cluster.others {
        other.restart(place);
    }
    run(&cluster);
    assert_eq!(recorded(&cluster), 2);
}

/// I-11
#[test]
fn without_a_majority_reads_are_refused_or_old() {
    let mut cluster = Cluster::of("no-quorum", 3);
    cluster.add_worker("alone", None);
    cluster.place.config(QUICK);
    run(&cluster);
    cluster.others[0].kill();
    cluster.others[1].kill();
    let list = ["execution", "list", "--deadline=6"];
    let refused = cluster.place.run(&list).ends_with(4);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("NO_QUORUM"), "{told}");
    let old = cluster.place.json(&["execution", "list", "--stale"]);
    assert_eq!(old.as_array().map(Vec::len), Some(1));
    for position in [1, 2] {
        cluster.restart_coordinator(position);
    }
    run(&cluster);
}

/// I-13
#[test]
fn a_member_whose_log_is_gone_does_not_start_and_is_replaced() {
    let mut cluster = Cluster::of("wiped", 3);
    cluster.place.config(QUICK);
    let lost = &mut cluster.others[1];
    lost.kill();
    fs::remove_dir_all(lost.data.join("raft")).unwrap();
    let (data, address) = (lost.data.display().to_string(), lost.address.clone());
    let start = |arguments: &[&str]| {
        let own = ["coordinator", "--data-dir", &data, "--listen", &address];
        cluster.place.run(&[&own[..], arguments].concat())
    };
    let told = start(&[]).ends_with(1).stderr;
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("shoal cluster remove 3"), "{told}");
    cluster.place.run(&["cluster", "remove", "3"]).succeeds();
    fs::remove_dir_all(&cluster.others[1].data).unwrap();
    cluster.others.pop();
    cluster.add_coordinator();
    let status = cluster.status();
    assert_eq!(status["members"].as_array().unwrap().len(), 3, "{status:#}");
    assert_eq!(
        status["members"][2]["member_id"], 4,
        "numbers never come back"
    );
}

/// I-13
#[test]
fn a_member_whose_disk_was_put_back_does_not_start() {
    let mut cluster = Cluster::of("rolled-back", 3);
    cluster.add_worker("alone", None);
    cluster.place.config(QUICK);
    run(&cluster);
    let follower = (cluster.leader() + 1) % 3;
    cluster.coordinator_at(follower).stop();
    let data = cluster.coordinator_at(follower).data.clone();
    let copy = data.with_extension("copy");
    copy_all(&data, &copy);
    cluster.restart_coordinator(follower);
    run(&cluster);
    cluster.coordinator_at(follower).kill();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&copy, &data).unwrap();
    let address = cluster.coordinator_at(follower).address.clone();
    let own = [
        "coordinator",
        "--data-dir",
        data.to_str().unwrap(),
        "--listen",
        &address,
    ];
    let told = cluster.place.run(&own).ends_with(1).stderr;
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("put back to an older copy"), "{told}");
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// I-12
#[test]
fn a_rolling_restart_fails_no_call_and_restarts_no_step() {
    let mut cluster = Cluster::of("rolling", 3);
    cluster.add_worker("alone", None);
    let mut gate = cluster.place.gate("gate");
    cluster.place.config(&format!(
        "{QUICK}- step:
    name: long
    image: busybox
    command:
      - echo first
      - {}
      - echo last
",
        gate.line()
    ));
    let mut long = cluster.place.start(&["execution", "run", "long"]);
    gate.wait();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let place = cluster.place.another();
        let calls = scope.spawn(move || {
            let mut calls = 0;
            // Until the other end is dropped.
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                place.run(&["execution", "run", "quick"]).succeeds();
                calls += 1;
            }
            calls
        });
        for position in 0..3 {
            cluster.coordinator_at(position).stop();
            cluster.restart_coordinator(position);
        }
        drop(stop);
        assert!(calls.join().unwrap() > 0);
    });
    gate.open();
    let shown = long.ends_with(0);
    let shown: Vec<&str> = shown
        .iter()
        .filter_map(|line| line.strip_prefix("long | "))
        .skip_while(|line| *line != "first")
        .collect();
    assert_eq!(shown, ["first", "last"], "I-21");
    let attempts = cluster.place.execution(1)["attempts"].clone();
    assert_eq!(attempts.as_array().map(Vec::len), Some(1), "{attempts:#}");
}

/// A backup becomes a cluster of its own.
#[test]
fn a_backup_founds_a_new_cluster() {
    let mut cluster = Cluster::of("backup", 1);
    cluster.add_worker("alone", None);
    cluster.place.config(QUICK);
    run(&cluster);
    let file = cluster.place.path().join("backup");
    let file = file.to_str().unwrap();
    cluster.place.run(&["cluster", "snapshot", file]).succeeds();
    run(&cluster);
    let before = cluster.status();
    cluster.coordinator.stop();
    let data = cluster.coordinator.data.display().to_string();
    let restore = ["cluster", "restore", file, "--data-dir", &data];
    let told = cluster.place.run(&restore).ends_with(2).stderr;
    assert!(String::from_utf8_lossy(&told).contains("is not empty"));
    fs::remove_dir_all(&data).unwrap();
    cluster.place.run(&restore).succeeds();
    cluster.coordinator.restart(&cluster.place);
    let after = cluster.status();
    assert_ne!(before["cluster_id"], after["cluster_id"]);
    assert_eq!(recorded(&cluster), 1);
    run(&cluster);
    assert_eq!(recorded(&cluster), 2);
}

/// I-12: the feature level rises with the last member that was upgraded; who is put back after that is refused by name.
#[test]
fn the_feature_level_rises_with_the_last_upgrade_and_nobody_goes_back() {
    let old = "--max-feature-level=0";
    let mut cluster = Cluster::of_arguments("levels", 3, &[old]);
    assert_eq!(cluster.status()["feature_level"], 0);
    for position in 0..3 {
        let coordinator = cluster.coordinator_at(position);
        coordinator.arguments().retain(|argument| argument != old);
        coordinator.stop();
        cluster.restart_coordinator(position);
        if position < 2 {
            assert_eq!(cluster.status()["feature_level"], 0);
        }
    }
    cluster.wait_for(|status| status["feature_level"] == 3);
    let back = cluster.coordinator_at(1);
    back.arguments().push(old.to_owned());
    back.stop();
    let refused = cluster.coordinator_that_fails(1);
    let words = "this cluster is at feature level 3; this shoal (0.1.0) knows up to 0; use version 0.1.0 or newer";
    assert!(refused.contains(words), "{refused}");
    let back = cluster.coordinator_at(1);
    back.arguments().retain(|argument| argument != old);
    cluster.restart_coordinator(1);
}
