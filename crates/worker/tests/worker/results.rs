//! What a report says beyond its line in a transcript.

use contract::api::{EndReason, State};
use contract::link::{Assignment, AttemptPhase};

use crate::script::{BEGIN, Script};

#[test]
fn a_result_has_times_outputs_metadata_and_the_seal_of_the_feed() {
    let mut script = Script::new(1, 1, Assignment::default());
    script.lines(
        r#"
        adopted
        connect
        up c1
        desired 1.1
        prepared 1.1
        wait 1s
        launched 1.1
        print 1.1 {"loss": 0.5, "epoch": 1}
        print 1.1 hello
        print 1.1 {"loss": 0.25}
        wait 1s
        live 1.1 early.bin
        wait 1s
        exit 1.1 0
        collected 1.1 model.bin
        wait 1s
        stored 1.1 c1 3
        "#,
    );
    let told = script.told.take().unwrap();
    let report = &told.attempts[0];
    let result = report.result.as_ref().unwrap();
    assert_eq!((told.worker.as_str(), told.incarnation), ("w1", 1));
    assert_eq!(told.desired_generation, 1);
    assert_eq!(report.phase(), AttemptPhase::Finished);
    assert_eq!(report.prepare_time_us, BEGIN as i64);
    assert_eq!(report.start_time_us, BEGIN as i64 + 1_000_000);
    assert_eq!(report.live_outputs[0].file_name, "early.bin");
    assert_eq!(result.exit_time_us, BEGIN as i64 + 3_000_000);
    assert_eq!(result.finish_time_us, BEGIN as i64 + 4_000_000);
    assert_eq!(
        (result.state(), result.reason()),
        (State::Complete, EndReason::Unspecified)
    );
    assert_eq!((result.exit_code, result.signal), (Some(0), 0));
    assert_eq!(result.outputs[0].file_name, "model.bin");
    assert_eq!(result.metadata_json, r#"{"loss":0.25,"epoch":1}"#);
    assert_eq!(result.record_count, 3);
    let mut hasher = feed::SealHasher::new();
    hasher.update(script.feed("1.1"), 3);
    assert_eq!(result.feed_digest.as_ref(), hasher.seal().digest);
}

#[test]
fn metadata_is_told_while_the_program_runs() {
    let mut script = Script::new(1, 1, Assignment::default());
    script.lines(
        r#"
        adopted
        connect
        desired 1.1
        prepared 1.1
        launched 1.1
        wait 100ms
        print 1.1 {"loss": 0.5}
        wait 999ms
        "#,
    );
    let told = script.told.clone().unwrap();
    assert_eq!(told.attempts[0].metadata_json, "");
    script.lines("wait 1ms");
    let told = script.told.take().unwrap();
    assert_eq!(told.attempts[0].phase(), AttemptPhase::Running);
    assert_eq!(told.attempts[0].metadata_json, r#"{"loss":0.5}"#);
}

/// It is killed at once, and what it wrote is not stored; the same may be told again.
#[test]
fn who_writes_too_much_is_killed_and_keeps_no_outputs() {
    let mut script = Script::new(1, 1, Assignment::default());
    script.lines(
        r#"
        adopted
        connect
        up c1
        desired 1.1
        prepared 1.1
        launched 1.1
        over-quota 1.1
        over-quota 1.1
        end 1.1 stopped
        wait 1s
        stored 1.1 c1 0
        "#,
    );
    let told = script.told.take().unwrap();
    let result = told.attempts[0].result.as_ref().unwrap();
    assert_eq!(
        (result.state(), result.reason(), result.retryable),
        (State::Error, EndReason::DiskQuota, false)
    );
    assert_eq!(
        result.message,
        "the program wrote 9 MiB, and this worker grants 8; none of its outputs are kept"
    );
}
