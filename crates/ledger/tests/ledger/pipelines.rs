//! Pipelines: what follows a node that ended.

use expect_test::expect;

use crate::script::check;

#[test]
fn what_comes_next_starts_in_the_same_entry() {
    check(
        "worker w1
         node prep ; node train input.data=- ; node report input.model=- input.data=?
         edge prep.output.*.csv train.input.data
         edge train.output.model* report.input.model
         edge prep.output.none* report.input.data
         pipeline digits
         assign 1 w1
         start 1
         finish 1 complete out=a.csv,b.csv,notes.txt ; assign 2 w1
         show 2
         finish 2 complete out=model.bin
         assign 3 w1
         show 3
         finish 3 complete",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node prep ; node train input.data=- ; node report input.model=- input.data=?
            > edge prep.output.*.csv train.input.data
            > edge train.output.model* report.input.model
            > edge prep.output.none* report.input.data
            > pipeline digits
            pipeline p/1
              pipeline p/1 STARTED, prep QUEUED, train CREATED, report CREATED
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > start 1
            attempt 1@4
              pipeline p/1 STARTED, prep STARTED, train CREATED, report CREATED
              execution p#1 STARTED attempt 1 on w1 STARTED
            > finish 1 complete out=a.csv,b.csv,notes.txt ; assign 2 w1
            attempt 1@4
            attempt 1@6
              pipeline p/1 STARTED, prep COMPLETE, train QUEUED, report CREATED
              execution p#1 COMPLETE
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > show 2
              $ run
              input data: #1/a.csv #1/b.csv
              metadata "", exit None, identity unknown
            > finish 2 complete out=model.bin
            attempt 1@6
              pipeline p/1 STARTED, prep COMPLETE, train COMPLETE, report QUEUED
              execution p#2 COMPLETE
              execution p#3 QUEUED
              worker w1 has 0
            > assign 3 w1
            attempt 1@8
              execution p#3 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > show 3
              $ run
              input model: #2/model.bin
              input data: 
              metadata "", exit None, identity unknown
            > finish 3 complete
            attempt 1@8
              pipeline p/1 COMPLETE, prep COMPLETE, train COMPLETE, report COMPLETE
              execution p#3 COMPLETE
              worker w1 has 0
        "#]],
    );
}

#[test]
fn a_failure_stops_all() {
    check(
        "worker w1
         node a ; node b ; node c ; node d
         edge a.dependency.x d.dependency.x
         pipeline p
         assign 1 w1 ; assign 2 w1
         finish 1 error
         finish 2 stopped reason=NODE_FAILED
         node lone
         cancel-pipeline 1",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a ; node b ; node c ; node d
            > edge a.dependency.x d.dependency.x
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b QUEUED, c QUEUED, d CREATED
              execution p#1 QUEUED
              execution p#2 QUEUED
              execution p#3 QUEUED
            > assign 1 w1 ; assign 2 w1
            attempt 1@4
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 2
            > finish 1 error
            attempt 1@4
              pipeline p/1 STOPPING (NODE_FAILED), a ERROR (EXIT_CODE), b STOPPING, c STOPPED (NODE_FAILED), d STOPPED (NODE_FAILED) skipped: node a failed
              execution p#1 ERROR (EXIT_CODE)
              execution p#2 STOPPING attempt 1 on w1 QUEUED: the pipeline ended: node a failed
              execution p#3 STOPPED (NODE_FAILED): the pipeline ended: node a failed
              worker w1 has 1
            > finish 2 stopped reason=NODE_FAILED
            attempt 1@4
              pipeline p/1 ERROR (NODE_FAILED), a ERROR (EXIT_CODE), b STOPPED (NODE_FAILED), c STOPPED (NODE_FAILED), d STOPPED (NODE_FAILED) skipped: node a failed
              execution p#2 STOPPED (NODE_FAILED)
              worker w1 has 0
            > node lone
            > cancel-pipeline 1
            pipeline p/1
        "#]],
    );
}

#[test]
fn a_failure_stops_what_is_next_or_nothing() {
    check(
        "worker w1
         node a on-error=stop-next ; node b on-error=continue ; node c ; node d ; node e input.data=?
         edge a.dependency.x c.dependency.x
         edge c.dependency.x d.dependency.x
         edge b.dependency.x d.dependency.x
         edge b.output.* e.input.data
         pipeline p
         assign 1 w1 ; assign 2 w1
         finish 2 error out=half.txt
         finish 1 error
         assign 3 w1
         show 3
         finish 3 complete",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a on-error=stop-next ; node b on-error=continue ; node c ; node d ; node e input.data=?
            > edge a.dependency.x c.dependency.x
            > edge c.dependency.x d.dependency.x
            > edge b.dependency.x d.dependency.x
            > edge b.output.* e.input.data
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b QUEUED, c CREATED, d CREATED, e CREATED
              execution p#1 QUEUED
              execution p#2 QUEUED
            > assign 1 w1 ; assign 2 w1
            attempt 1@4
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 2
            > finish 2 error out=half.txt
            attempt 1@4
              pipeline p/1 STARTED, a QUEUED, b ERROR (EXIT_CODE), c CREATED, d CREATED, e QUEUED
              execution p#2 ERROR (EXIT_CODE)
              execution p#3 QUEUED
              worker w1 has 1
            > finish 1 error
            attempt 1@4
              pipeline p/1 STARTED, a ERROR (EXIT_CODE), b ERROR (EXIT_CODE), c STOPPED (UPSTREAM_FAILED) skipped, d STOPPED (UPSTREAM_FAILED) skipped, e QUEUED
              execution p#1 ERROR (EXIT_CODE)
              worker w1 has 0
            > assign 3 w1
            attempt 1@7
              execution p#3 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > show 3
              $ run
              input data: #2/half.txt
              metadata "", exit None, identity unknown
            > finish 3 complete
            attempt 1@7
              pipeline p/1 ERROR (NODE_FAILED), a ERROR (EXIT_CODE), b ERROR (EXIT_CODE), c STOPPED (UPSTREAM_FAILED) skipped, d STOPPED (UPSTREAM_FAILED) skipped, e COMPLETE: node a failed
              execution p#3 COMPLETE
              worker w1 has 0
        "#]],
    );
}

#[test]
fn a_failure_that_goes_on_completes_the_pipeline() {
    check(
        "worker w1
         node a on-error=continue
         pipeline p
         assign 1 w1
         finish 1 error",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a on-error=continue
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 error
            attempt 1@4
              pipeline p/1 COMPLETE, a ERROR (EXIT_CODE)
              execution p#1 ERROR (EXIT_CODE)
              worker w1 has 0
        "#]],
    );
}

#[test]
fn a_node_is_run_again_twice_and_then_stops_all() {
    check(
        "worker w1
         node a on-error=retry ; node b
         edge a.dependency.x b.dependency.x
         pipeline p
         assign 1 w1
         finish 1 error ; assign 2 w1
         finish 2 error ; assign 3 w1
         finish 3 error
         pipeline again
         assign 4 w1
         finish 4 error ; assign 5 w1
         finish 5 complete
         assign 6 w1
         finish 6 complete",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a on-error=retry ; node b
            > edge a.dependency.x b.dependency.x
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b CREATED
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 error ; assign 2 w1
            attempt 1@4
            attempt 1@5
              pipeline p/1 STARTED, a QUEUED, b CREATED
              execution p#1 ERROR (EXIT_CODE)
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 2 error ; assign 3 w1
            attempt 1@5
            attempt 1@6
              pipeline p/1 STARTED, a QUEUED, b CREATED
              execution p#2 ERROR (EXIT_CODE)
              execution p#3 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 3 error
            attempt 1@6
              pipeline p/1 ERROR (NODE_FAILED), a ERROR (EXIT_CODE), b STOPPED (NODE_FAILED) skipped: node a failed
              execution p#3 ERROR (EXIT_CODE)
              worker w1 has 0
            > pipeline again
            pipeline p/2
              pipeline p/2 STARTED, a QUEUED, b CREATED
              execution p#4 QUEUED
            > assign 4 w1
            attempt 1@9
              execution p#4 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 4 error ; assign 5 w1
            attempt 1@9
            attempt 1@10
              pipeline p/2 STARTED, a QUEUED, b CREATED
              execution p#4 ERROR (EXIT_CODE)
              execution p#5 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 5 complete
            attempt 1@10
              pipeline p/2 STARTED, a COMPLETE, b QUEUED
              execution p#5 COMPLETE
              execution p#6 QUEUED
              worker w1 has 0
            > assign 6 w1
            attempt 1@12
              execution p#6 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 6 complete
            attempt 1@12
              pipeline p/2 COMPLETE, a COMPLETE, b COMPLETE
              execution p#6 COMPLETE
              worker w1 has 0
        "#]],
    );
}

#[test]
fn a_stopped_node_has_what_is_next_skipped() {
    check(
        "worker w1
         node a on-error=continue ; node b ; node c
         edge a.dependency.x b.dependency.x
         pipeline p
         cancel 1
         assign 2 w1
         finish 2 complete",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a on-error=continue ; node b ; node c
            > edge a.dependency.x b.dependency.x
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b CREATED, c QUEUED
              execution p#1 QUEUED
              execution p#2 QUEUED
            > cancel 1
            execution p#1
              pipeline p/1 STARTED, a STOPPED (CANCELLED), b STOPPED (CANCELLED) skipped, c QUEUED
              execution p#1 STOPPED (CANCELLED): cancelled
            > assign 2 w1
            attempt 1@5
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 2 complete
            attempt 1@5
              pipeline p/1 STOPPED (CANCELLED), a STOPPED (CANCELLED), b STOPPED (CANCELLED) skipped, c COMPLETE: node a was stopped
              execution p#2 COMPLETE
              worker w1 has 0
        "#]],
    );
}

#[test]
fn a_cancelled_pipeline_stops_when_all_of_it_has() {
    check(
        "worker w1
         node a ; node b ; node c
         edge a.dependency.x c.dependency.x
         pipeline p
         assign 1 w1
         cancel-pipeline 1
         cancel-pipeline 1
         finish 1 complete
         cancel-pipeline 1
         pipeline q
         cancel-pipeline 2
         cancel-pipeline 9",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a ; node b ; node c
            > edge a.dependency.x c.dependency.x
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b QUEUED, c CREATED
              execution p#1 QUEUED
              execution p#2 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > cancel-pipeline 1
            pipeline p/1
              pipeline p/1 STOPPING (CANCELLED), a STOPPING, b STOPPED (CANCELLED), c STOPPED (CANCELLED) skipped: cancelled
              execution p#1 STOPPING attempt 1 on w1 QUEUED: the pipeline ended: cancelled
              execution p#2 STOPPED (CANCELLED): the pipeline ended: cancelled
              worker w1 has 1
            > cancel-pipeline 1
            pipeline p/1
            > finish 1 complete
            attempt 1@4
              pipeline p/1 STOPPED (CANCELLED), a COMPLETE, b STOPPED (CANCELLED), c STOPPED (CANCELLED) skipped: cancelled
              execution p#1 COMPLETE
              worker w1 has 0
            > cancel-pipeline 1
            pipeline p/1
            > pipeline q
            pipeline p/2
              pipeline p/2 STARTED, a QUEUED, b QUEUED, c CREATED
              execution p#3 QUEUED
              execution p#4 QUEUED
            > cancel-pipeline 2
            pipeline p/2
              pipeline p/2 STOPPED (CANCELLED), a STOPPED (CANCELLED), b STOPPED (CANCELLED), c STOPPED (CANCELLED) skipped: cancelled
              execution p#3 STOPPED (CANCELLED): the pipeline ended: cancelled
              execution p#4 STOPPED (CANCELLED): the pipeline ended: cancelled
            > cancel-pipeline 9
            refused: projects/p/pipelines/9 does not exist
        "#]],
    );
}
