//! What edges bring.

use expect_test::expect;

use crate::script::check;

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
