//! Actions of nodes.

use expect_test::expect;

use crate::script::check;

#[test]
fn actions_fire_when_their_conditions_hold() {
    check(
        "worker w1
         node a action=node-complete:stop-pipeline:metadata.drift<=1 ; node b
         edge a.dependency.x b.dependency.x
         pipeline p
         assign 1 w1
         finish 1 complete meta={\"drift\":2}
         pipeline q
         assign 3 w1
         finish 3 complete meta={\"drift\":0.5}
         pipeline r
         assign 4 w1
         finish 4 complete",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a action=node-complete:stop-pipeline:metadata.drift<=1 ; node b
            > edge a.dependency.x b.dependency.x
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b CREATED
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 complete meta={"drift":2}
            attempt 1@4
              pipeline p/1 STARTED, a COMPLETE, b QUEUED
              execution p#1 COMPLETE
              execution p#2 QUEUED
              worker w1 has 0
            > pipeline q
            pipeline p/2
              pipeline p/2 STARTED, a QUEUED, b CREATED
              execution p#3 QUEUED
            > assign 3 w1
            attempt 1@7
              execution p#3 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 3 complete meta={"drift":0.5}
            attempt 1@7
              pipeline p/2 STOPPED (ACTION), a COMPLETE, b STOPPED (ACTION) skipped: an action of node a
              execution p#3 COMPLETE
              worker w1 has 0
            > pipeline r
            pipeline p/3
              pipeline p/3 STARTED, a QUEUED, b CREATED
              execution p#4 QUEUED
            > assign 4 w1
            attempt 1@10
              execution p#4 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 4 complete
            attempt 1@10
              pipeline p/3 STARTED, a COMPLETE, b QUEUED
              execution p#4 COMPLETE
              execution p#5 QUEUED
              worker w1 has 0
        "#]],
    );
    check(
        "worker w1
         node a ; node b param.go=no action=node-starting:error-pipeline:parameter.go==\"no\"
         edge a.parameter.none b.parameter.go
         pipeline p
         assign 1 w1
         finish 1 complete",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a ; node b param.go=no action=node-starting:error-pipeline:parameter.go=="no"
            > edge a.parameter.none b.parameter.go
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b CREATED
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 complete
            attempt 1@4
              pipeline p/1 ERROR (ACTION), a COMPLETE, b STOPPED (ACTION) skipped: an action of node b
              execution p#1 COMPLETE
              worker w1 has 0
        "#]],
    );
    check(
        "worker w1
         node a on-error=continue action=NODE-ERROR:error-pipeline ; node b on-error=continue action=node-error:noop
         pipeline p
         assign 1 w1 ; assign 2 w1
         finish 2 error
         finish 1 error",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a on-error=continue action=NODE-ERROR:error-pipeline ; node b on-error=continue action=node-error:noop
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b QUEUED
              execution p#1 QUEUED
              execution p#2 QUEUED
            > assign 1 w1 ; assign 2 w1
            attempt 1@4
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              execution p#2 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 2
            > finish 2 error
            attempt 1@4
              pipeline p/1 STARTED, a QUEUED, b ERROR (EXIT_CODE)
              execution p#2 ERROR (EXIT_CODE)
              worker w1 has 1
            > finish 1 error
            attempt 1@4
              pipeline p/1 ERROR (ACTION), a ERROR (EXIT_CODE), b ERROR (EXIT_CODE): an action of node a
              execution p#1 ERROR (EXIT_CODE)
              worker w1 has 0
        "#]],
    );
}

#[test]
fn an_action_of_the_first_node_keeps_the_others_from_starting() {
    check(
        "node a action=node-starting:stop-pipeline ; node b ; node c
         edge b.dependency.x c.dependency.x
         pipeline p",
        expect![[r#"
            > node a action=node-starting:stop-pipeline ; node b ; node c
            > edge b.dependency.x c.dependency.x
            > pipeline p
            pipeline p/1
              pipeline p/1 STOPPED (ACTION), a STOPPED (ACTION) skipped, b STOPPED (ACTION) skipped, c STOPPED (ACTION) skipped: an action of node a
        "#]],
    );
}
