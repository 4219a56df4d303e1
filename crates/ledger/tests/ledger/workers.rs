//! Workers: admitted, started again, lost.

use expect_test::expect;

use crate::script::check;

#[test]
fn a_worker_that_starts_again_keeps_its_attempts() {
    check(
        "worker w1 1 ; run a ; assign 1 w1
         worker w1 1
         worker w1 2
         worker w1 1
         lose-worker w1 1
         finish 1 complete",
        expect![[r#"
            > worker w1 1 ; run a ; assign 1 w1
            worker w1
            execution p#1
            attempt 1@2
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > worker w1 1
            nothing
            > worker w1 2
            worker w1
              worker w1 has 1
            > worker w1 1
            refused: the worker's incarnation is 2 by now
            > lose-worker w1 1
            refused: the worker's incarnation is 2 by now
            > finish 1 complete
            attempt 1@2
              execution p#1 COMPLETE
              worker w1 has 0
        "#]],
    );
}

#[test]
fn a_lost_worker_has_nothing_and_may_come_back() {
    check(
        "worker w1 ; worker w2 ; run a ; run b ; run c
         assign 1 w1 ; assign 2 w1 ; assign 3 w2
         start 1
         cancel 2
         lose-worker w1
         lose-worker w1
         assign 1 w1
         finish 1.1 complete
         worker w1 2
         assign 1 w1
         lose-worker w3
         assign 3 w2
         assign 9 w1",
        expect![[r#"
            > worker w1 ; worker w2 ; run a ; run b ; run c
            worker w1
            worker w2
            execution p#1
            execution p#2
            execution p#3
              execution p#1 QUEUED
              execution p#2 QUEUED
              execution p#3 QUEUED
              worker w1 has 0
              worker w2 has 0
            > assign 1 w1 ; assign 2 w1 ; assign 3 w2
            attempt 1@3
            attempt 1@3
            attempt 1@3
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              execution p#3 QUEUED attempt 1 on w2 QUEUED
              worker w1 has 2
              worker w2 has 1
            > start 1
            attempt 1@3
              execution p#1 STARTED attempt 1 on w1 STARTED
            > cancel 2
            execution p#2
              execution p#2 STOPPING attempt 1 on w1 QUEUED: cancelled
              worker w1 has 2
            > lose-worker w1
            worker w1
              execution p#1 QUEUED: attempt 1 ended without a result: worker w1 was lost
              execution p#2 STOPPED (CANCELLED): worker w1 was lost
              worker w1 has 0 lost
            > lose-worker w1
            nothing
            > assign 1 w1
            refused: worker w1 is lost
            > finish 1.1 complete
            refused: the fence is stale
            > worker w1 2
            worker w1
              worker w1 has 0
            > assign 1 w1
            attempt 2@11
              execution p#1 QUEUED attempt 2 on w1 QUEUED: attempt 1 ended without a result: worker w1 was lost
              worker w1 has 1
            > lose-worker w3
            refused: worker w3 is not known
            > assign 3 w2
            refused: the execution does not wait for a worker: it is STATE_QUEUED
            > assign 9 w1
            refused: projects/p/executions/9 does not exist
        "#]],
    );
}
