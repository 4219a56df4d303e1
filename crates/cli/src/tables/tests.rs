//! What people see of records.

use expect_test::expect;

use contract::api;

use super::samples::{NOW, complete, failed, pipeline, running, workers};
use super::*;

#[test]
fn lists() {
    expect![[r#"
        #    STEP        PIPELINE  NODE     STATE              TOOK        CREATED
        #43  train       -         -        started            3 min 20 s  3 min ago
        #42  train       #12       fit      error (exit code)  1 min 22 s  3 min ago
        #41  preprocess  #12       prepare  complete           1 min 35 s  5 min ago
    "#]]
    .assert_eq(&super::executions(&[running(), failed(), complete()], NOW));
    expect![[r#"
        #    PIPELINE   STATE                NODES  TOOK        CREATED
        #12  night run  error (node failed)  1/3    3 min 00 s  5 min ago
    "#]]
    .assert_eq(&super::pipelines(&[pipeline()], NOW));
    expect![[r#"
        WORKER  CONTACT                       BUSY  DEVICES  ENVIRONMENTS  RUNTIME  ADDRESS        VERSION
        gpu-1   connected, takes nothing new  1/4   1/2      gpu, big      process  10.0.0.7:7462  0.1.0
        gpu-2   away, seen 3 min ago          0/4   -        -             -        -              -

        gpu-1: a second daemon spoke as this worker 3 s ago and was sent away; two have the same name, or copies of one data directory

        gpu-1: 12 outputs are on no other worker yet
    "#]]
    .assert_eq(&super::workers(&workers(), NOW));
    expect![[r#"
        OUTPUT                SIZE     DIGEST            ADDRESS
        train.csv             207 KiB  c0c0c0c0c0c0c0c0  datum://a1
        plots/ro\u{1b}ws.png  900 B    c0c0c0c0c0c0c0c0  datum://a2
    "#]]
    .assert_eq(&super::outputs(&complete().outputs));
}

#[test]
fn empty_lists() {
    let all = [
        super::executions(&[], NOW),
        super::pipelines(&[], NOW),
        super::workers(&[], NOW),
        super::outputs(&[]),
    ];
    expect![[r#"
        no executions; `shoal execution run STEP` makes one
        no pipelines; `shoal pipeline run NAME` makes one
        no workers; `shoal worker --coordinator ADDRESS --data-dir DIR` runs one
        no outputs
    "#]]
    .assert_eq(&all.concat());
}

#[test]
fn everything_about_an_execution() {
    expect![[r#"
        execution #41 preprocess: complete
          pipeline  #12, node prepare
          created   2026-11-23 20:00:00 UTC, 5 min ago
          started   2026-11-23 20:00:01 UTC, took 1 min 35 s
          exit code 0
          image     python:3.12-slim
          source    commit 0123456789ab on main, with changes; 2929292929292929 (68.5 KiB)
          id        566866b4-cb64-4d38-be94-f6f2f55e6ce6
          identity  8686868686868686868686868686868686868686868686868686868686868686

        COMMANDS
        python3 preprocess.py --seed=7
        if true; then
          echo done
        fi

        PARAMETER  VALUE                    FROM
        seed       7                        pipeline parameter
        title      bad \u{1b}]0;title\u{7}  default

        INPUT  FILE      SIZE     DIGEST            FROM
        rows   rows.csv  258 KiB  abababababababab  https://example.com/rows.csv

        VARIABLE  VALUE
        MODE      fast

        ATTEMPT  WORKER  STATE         PREPARED IN  RAN         STORED IN  EXIT  LOG
        1        gpu-1   error (lost)  -            -           -          -     0 records
        2        gpu-2   complete      250 ms       1 min 33 s  1.5 s      0     19 records

        OUTPUT                SIZE     DIGEST            ADDRESS
        train.csv             207 KiB  c0c0c0c0c0c0c0c0  datum://a1
        plots/ro\u{1b}ws.png  900 B    c0c0c0c0c0c0c0c0  datum://a2

        METADATA
        rows = 1438
        confusion = [4 items]
    "#]]
    .assert_eq(&super::execution(&complete(), NOW));
}

#[test]
fn an_execution_that_runs() {
    expect![[r#"
        execution #43 train: started
          created   2026-11-23 20:01:37 UTC, 3 min ago
          started   2026-11-23 20:01:40 UTC, running for 3 min 20 s
          source    none

        COMMANDS
        python3 train.py

        ATTEMPT  WORKER  STATE    PREPARED IN  RAN         STORED IN  EXIT  LOG
        1        gpu-1   started  500 ms       3 min 20 s  -          -     0 records
    "#]]
    .assert_eq(&super::execution(&running(), NOW));
}

#[test]
fn everything_about_a_pipeline() {
    expect![[r#"
        pipeline #12 night run: error (node failed)
          why       node fit failed: the program exited with code 3
          created   2026-11-23 20:00:00 UTC, 5 min ago
          took      3 min 00 s
          blueprint digits
          source    commit 0123456789ab on main, with changes; 2929292929292929 (68.5 KiB)

        PARAMETER  VALUE
        epochs     15

        NODE     STEP        EXECUTION  STATE     TOOK
        prepare  preprocess  #41        complete  1 min 35 s
        fit      train       #42        error     1 min 22 s
        check    evaluate    -          skipped   -           node fit failed
    "#]]
    .assert_eq(&super::pipeline(&pipeline(), &[complete(), failed()], NOW));
}

#[test]
fn the_end_of_a_pipeline() {
    expect![[r#"
        pipeline #12 night run: error in 3 min 00 s
          node fit failed: the program exited with code 3

        NODE     EXECUTION  STATE              TOOK        OUTPUTS
        prepare  #41        complete           1 min 35 s  2 files, 208 KiB
        fit      #42        error (exit code)  1 min 22 s  -
        check    -          skipped            -           -

        prepare  rows=1438 confusion=[4 items]

          shoal execution logs 42 --tail 20  what it printed last
          shoal execution show 42            everything that is recorded
    "#]]
    .assert_eq(&end_of_pipeline(&pipeline(), &[complete(), failed()], NOW));
}

#[test]
fn the_end_of_an_execution() {
    expect![[r#"
        execution #41 preprocess: complete in 1 min 35 s
          rows=1438 confusion=[4 items]
          2 files, 208 KiB

          shoal execution outputs 41 --download DIR  its files
          shoal execution show 41                    everything that is recorded
    "#]]
    .assert_eq(&end_of_execution(&complete(), NOW));
    expect![[r#"
        execution #42 train: error (exit code) in 1 min 22 s
          the program exited with code 3

          shoal execution logs 42 --tail 20  what it printed last
          shoal execution show 42            everything that is recorded
    "#]]
    .assert_eq(&end_of_execution(&failed(), NOW));
}

#[test]
fn metadata_that_is_not_json_is_shown_as_printed() {
    assert_eq!(latest(r#"{"loss": NaN}"#), "  {\"loss\": NaN}\n");
    assert_eq!(latest(r#"{"loss": 0.5}"#), "  loss = 0.5\n");
}

#[test]
fn everything_about_a_worker() {
    let all = workers();
    expect![[r#"
        WORKER  CONTACT                       BUSY  DEVICES  ENVIRONMENTS  RUNTIME  ADDRESS        VERSION
        gpu-1   connected, takes nothing new  1/4   1/2      gpu, big      process  10.0.0.7:7462  0.1.0

        gpu-1: a second daemon spoke as this worker 3 s ago and was sent away; two have the same name, or copies of one data directory

        gpu-1: 12 outputs are on no other worker yet

        processors  4.5 of 32 kept for attempts
        memory      16.0 GiB of 128 GiB kept for attempts
        disk        300 GiB of 900 GiB free, 120 GiB of blobs, 41.0 GiB of fetched images

        DEVICE    KIND                    PRODUCT                MEMORY    DRIVER      AT                HAS IT
        GPU-5f0c  nvidia.com/gpu          NVIDIA A100-SXM4-80GB  80.0 GiB  570.124.06  00000000:17:00.0  projects/digits/executions/43
        MIG-77aa  nvidia.com/mig-1g.10gb  -                      -         -           -                 free
    "#]].assert_eq(&super::worker(&all[0], NOW));
}

#[test]
fn why_an_execution_waits() {
    let requirement = |met, detail: &str| api::WorkerRequirement {
        met,
        detail: detail.into(),
    };
    let explained = api::ExplainExecutionResponse {
        standing: "queued: no worker can take it now".into(),
        workers: vec![
            api::WorkerVerdict {
                worker: "workers/a".into(),
                requirements: vec![
                    requirement(true, "in contact"),
                    requirement(false, "0 of 2 nvidia.com/gpu free, 1 needed"),
                ],
                input_bytes: 5 << 20,
            },
            api::WorkerVerdict {
                worker: "workers/b".into(),
                requirements: vec![requirement(true, "in contact")],
                input_bytes: 0,
            },
        ],
        revision: 7,
        activity: String::new(),
    };
    expect![[r#"
        #42 is queued: no worker can take it now

          worker a cannot take it now
            yes  in contact
             no  0 of 2 nvidia.com/gpu free, 1 needed
                 has 5.00 MiB of its inputs

          worker b can take it
            yes  in contact
    "#]]
    .assert_eq(&super::explanation(42, &explained));
    let pulled = api::ExplainExecutionResponse {
        standing: "queued: attempt 1 is with worker gpu-1".into(),
        activity: "pulling python:3.12: 3 of 7 layers, 120 of 900 MB".into(),
        ..api::ExplainExecutionResponse::default()
    };
    expect![[r#"
        #42 is queued: attempt 1 is with worker gpu-1, pulling python:3.12: 3 of 7 layers, 120 of 900 MB
    "#]]
    .assert_eq(&super::explanation(42, &pulled));
}

#[test]
fn what_workers_are_doing() {
    expect![[r#"
        WORKER  BUSY  PROCESSORS            MEMORY               DISK FREE           EXECUTIONS
        gpu-1   1/4   5.25 of 32            20.0 GiB of 128 GiB  300 GiB of 900 GiB  digits #43
        gpu-2   0/4   away, seen 3 min ago                                           -

        WORKER  DEVICE    PRODUCT                BUSY  MEMORY                TEMPERATURE  POWER  HAS IT
        gpu-1   GPU-5f0c  NVIDIA A100-SXM4-80GB  93 %  71.0 GiB of 80.0 GiB  64 °C        311 W  digits #43
        gpu-1   MIG-77aa  -                      -     -                     -            -      free
    "#]].assert_eq(&super::top(&workers(), NOW));
}
