//! The table of ends.

use super::*;
use expect_test::expect;

fn exit(reason: ExitReason, code: Option<i32>, signal: i32) -> Exit {
    Exit {
        reason,
        code,
        signal,
        start_time_us: 1,
        time_us: 2,
        record_count: 0,
    }
}

fn assignment() -> Assignment {
    Assignment {
        time_limit_ms: 1500,
        no_output_timeout_ms: 30_000,
        stop_condition: "loss < 0.1".to_owned(),
        ..Assignment::default()
    }
}

fn line(result: &AttemptResult) -> String {
    let state = result.state().as_str_name().trim_start_matches("STATE_");
    let reason = result.reason().as_str_name();
    let reason = reason.trim_start_matches("END_REASON_");
    let again = if result.retryable { " (again)" } else { "" };
    format!("{state} {reason}{again}: {}\n", result.message)
}

#[test]
fn how_it_ended_and_what_is_said_of_it() {
    let exits = [
        (exit(ExitReason::Exited, Some(0), 0), None),
        (exit(ExitReason::Exited, Some(3), 0), None),
        (exit(ExitReason::Exited, None, 0), None),
        (exit(ExitReason::Signaled, None, 11), None),
        (exit(ExitReason::Signaled, None, 40), None),
        (exit(ExitReason::TimeLimit, None, 15), None),
        (exit(ExitReason::NoOutput, None, 9), None),
        (
            exit(ExitReason::Stopped, Some(0), 0),
            Some(EndReason::Cancelled),
        ),
        (exit(ExitReason::Stopped, None, 9), None),
        (
            exit(ExitReason::Stopped, None, 15),
            Some(EndReason::StopCondition),
        ),
        (
            exit(ExitReason::Stopped, None, 15),
            Some(EndReason::NodeFailed),
        ),
        (
            exit(
                ExitReason::StartFailed("no interpreter".to_owned()),
                None,
                0,
            ),
            None,
        ),
        (exit(ExitReason::DiskFull, None, 9), None),
        (exit(ExitReason::OutOfMemory, None, 9), None),
        (exit(ExitReason::Gone, None, 0), None),
        (
            exit(ExitReason::Gone, None, 0),
            Some(EndReason::StopCondition),
        ),
        (exit(ExitReason::Gone, None, 0), Some(EndReason::Cancelled)),
        (exit(ExitReason::EngineStopped, None, 0), None),
        (
            exit(ExitReason::EngineStopped, None, 0),
            Some(EndReason::Cancelled),
        ),
        // It ended by itself before the stop reached it.
        (
            exit(ExitReason::Exited, Some(0), 0),
            Some(EndReason::Cancelled),
        ),
    ];
    let lines = exits.map(|(exit, stop)| line(&of_exit(&exit, stop, &assignment())));
    expect![[r#"
        COMPLETE UNSPECIFIED: 
        ERROR EXIT_CODE: the program exited with code 3
        ERROR INTERNAL: the program's exit has no code
        ERROR SIGNAL: the program was ended by signal 11 (SIGSEGV)
        ERROR SIGNAL: the program was ended by signal 40
        STOPPED TIME_LIMIT: the time limit of 1.5 s passed
        STOPPED NO_OUTPUT: nothing was printed for 30 s
        STOPPED CANCELLED: the program was stopped
        STOPPED CANCELLED: the program was stopped
        STOPPED STOP_CONDITION: the stop condition came true: loss < 0.1
        STOPPED NODE_FAILED: the program was stopped
        ERROR START_FAILED: no interpreter
        ERROR DISK_FULL: the worker's disk is full: the log could not be written
        ERROR OUT_OF_MEMORY: the program was killed for its use of memory
        ERROR LOST (again): the program's supervisor was lost, and with it how the program ended
        ERROR LOST (again): the program's supervisor was lost, and with it how the program ended
        STOPPED CANCELLED: the program was stopped
        ERROR RUNTIME_RESTARTED (again): the container engine went down and took the program along
        STOPPED CANCELLED: the program was stopped
        COMPLETE UNSPECIFIED: 
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn ends_without_a_program() {
    let fetch = |retryable| PrepareError::Fetch {
        message: "https://x.org/a: 404".to_owned(),
        retryable,
    };
    let results = [
        of_prepare_error(&fetch(false)),
        of_prepare_error(&fetch(true)),
        of_prepare_error(&PrepareError::DiskFull("no space left".to_owned())),
        of_launch_error("cannot fork"),
        of_stop_before_start(EndReason::Unspecified),
        of_stop_before_start(EndReason::Action),
    ];
    expect![[r#"
        ERROR INPUT_FAILED: https://x.org/a: 404
        ERROR INPUT_FAILED (again): https://x.org/a: 404
        ERROR DISK_FULL: no space left
        ERROR START_FAILED (again): cannot fork
        STOPPED CANCELLED: it was stopped before its program started
        STOPPED ACTION: it was stopped before its program started
    "#]]
    .assert_eq(&results.map(|result| line(&result)).concat());
}

#[test]
fn outputs_that_cannot_be_stored_turn_a_success_and_are_told_of_otherwise() {
    let errors = [
        CollectError::Invalid("`../x`: the name has \"..\" as a part of its path".to_owned()),
        CollectError::DiskFull("no space left".to_owned()),
        CollectError::Failed("input/output error".to_owned()),
    ];
    let complete = of_exit(&exit(ExitReason::Exited, Some(0), 0), None, &assignment());
    let failed = of_exit(&exit(ExitReason::Exited, Some(1), 0), None, &assignment());
    let lines = errors.map(|error| {
        let results = [complete.clone(), failed.clone()];
        results
            .map(|result| line(&without_outputs(result, &error)))
            .concat()
    });
    expect![[r#"
        ERROR OUTPUT_INVALID: `../x`: the name has ".." as a part of its path
        ERROR EXIT_CODE: the program exited with code 1; its outputs were not stored: `../x`: the name has ".." as a part of its path
        ERROR DISK_FULL: no space left
        ERROR EXIT_CODE: the program exited with code 1; its outputs were not stored: no space left
        ERROR INTERNAL (again): input/output error
        ERROR EXIT_CODE: the program exited with code 1; its outputs were not stored: input/output error
    "#]].assert_eq(&lines.concat());
    expect![[r#"
        COMPLETE UNSPECIFIED: 7 records at the end of its log were lost on the worker's disk
        ERROR EXIT_CODE: the program exited with code 1; 7 records at the end of its log were lost on the worker's disk
    "#]].assert_eq(
        &[complete, failed]
            .map(|r| line(&with_lost_records(r, 7)))
            .concat(),
    );
}
