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
fn edges_bring_parameters_metadata_variables_and_order() {
    check(
        "worker w1
         node a param.lr=3 env.SEED=7 input.raw=file:///raw
         node b param.rate=1 param.best=- param.lost=? env.SEED=- env.X=y input.same=-
         edge a.parameter.lr b.parameter.rate
         edge a.metadata.best b.parameter.best
         edge a.metadata.never b.parameter.lost
         edge a.environment-variable.SEED b.environment-variable.SEED
         edge a.input.ra* b.input.same
         edge a.dependency.x b.dependency.x
         pipeline p
         assign 1 w1
         finish 1 complete meta={\"best\":\"blue\",\"other\":1}
         show 2",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a param.lr=3 env.SEED=7 input.raw=file:///raw
            > node b param.rate=1 param.best=- param.lost=? env.SEED=- env.X=y input.same=-
            > edge a.parameter.lr b.parameter.rate
            > edge a.metadata.best b.parameter.best
            > edge a.metadata.never b.parameter.lost
            > edge a.environment-variable.SEED b.environment-variable.SEED
            > edge a.input.ra* b.input.same
            > edge a.dependency.x b.dependency.x
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b CREATED
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 complete meta={"best":"blue","other":1}
            attempt 1@4
              pipeline p/1 STARTED, a COMPLETE, b QUEUED
              execution p#1 COMPLETE
              execution p#2 QUEUED
              worker w1 has 0
            > show 2
              $ run --rate=3 --best=blue
              parameter rate Some(Integer(3)) EDGE
              parameter best Some(Text("blue")) EDGE
              parameter lost None UNSPECIFIED
              variable SEED=7
              variable X=y
              input same: file:///raw
              metadata "", exit None, identity unknown
        "#]],
    );
}

#[test]
fn edges_replace_or_join_what_the_input_has() {
    check(
        "worker w1
         node a
         node replaced input.data=file:///own
         node joined append input.data=file:///own
         node cleared input.data=file:///own
         node kept append input.data=file:///own
         edge a.output.x* replaced.input.data
         edge a.output.y* replaced.input.data
         edge a.output.* joined.input.data
         edge a.output.none cleared.input.data
         edge a.output.none kept.input.data
         pipeline p
         assign 1 w1
         finish 1 complete out=y1,x1,x2
         show 2
         show 3",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a
            > node replaced input.data=file:///own
            > node joined append input.data=file:///own
            > node cleared input.data=file:///own
            > node kept append input.data=file:///own
            > edge a.output.x* replaced.input.data
            > edge a.output.y* replaced.input.data
            > edge a.output.* joined.input.data
            > edge a.output.none cleared.input.data
            > edge a.output.none kept.input.data
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, replaced CREATED, joined CREATED, cleared CREATED, kept CREATED
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 complete out=y1,x1,x2
            attempt 1@4
              pipeline p/1 ERROR (EDGE_EMPTY), a COMPLETE, replaced STOPPED (NODE_FAILED), joined STOPPED (NODE_FAILED), cleared ERROR (EDGE_EMPTY), kept STOPPED (NODE_FAILED): node cleared failed: input data is required, and its edges brought no file
              execution p#1 COMPLETE
              execution p#2 STOPPED (NODE_FAILED): the pipeline ended: node cleared failed: input data is required, and its edges brought no file
              execution p#3 STOPPED (NODE_FAILED): the pipeline ended: node cleared failed: input data is required, and its edges brought no file
              execution p#4 STOPPED (NODE_FAILED): the pipeline ended: node cleared failed: input data is required, and its edges brought no file
              worker w1 has 0
            > show 2
              $ run
              input data: #1/x1 #1/x2 #1/y1
              metadata "", exit None, identity unknown
            > show 3
              $ run
              input data: file:///own #1/y1 #1/x1 #1/x2
              metadata "", exit None, identity unknown
        "#]],
    );
}

#[test]
fn an_edge_that_brings_nothing_needed_fails_the_node() {
    check(
        "worker w1
         node a
         node b on-error=stop-next input.data=-
         node c on-error=continue param.best=-
         node d on-error=retry param.count=1
         node after-b ; node after-c
         edge a.output.*.csv b.input.data
         edge a.metadata.best c.parameter.best
         edge a.metadata.count d.parameter.count
         edge b.dependency.x after-b.dependency.x
         edge c.dependency.x after-c.dependency.x
         pipeline p
         assign 1 w1
         finish 1 complete out=a.txt meta={\"count\":\"many\"}",
        expect![[r#"
            > worker w1
            worker w1
              worker w1 has 0
            > node a
            > node b on-error=stop-next input.data=-
            > node c on-error=continue param.best=-
            > node d on-error=retry param.count=1
            > node after-b ; node after-c
            > edge a.output.*.csv b.input.data
            > edge a.metadata.best c.parameter.best
            > edge a.metadata.count d.parameter.count
            > edge b.dependency.x after-b.dependency.x
            > edge c.dependency.x after-c.dependency.x
            > pipeline p
            pipeline p/1
              pipeline p/1 STARTED, a QUEUED, b CREATED, c CREATED, d CREATED, after-b CREATED, after-c CREATED
              execution p#1 QUEUED
            > assign 1 w1
            attempt 1@4
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 complete out=a.txt meta={"count":"many"}
            attempt 1@4
              pipeline p/1 ERROR (START_FAILED), a COMPLETE, b ERROR (EDGE_EMPTY), c ERROR (EDGE_EMPTY), d ERROR (START_FAILED), after-b STOPPED (UPSTREAM_FAILED) skipped, after-c STOPPED (NODE_FAILED): node d failed: parameter count cannot take the metadata count of node a: `many` is not an integer
              execution p#1 COMPLETE
              execution p#2 STOPPED (NODE_FAILED): the pipeline ended: node d failed: parameter count cannot take the metadata count of node a: `many` is not an integer
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
fn a_plan_that_could_never_end_is_refused() {
    check(
        "pipeline empty
         node a ; node b
         edge a.dependency.x b.dependency.x
         edge b.dependency.x a.dependency.x
         pipeline circle",
        expect![[r#"
            > pipeline empty
            refused: malformed command: plan has no nodes
            > node a ; node b
            > edge a.dependency.x b.dependency.x
            > edge b.dependency.x a.dependency.x
            > pipeline circle
            refused: malformed command: node a waits for itself through its edges
        "#]],
    );
    check(
        "node a ; node a
         pipeline twice",
        expect![[r#"
            > node a ; node a
            > pipeline twice
            refused: malformed command: there are two nodes a
        "#]],
    );
    check(
        "node a
         edge a.output.x b.input.y
         pipeline nowhere",
        expect![[r#"
            > node a
            > edge a.output.x b.input.y
            > pipeline nowhere
            refused: malformed command: an edge names node b, which does not exist
        "#]],
    );
    check(
        "node a ; node b
         edge a.output.x b.parameter.y
         pipeline senseless",
        expect![[r#"
            > node a ; node b
            > edge a.output.x b.parameter.y
            > pipeline senseless
            refused: malformed command: an edge from a output to b parameter means nothing
        "#]],
    );
    check(
        "node a ; node b input.data=datum://nothing
         edge a.dependency.x b.dependency.x
         pipeline unknown-datum",
        expect![[r#"
            > node a ; node b input.data=datum://nothing
            > edge a.dependency.x b.dependency.x
            > pipeline unknown-datum
            refused: input data names datum://nothing, which does not exist in the project
        "#]],
    );
}
