//! One execution: from its creation to its end.

use contract::api::{EndReason, State};
use expect_test::expect;
use ledger::Refused;

use crate::build;
use crate::script::check;
use crate::world::World;

#[test]
fn from_created_to_complete() {
    check(
        "worker w1
         run train param.lr=3 param.note=?
         assign 1 w1
         start 1
         finish 1 complete out=model.bin,log/a.txt meta={\"acc\":0.9}
         show 1",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > run train param.lr=3 param.note=?
            execution p#1
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > start 1
            attempt 1@4
              execution p#1 STARTED attempt 1 on w1 STARTED
            > finish 1 complete out=model.bin,log/a.txt meta={"acc":0.9}
            attempt 1@4
              execution p#1 COMPLETE
              worker w1 has 0
            > show 1
              $ run --lr=3
              parameter lr Some(Integer(3)) DEFAULT
              parameter note None UNSPECIFIED
              output model.bin by #1 on w1
              output log/a.txt by #1 on w1
              metadata "{\"acc\":0.9}", exit Some(0), identity known
        "#]],
    );
}

#[test]
fn a_short_step_is_reported_once() {
    check(
        "worker w1 ; run train ; assign 1 w1
         finish 1 complete
         run train ; assign 2 w1
         finish 2 error unstarted reason=INPUT_FAILED",
        expect![[r#"
            > worker w1 ; run train ; assign 1 w1
            worker w1
            execution p#1
            attempt 1@2
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 complete
            attempt 1@2
              execution p#1 COMPLETE
              worker w1 has 0
            > run train ; assign 2 w1
            execution p#2
            attempt 1@4
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 2 error unstarted reason=INPUT_FAILED
            attempt 1@4
              execution p#2 ERROR (INPUT_FAILED)
              worker w1 has 0
        "#]],
    );
}

#[test]
fn final_is_final() {
    check(
        "worker w1 ; run train ; assign 1 w1
         finish 1 error
         finish 1 complete
         start 1
         publish 1 out=late.txt
         lose 1
         assign 1 w1
         cancel 1
         show 1",
        expect![[r#"
            > worker w1 ; run train ; assign 1 w1
            worker w1
            execution p#1
            attempt 1@2
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 error
            attempt 1@2
              execution p#1 ERROR (EXIT_CODE)
              worker w1 has 0
            > finish 1 complete
            refused: the fence is stale
            > start 1
            refused: the fence is stale
            > publish 1 out=late.txt
            refused: the fence is stale
            > lose 1
            refused: the fence is stale
            > assign 1 w1
            refused: the execution does not wait for a worker: it is STATE_ERROR
            > cancel 1
            execution p#1
            > show 1
              $ run
              metadata "", exit Some(1), identity known
        "#]],
    );
}

#[test]
fn a_lost_attempt_goes_back_into_the_queue_and_its_fence_is_refused() {
    check(
        "worker w1 ; worker w2 ; run train ; run train
         assign 1 w1
         start 1
         publish 1 out=half.txt
         lose 1
         show 1
         finish 1.1 complete
         assign 1 w2
         finish 1.1 complete
         finish 1.2 complete as=w1
         finish 1.2 complete out=whole.txt
         show 1",
        expect![[r#"
            > worker w1 ; worker w2 ; run train ; run train
            worker w1
            worker w2
            execution p#1
            execution p#2
              execution p#1 QUEUED
              execution p#2 QUEUED
              worker w1 has 0
              worker w2 has 0
            > assign 1 w1
            attempt 1@3
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > start 1
            attempt 1@3
              execution p#1 STARTED attempt 1 on w1 STARTED
            > publish 1 out=half.txt
            attempt 1@3
              execution p#1 STARTED attempt 1 on w1 STARTED
            > lose 1
            attempt 1@3
              execution p#1 QUEUED: attempt 1 ended without a result: gone
              worker w1 has 0
            > show 1
              $ run
              metadata "", exit None, identity known
            > finish 1.1 complete
            refused: the fence is stale
            > assign 1 w2
            attempt 2@8
              execution p#1 QUEUED attempt 2 on w2 QUEUED: attempt 1 ended without a result: gone
              worker w2 has 1
            > finish 1.1 complete
            refused: the fence is stale
            > finish 1.2 complete as=w1
            refused: the attempt is worker w2's
            > finish 1.2 complete out=whole.txt
            attempt 2@8
              execution p#1 COMPLETE
              worker w2 has 0
            > show 1
              $ run
              output whole.txt by #1 on w2
              metadata "", exit Some(0), identity known
        "#]],
    );
}

#[test]
fn a_fault_of_the_machine_is_tried_again_and_a_failure_of_the_program_is_not() {
    check(
        "worker w1 ; run train ; run train
         assign 1 w1 ; assign 2 w1
         finish 1 error retryable reason=DISK_FULL out=x.txt
         finish 2 error
         assign 1 w1
         finish 1 complete",
        expect![[r#"
            > worker w1 ; run train ; run train
            worker w1
            execution p#1
            execution p#2
              execution p#1 QUEUED
              execution p#2 QUEUED
              worker w1 has 0
            > assign 1 w1 ; assign 2 w1
            attempt 1@3
            attempt 1@3
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 2
            > finish 1 error retryable reason=DISK_FULL out=x.txt
            attempt 1@3
              execution p#1 QUEUED: attempt 1 ended without a result: DISK_FULL
              worker w1 has 1
            > finish 2 error
            attempt 1@3
              execution p#2 ERROR (EXIT_CODE)
              worker w1 has 0
            > assign 1 w1
            attempt 2@6
              execution p#1 QUEUED attempt 2 on w1 QUEUED: attempt 1 ended without a result: DISK_FULL
              worker w1 has 1
            > finish 1 complete
            attempt 2@6
              execution p#1 COMPLETE
              worker w1 has 0
        "#]],
    );
}

#[test]
fn the_sixteenth_attempt_is_the_last() {
    let mut world = World::new();
    world.apply(vec![
        build::worker("w1", 1, &[]),
        build::create_execution("a", build::template("train")),
    ]);
    for attempt in 1..=ledger::MAX_ATTEMPTS {
        assert_eq!(
            world.execution(1).state(),
            State::Queued,
            "before attempt {attempt}"
        );
        world.one(build::assign(1, "w1")).unwrap();
        let fence = world.fence(1);
        world.one(build::lose(fence, "gone")).unwrap();
    }
    assert_eq!(
        (world.execution(1).state(), world.execution(1).end_reason),
        (State::Error, EndReason::Lost)
    );
    assert_eq!(
        world.one(build::assign(1, "w1")),
        Err(Refused::NotWaiting {
            state: State::Error
        })
    );
}

#[test]
fn a_cancel_ends_what_waits_and_stops_what_runs() {
    check(
        "worker w1 ; run a ; run b ; run c ; run d
         cancel 1
         cancel 1
         assign 1 w1
         assign 2 w1 ; assign 3 w1 ; assign 4 w1
         start 2
         cancel 2
         cancel 2
         finish 2 stopped
         cancel 3
         finish 3 complete
         cancel 4
         lose 4
         cancel 9",
        expect![[r#"
            > worker w1 ; run a ; run b ; run c ; run d
            worker w1
            execution p#1
            execution p#2
            execution p#3
            execution p#4
              execution p#1 QUEUED
              execution p#2 QUEUED
              execution p#3 QUEUED
              execution p#4 QUEUED
              worker w1 has 0
            > cancel 1
            execution p#1
              execution p#1 STOPPED (CANCELLED): cancelled
            > cancel 1
            execution p#1
            > assign 1 w1
            refused: the execution does not wait for a worker: it is STATE_STOPPED
            > assign 2 w1 ; assign 3 w1 ; assign 4 w1
            attempt 1@6
            attempt 1@6
            attempt 1@6
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              execution p#3 QUEUED attempt 1 on w1 QUEUED
              execution p#4 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 3
            > start 2
            attempt 1@6
              execution p#2 STARTED attempt 1 on w1 STARTED
            > cancel 2
            execution p#2
              execution p#2 STOPPING attempt 1 on w1 STARTED: cancelled
              worker w1 has 3
            > cancel 2
            execution p#2
            > finish 2 stopped
            attempt 1@6
              execution p#2 STOPPED (CANCELLED)
              worker w1 has 2
            > cancel 3
            execution p#3
              execution p#3 STOPPING attempt 1 on w1 QUEUED: cancelled
              worker w1 has 2
            > finish 3 complete
            attempt 1@6
              execution p#3 COMPLETE
              worker w1 has 1
            > cancel 4
            execution p#4
              execution p#4 STOPPING attempt 1 on w1 QUEUED: cancelled
              worker w1 has 1
            > lose 4
            attempt 1@6
              execution p#4 STOPPED (CANCELLED): gone
              worker w1 has 0
            > cancel 9
            refused: projects/p/executions/9 does not exist
        "#]],
    );
}

#[test]
fn a_completion_before_the_cancel_wins() {
    check(
        "worker w1 ; run a ; assign 1 w1
         finish 1 complete ; cancel 1
         run a ; assign 2 w1
         cancel 2 ; finish 2 error retryable",
        expect![[r#"
            > worker w1 ; run a ; assign 1 w1
            worker w1
            execution p#1
            attempt 1@2
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 complete ; cancel 1
            attempt 1@2
            execution p#1
              execution p#1 COMPLETE
              worker w1 has 0
            > run a ; assign 2 w1
            execution p#2
            attempt 1@4
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > cancel 2 ; finish 2 error retryable
            execution p#2
            attempt 1@4
              execution p#2 STOPPED (CANCELLED)
              worker w1 has 0
        "#]],
    );
}

#[test]
fn outputs_that_nobody_could_store_make_an_error_of_the_result() {
    check(
        "worker w1 ; run a ; assign 1 w1
         publish 1 out=../up.txt
         publish 1 out=a.txt,b.txt
         publish 1 out=a.txt
         finish 1 complete out=a.txt,../../etc/passwd
         show 1
         run a ; assign 2 w1
         publish 2 out=live.txt
         finish 2 complete out=live.txt,end.txt
         show 2",
        expect![[r#"
            > worker w1 ; run a ; assign 1 w1
            worker w1
            execution p#1
            attempt 1@2
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > publish 1 out=../up.txt
            refused: malformed command: output "../up.txt": the name has ".." as a part of its path
            > publish 1 out=a.txt,b.txt
            attempt 1@2
              execution p#1 QUEUED attempt 1 on w1 QUEUED
            > publish 1 out=a.txt
            nothing
            > finish 1 complete out=a.txt,../../etc/passwd
            attempt 1@2
              execution p#1 ERROR (OUTPUT_INVALID): output "../../etc/passwd": the name has ".." as a part of its path
              worker w1 has 0
            > show 1
              $ run
              metadata "", exit Some(0), identity known
            > run a ; assign 2 w1
            execution p#2
            attempt 1@7
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > publish 2 out=live.txt
            attempt 1@7
              execution p#2 QUEUED attempt 1 on w1 QUEUED
            > finish 2 complete out=live.txt,end.txt
            attempt 1@7
              execution p#2 COMPLETE
              worker w1 has 0
            > show 2
              $ run
              output live.txt by #2 on w1
              output end.txt by #2 on w1
              metadata "", exit Some(0), identity known
        "#]],
    );
}

#[test]
fn inputs_name_data_of_the_project_and_nothing_else() {
    check(
        "worker w1
         run a input.data=file:///x input.more=?
         show 1
         run a input.data=-
         run a input.data=datum://latest-model
         run a input.data=datum://6f1c3a52-6a4e-8b02-9a7e-2b1f6d3c4e5f
         run a input.data=https://host/{parameter:user}.csv param.user=ada
         show 2
         run a input.data=https://host/{parameter:nobody}.csv
         run a env.TOKEN=-",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > run a input.data=file:///x input.more=?
            execution p#1
              execution p#1 QUEUED
            > show 1
              $ run
              input data: file:///x
              input more: 
              metadata "", exit None, identity unknown
            > run a input.data=-
            refused: input data is required and has no file
            > run a input.data=datum://latest-model
            refused: input data names datum://latest-model, which does not exist in the project
            > run a input.data=datum://6f1c3a52-6a4e-8b02-9a7e-2b1f6d3c4e5f
            refused: input data names datum://6f1c3a52-6a4e-8b02-9a7e-2b1f6d3c4e5f, which does not exist in the project
            > run a input.data=https://host/{parameter:user}.csv param.user=ada
            execution p#2
              execution p#2 QUEUED
            > show 2
              $ run --user=ada
              parameter user Some(Text("ada")) DEFAULT
              input data: https://host/ada.csv
              metadata "", exit None, identity unknown
            > run a input.data=https://host/{parameter:nobody}.csv
            refused: input data: the step has no parameter `nobody`
            > run a env.TOKEN=-
            refused: environment variable TOKEN is required and has no value
        "#]],
    );
}

#[test]
fn a_datum_belongs_to_its_project() {
    let mut world = World::new();
    world.apply(vec![
        build::worker("w1", 1, &[]),
        build::create_execution("a", build::template("s")),
    ]);
    world.one(build::assign(1, "w1")).unwrap();
    let mut result = build::result(State::Complete);
    result.outputs = vec![build::output("x")];
    let fence = world.fence(1);
    world.one(build::finish("w1", fence, result)).unwrap();
    let uri = world.ledger.data(build::PROJECT).next().unwrap().uri();
    let mut template = build::template("s");
    template.inputs = vec![contract::ledger::TemplateInput {
        name: "data".to_owned(),
        uris: vec![uri.clone()],
        ..contract::ledger::TemplateInput::default()
    }];
    let elsewhere = world.one(build::create_execution_in("other", "b", template.clone()));
    assert_eq!(
        elsewhere,
        Err(Refused::UnknownDatum {
            input: "data".to_owned(),
            uri
        })
    );
    assert!(
        world.ledger.project("other").is_none(),
        "a refusal founds no project"
    );
    world.one(build::create_execution("b", template)).unwrap();
    assert_eq!(world.execution(2).inputs[0].files[0].size_bytes, 1);
}
