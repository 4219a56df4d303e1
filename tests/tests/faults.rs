//! A sample of what `campaign` does at length: a few workloads under a few nemeses, and an upgrade.
//!
//! What is looked at is whether promises hold, never how soon.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::time::Duration;

use cluster_tests::faults::campaign::{self, Plan};
use cluster_tests::faults::nemesis::Nemesis;
use cluster_tests::faults::power::{self, Cuts};
use cluster_tests::faults::workload::Workload;
use cluster_tests::faults::{Fleet, Settings, damages};

/// Seconds of faults in each run.
const FAULTY: Duration = Duration::from_secs(6);

/// Fewer operations than this show nothing, also on a slow machine that has lost all of its coordinators for most of the time. What
/// counts as a run of the campaign needs a hundred times as many.
const LEAST_OPERATIONS: u64 = 5;

async fn holds(workload: Workload, nemesis: Nemesis) {
    let plan = Plan {
        workload,
        nemesis,
        faulty: FAULTY,
        coordinators: 3,
        least_operations: LEAST_OPERATIONS,
        seed: 7,
    };
    let outcome = campaign::run(plan).await.expect("the run can be made");
    println!("{outcome}");
    assert!(
        outcome.is_good(),
        "{outcome}\n{}",
        outcome.report.violations.join("\n")
    );
}

/// I-01, I-02, I-03
#[tokio::test(flavor = "multi_thread")]
async fn numbers_behave_as_one_counter_while_leaders_are_killed() {
    holds(Workload::Register, Nemesis::KillLeader).await;
}

/// I-03, I-05, I-10
#[tokio::test(flavor = "multi_thread")]
async fn cancels_hold_while_the_leader_is_cut_off() {
    holds(Workload::Cas, Nemesis::PartitionLeader).await;
}

/// I-06, I-12
#[tokio::test(flavor = "multi_thread")]
async fn every_step_counts_once_while_all_coordinators_are_killed() {
    holds(Workload::Fence, Nemesis::KillAll).await;
}

/// I-21
#[tokio::test(flavor = "multi_thread")]
async fn logs_are_whole_while_coordinators_are_restarted_one_by_one() {
    holds(Workload::Tail, Nemesis::RollingRestart).await;
}

/// I-01: what was acknowledged survives power cuts, most of them of all coordinators at one moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_power_cuts() {
    if let Err(error) = power::can_cut() {
        eprintln!("skipped: no disk that forgets can be mounted here: {error}");
        return;
    }
    let cuts = Cuts {
        coordinators: 3,
        count: 5,
        writes: 1..250,
        // Snapshots and a shorter log come in between.
        snapshot_entries: 10..40,
        seed: 7,
    };
    let found = power::power_cuts(&cuts, |_| ()).await.unwrap();
    assert_eq!(found.violations, [""; 0]);
    assert!(found.trials == 5 && found.acknowledged > 0, "{found:?}");
}

/// I-13: each kind of damage to a file of a coordinator is noticed or changes nothing; who noticed it is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_noticed_or_harmless() {
    let found = damages::damages(3, 5, 7, |trial| println!("{trial}"))
        .await
        .unwrap();
    assert_eq!(found.violations, [""; 0]);
    assert_eq!(found.detected + found.harmless, 5, "{found:?}");
}

/// I-12, I-17: the step has run once, its exit code and every line arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_upgraded_under_a_step_while_all_coordinators_restart() {
    let mut fleet = Fleet::start(Settings {
        name: "upgrade".to_owned(),
        coordinators: 3,
        workers: 1,
        slots: 1,
        lost_after: 60.0,
        forgets: None,
        set_clocks: false,
        snapshot_entries: None,
    })
    .await
    .unwrap();
    let mut gate = fleet.place.gate("gate");
    let line = gate.line();
    fleet.place.config(&format!(
        "- step:\n    name: train\n    image: busybox\n    command:\n      - echo first\n      - {line}\n      - seq 1 2000\n      - {line}\n      \
         - echo last\n      - exit 7\n"
    ));
    let addresses = fleet.addresses();
    fleet.place.use_cluster(&addresses.join(","));
    let mut run = fleet.place.start(&["execution", "run", "train"]);
    gate.wait();
    fleet.worker(0).kill();
    for at in 0..fleet.size() {
        fleet.coordinator(at).kill();
    }
    gate.open();
    gate.wait();
    // As an upgrade does: the program of the daemon is another file now.
    fleet.place.upgrade();
    fleet.start_worker(0).unwrap();
    fleet.start_all().await.unwrap();
    gate.open();
    run.ends_with(1);
    let execution = fleet.place.execution(1);
    assert_eq!(execution["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(execution["exit_code"], 7, "{execution:#}");
    let log = fleet.place.log_of(1, None);
    let numbers = (1..=2_000).map(|number: u32| number.to_string());
    let printed: Vec<String> = ["first".to_owned()]
        .into_iter()
        .chain(numbers)
        .chain(["last".to_owned()])
        .collect();
    assert_eq!(log.stdout().lines().collect::<Vec<_>>(), printed);
    assert!(fs::exists(fleet.place.path().join("upgraded/shoal")).unwrap());
}
