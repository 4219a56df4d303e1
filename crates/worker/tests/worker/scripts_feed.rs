//! Feeds on their way to the coordinators, and stop conditions over them, as scripts.

use contract::link::Assignment;
use expect_test::{Expect, expect};

use crate::script::Script;

const RUNNING: &str = "
    adopted
    desired 1.1
    prepared 1.1
    launched 1.1
";

/// A script on a worker with `holders` coordinators and one program that runs.
fn check(holders: u64, stop_condition: &str, script: &str, expected: &Expect) {
    let assignment = Assignment {
        stop_condition: stop_condition.to_owned(),
        ..Assignment::default()
    };
    let mut run = Script::new(1, holders, assignment);
    run.lines(RUNNING);
    let before = run.transcript().len();
    run.lines(script);
    expected.assert_eq(&run.transcript()[before..]);
}

#[test]
fn while_more_wait_those_that_end_are_told_of_together() {
    let mut script = Script::new(1, 1, Assignment::default());
    script.lines(
        "
        adopted
        connect
        up c1
        desired 1.1 2.1 3.1 4.1 5.1
        prepared 1.1
        prepared 2.1
        prepared 3.1
        prepared 4.1
        prepared 5.1
        launched 1.1
        wait 2ms
        print 1.1 one
        exit 1.1 0
        collected 1.1
        launched 2.1
        wait 3ms
        print 2.1 two
        wait 6ms
        stored 1.1 c1 1
        exit 2.1 0
        collected 2.1
        stored 2.1 c1 1
        launched 3.1
        wait 3ms
        print 3.1 three
        exit 3.1 0
        collected 3.1
        stored 3.1 c1 1
        ",
    );
    expect![[r#"
        adopted
        connect
            report 1: 1 slots
        up c1
        desired 1.1 2.1 3.1 4.1 5.1
            prepare 01010101/1@11: train
            prepare 02020202/1@21: train
            prepare 03030303/1@31: train
            prepare 04040404/1@41: train
            prepare 05050505/1@51: train
        prepared 1.1
            launch 01010101/1@11
        prepared 2.1
        prepared 3.1
        prepared 4.1
        prepared 5.1
        launched 1.1
        wait 2ms
        print 1.1 one
        exit 1.1 0
            collect 01010101/1@11
            launch 02020202/1@21
        collected 1.1
        launched 2.1
        wait 3ms
        print 2.1 two
        wait 6ms
            push 01010101/1@11 0..1 to c1
            push 02020202/1@21 0..1 to c1
        stored 1.1 c1 1
        exit 2.1 0
            collect 02020202/1@21
            launch 03030303/1@31
        collected 2.1
        stored 2.1 c1 1
            report 2: 1 slots; 01010101/1@11 finished COMPLETE; 02020202/1@21 finished COMPLETE; 03030303/1@31 preparing; 04040404/1@41 preparing; 05050505/1@51 preparing
        launched 3.1
        wait 3ms
        print 3.1 three
            push 03030303/1@31 0..1 to c1
        exit 3.1 0
            collect 03030303/1@31
            launch 04040404/1@41
        collected 3.1
        stored 3.1 c1 1
            report 3: 1 slots; 01010101/1@11 finished COMPLETE; 02020202/1@21 finished COMPLETE; 03030303/1@31 finished COMPLETE; 04040404/1@41 preparing; 05050505/1@51 preparing
    "#]]
    .assert_eq(script.transcript());
}

#[test]
fn an_attempt_is_finished_when_its_last_record_is_stored() {
    check(
        1,
        "",
        "
        connect
        up c1
        print 1.1 a
        print 1.1 b
        exit 1.1 0
        collected 1.1
        stored 1.1 c1 1
        stored 1.1 c1 2
        ",
        &expect![[r#"
            connect
                report 1: 1 slots; 01010101/1@11 preparing
            up c1
            print 1.1 a
                push 01010101/1@11 0..1 to c1
            print 1.1 b
                push 01010101/1@11 1..2 to c1
            exit 1.1 0
                collect 01010101/1@11
            collected 1.1
            stored 1.1 c1 1
            stored 1.1 c1 2
                report 2: 1 slots; 01010101/1@11 finished COMPLETE
        "#]],
    );
}

#[test]
fn a_majority_is_enough_and_strangers_do_not_count() {
    check(
        3,
        "",
        "
        up c1
        up c2
        up c9
        print 1.1 a
        exit 1.1 0
        collected 1.1
        connect
        stored 1.1 c1 1
        stored 1.1 c9 1
        stored 1.1 c2 1
        ",
        &expect![[r#"
            up c1
            up c2
            up c9
            print 1.1 a
                push 01010101/1@11 0..1 to c1
                push 01010101/1@11 0..1 to c2
            exit 1.1 0
                collect 01010101/1@11
            collected 1.1
            connect
                report 1: 1 slots; 01010101/1@11 preparing
            stored 1.1 c1 1
            stored 1.1 c9 1
            stored 1.1 c2 1
                report 2: 1 slots; 01010101/1@11 finished COMPLETE
        "#]],
    );
}

#[test]
fn what_was_on_its_way_when_the_connection_broke_is_sent_again() {
    check(
        1,
        "",
        "
        print 1.1 a
        up c1
        read 1.1 c1 0 1
        print 1.1 b
        print 1.1 c
        stored 1.1 c1 1
        down c1
        print 1.1 d
        up c1
        read 1.1 c1 0 4
        stored 1.1 c1 4
        ",
        &expect![[r#"
            print 1.1 a
            up c1
                push 01010101/1@11 0..1 to c1
            read 1.1 c1 0 1
            print 1.1 b
                push 01010101/1@11 1..2 to c1
            print 1.1 c
                push 01010101/1@11 2..3 to c1
            stored 1.1 c1 1
            down c1
            print 1.1 d
            up c1
                read 01010101/1@11 from 0 (byte 0) for c1
            read 1.1 c1 0 4
                push 01010101/1@11 0..4 to c1
            stored 1.1 c1 4
        "#]],
    );
}

#[test]
fn a_coordinator_that_lost_its_disk_gets_all_again() {
    check(
        1,
        "",
        "
        up c1
        print 1.1 a
        print 1.1 b
        stored 1.1 c1 2
        down c1
        up c1
        print 1.1 c
        stored 1.1 c1 0
        read 1.1 c1 0 3
        stored 1.1 c1 3
        ",
        &expect![[r#"
            up c1
            print 1.1 a
                push 01010101/1@11 0..1 to c1
            print 1.1 b
                push 01010101/1@11 1..2 to c1
            stored 1.1 c1 2
            down c1
            up c1
            print 1.1 c
                push 01010101/1@11 2..3 to c1
            stored 1.1 c1 0
                read 01010101/1@11 from 0 (byte 0) for c1
            read 1.1 c1 0 3
                push 01010101/1@11 0..3 to c1
            stored 1.1 c1 3
        "#]],
    );
}

#[test]
fn a_coordinator_that_refuses_is_asked_again_after_a_while() {
    check(
        1,
        "",
        "
        up c1
        print 1.1 a
        refused 1.1 c1
        print 1.1 b
        wait 999ms
        wait 1ms
        refused 1.1 c1
        down c1
        wait 5s
        up c1
        ",
        &expect![[r#"
            up c1
            print 1.1 a
                push 01010101/1@11 0..1 to c1
            refused 1.1 c1
            print 1.1 b
            wait 999ms
            wait 1ms
                read 01010101/1@11 from 0 (byte 0) for c1
            refused 1.1 c1
            down c1
            wait 5s
            up c1
                read 01010101/1@11 from 0 (byte 0) for c1
        "#]],
    );
}

/// Coordinators refuse the records of an attempt that counts as lost, and its program may take its time to go.
#[test]
fn a_refusal_of_what_is_over_wakes_nobody() {
    check(
        1,
        "",
        "
        up c1
        print 1.1 a
        refused 1.1 c1
        desired@12
        wait 5s
        ",
        &expect![[r#"
            up c1
            print 1.1 a
                push 01010101/1@11 0..1 to c1
            refused 1.1 c1
            desired@12
                stop 01010101/1@11 now
            wait 5s
        "#]],
    );
}

#[test]
fn a_file_that_gives_nothing_is_not_read_in_a_loop() {
    check(
        1,
        "",
        "
        print 1.1 a
        print 1.1 b
        up c1
        read 1.1 c1 0 0
        print 1.1 c
        wait 60s
        down c1
        up c1
        read 1.1 c1 0 3
        ",
        &expect![[r#"
            print 1.1 a
            print 1.1 b
            up c1
                read 01010101/1@11 from 0 (byte 0) for c1
            read 1.1 c1 0 0
            print 1.1 c
            wait 60s
            down c1
            up c1
                read 01010101/1@11 from 0 (byte 0) for c1
            read 1.1 c1 0 3
                push 01010101/1@11 0..3 to c1
        "#]],
    );
}

#[test]
fn coordinators_may_change() {
    check(
        1,
        "",
        "
        up c1
        up c2
        up c3
        print 1.1 a
        stored 1.1 c1 1
        cluster c2 c3 c4
        cluster c2 c3 c4
        exit 1.1 0
        collected 1.1
        stored 1.1 c2 1
        connect
        stored 1.1 c3 1
        ",
        &expect![[r#"
            up c1
            up c2
            up c3
            print 1.1 a
                push 01010101/1@11 0..1 to c1
            stored 1.1 c1 1
            cluster c2 c3 c4
                cluster: c2 at c2 c3 at c3 c4 at c4
                push 01010101/1@11 0..1 to c2
                push 01010101/1@11 0..1 to c3
            cluster c2 c3 c4
            exit 1.1 0
                collect 01010101/1@11
            collected 1.1
            stored 1.1 c2 1
            connect
                report 1: 1 slots; 01010101/1@11 preparing
            stored 1.1 c3 1
                report 2: 1 slots; 01010101/1@11 finished COMPLETE
        "#]],
    );
}

#[test]
fn what_was_finished_by_the_count_of_others_is_counted_again() {
    check(
        1,
        "",
        "
        connect
        up c1
        print 1.1 a
        stored 1.1 c1 1
        exit 1.1 0
        collected 1.1
        cluster c1 c2 c3
        up c3
        stored 1.1 c3 1
        cluster c1 c3 c4
        ",
        &expect![[r#"
            connect
                report 1: 1 slots; 01010101/1@11 preparing
            up c1
            print 1.1 a
                push 01010101/1@11 0..1 to c1
            stored 1.1 c1 1
            exit 1.1 0
                collect 01010101/1@11
            collected 1.1
                report 2: 1 slots; 01010101/1@11 finished COMPLETE
            cluster c1 c2 c3
                cluster: c1 at c1 c2 at c2 c3 at c3
                report 3: 1 slots; 01010101/1@11 preparing
            up c3
                push 01010101/1@11 0..1 to c3
            stored 1.1 c3 1
                report 4: 1 slots; 01010101/1@11 finished COMPLETE
            cluster c1 c3 c4
                cluster: c1 at c1 c3 at c3 c4 at c4
                report 5: 1 slots; 01010101/1@11 finished COMPLETE
        "#]],
    );
}

#[test]
fn nothing_is_stored_while_no_coordinator_is_known() {
    check(
        0,
        "",
        "
        up c1
        print 1.1 a
        exit 1.1 0
        collected 1.1
        connect
        cluster c1
        read 1.1 c1 0 1
        stored 1.1 c1 1
        ",
        &expect![[r#"
            up c1
            print 1.1 a
            exit 1.1 0
                collect 01010101/1@11
            collected 1.1
            connect
                report 1: 1 slots; 01010101/1@11 preparing
            cluster c1
                cluster: c1 at c1
                push 01010101/1@11 0..1 to c1
            read 1.1 c1 0 1
            stored 1.1 c1 1
                report 2: 1 slots; 01010101/1@11 finished COMPLETE
        "#]],
    );
}

#[test]
fn out_of_contact_for_too_long_programs_are_stopped_and_none_is_started() {
    check(
        1,
        "",
        "
        connect
        cluster c1 30s
        disconnect
        wait 25s
        connect
        known 1.1
        disconnect
        wait 29s
        wait 1s
        end 1.1 stopped
        collected 1.1
        desired 1.1 2.1
        prepared 2.1
        connect
        wait 1s
        known 1.1 2.1
        ",
        &expect![[r#"
            connect
                report 1: 1 slots; 01010101/1@11 preparing
            cluster c1 30s
                cluster: c1 at c1, stop after 30000 ms
            disconnect
            wait 25s
            connect
                report 2: 1 slots; 01010101/1@11 running
            known 1.1
            disconnect
            wait 29s
            wait 1s
                stop 01010101/1@11 gracefully
            end 1.1 stopped
                collect 01010101/1@11
            collected 1.1
            desired 1.1 2.1
                prepare 02020202/1@21: train
            prepared 2.1
            connect
                report 3: 1 slots; 01010101/1@11 finished ERROR/LOST; 02020202/1@21 preparing
            wait 1s
            known 1.1 2.1
                launch 02020202/1@21
        "#]],
    );
}

#[test]
fn a_stop_condition_stops_once_and_is_the_reason() {
    check(
        1,
        "accuracy >= 0.9",
        r#"
        connect
        print 1.1 {"accuracy": 0.5}
        print 1.1 accuracy 0.95
        print 1.1 {"accuracy": 0.95}
        print 1.1 {"accuracy": 0.96}
        desired 1.1=stop
        end 1.1 stopped
        collected 1.1
        up c1
        read 1.1 c1 0 4
        stored 1.1 c1 4
        "#,
        &expect![[r#"
            connect
                report 1: 1 slots; 01010101/1@11 preparing
            print 1.1 {"accuracy": 0.5}
            print 1.1 accuracy 0.95
            print 1.1 {"accuracy": 0.95}
                stop 01010101/1@11 gracefully
            print 1.1 {"accuracy": 0.96}
            desired 1.1=stop
            end 1.1 stopped
                collect 01010101/1@11
            collected 1.1
            up c1
                read 01010101/1@11 from 0 (byte 0) for c1
            read 1.1 c1 0 4
                push 01010101/1@11 0..4 to c1
            stored 1.1 c1 4
                report 2: 1 slots; 01010101/1@11 finished STOPPED/STOP_CONDITION
        "#]],
    );
}

#[test]
fn a_stop_condition_over_time_needs_no_print() {
    check(
        1,
        "execution.duration > 2.5",
        "
        wait 2s
        wait 2s
        wait 60s
        ",
        &expect![[r#"
            wait 2s
            wait 2s
                stop 01010101/1@11 gracefully
            wait 60s
        "#]],
    );
}
