//! Desired against actual, as scripts.

use contract::link::Assignment;
use expect_test::{Expect, expect};

use crate::script::{Script, run};

fn check(script: &str, expected: &Expect) {
    expected.assert_eq(&run(script));
}

#[test]
fn a_short_step_is_told_of_once() {
    check(
        "
        adopted
        connect
        desired 1.1
        prepared 1.1
        launched 1.1
        wait 5ms
        exit 1.1 0
        collected 1.1 model.bin
        wait 30ms
        desired
        wait 30ms
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            desired 1.1
                prepare 01010101/1@11: train
            prepared 1.1
                launch 01010101/1@11
            launched 1.1
            wait 5ms
            exit 1.1 0
                collect 01010101/1@11
            collected 1.1 model.bin
                report 2: 2 slots; 01010101/1@11 finished COMPLETE
            wait 30ms
            desired
                remove 01010101/1@11
            wait 30ms
                report 3: 2 slots
        "#]],
    );
}

#[test]
fn a_longer_step_is_told_of_as_it_goes_on() {
    check(
        "
        adopted
        connect
        desired 1.1
        wait 100ms
        prepared 1.1
        launched 1.1
        wait 100ms
        live 1.1 early.bin
        wait 6s
        exit 1.1 3
        wait 100ms
        collected 1.1
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            desired 1.1
                prepare 01010101/1@11: train
            wait 100ms
                report 2: 2 slots; 01010101/1@11 preparing
            prepared 1.1
                launch 01010101/1@11
            launched 1.1
            wait 100ms
                report 3: 2 slots; 01010101/1@11 running
            live 1.1 early.bin
                report 4: 2 slots; 01010101/1@11 running
            wait 6s
                report 5: 2 slots; 01010101/1@11 running
            exit 1.1 3
                collect 01010101/1@11
            wait 100ms
                report 6: 2 slots; 01010101/1@11 finishing
            collected 1.1
                report 7: 2 slots; 01010101/1@11 finished ERROR/EXIT_CODE
        "#]],
    );
}

#[test]
fn no_more_run_than_there_are_slots_and_the_rest_is_ready() {
    let mut script = Script::new(1, 1, Assignment::default());
    script.lines(
        "
        adopted
        desired 1.1 2.1 3.1
        prepared 3.1
        prepared 2.1
        prepared 1.1
        launched 3.1
        exit 3.1 0
        unlaunched 1.1
        launched 2.1
        ",
    );
    expect![[r#"
        adopted
        desired 1.1 2.1 3.1
            prepare 01010101/1@11: train
            prepare 02020202/1@21: train
            prepare 03030303/1@31: train
        prepared 3.1
            launch 03030303/1@31
        prepared 2.1
        prepared 1.1
        launched 3.1
        exit 3.1 0
            collect 03030303/1@31
            launch 01010101/1@11
        unlaunched 1.1
            launch 02020202/1@21
        launched 2.1
    "#]]
    .assert_eq(script.transcript());
}

#[test]
fn a_stop_before_the_start_ends_it_at_once() {
    check(
        "
        adopted
        connect
        desired 1.1 2.1=stop
        desired 1.1=stop 2.1=stop
        prepared 1.1
        prepared 2.1
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            desired 1.1 2.1=stop
                prepare 01010101/1@11: train
                report 2: 2 slots; 01010101/1@11 preparing; 02020202/1@21 finished STOPPED/CANCELLED
            desired 1.1=stop 2.1=stop
                abandon 01010101/1@11
                report 3: 2 slots; 01010101/1@11 finished STOPPED/CANCELLED; 02020202/1@21 finished STOPPED/CANCELLED
            prepared 1.1
            prepared 2.1
        "#]],
    );
}

#[test]
fn a_stop_of_what_runs_is_asked_once() {
    check(
        "
        adopted
        desired 1.1 2.1
        prepared 1.1
        desired 1.1=stop 2.1
        launched 1.1
        desired 1.1=stop 2.1
        desired 1.1=stop 2.1
        end 1.1 stopped
        desired 1.1=stop 2.1
        collected 1.1
        connect
        ",
        &expect![[r#"
            adopted
            desired 1.1 2.1
                prepare 01010101/1@11: train
                prepare 02020202/1@21: train
            prepared 1.1
                launch 01010101/1@11
            desired 1.1=stop 2.1
            launched 1.1
                stop 01010101/1@11 gracefully
            desired 1.1=stop 2.1
            desired 1.1=stop 2.1
            end 1.1 stopped
                collect 01010101/1@11
            desired 1.1=stop 2.1
            collected 1.1
            connect
                report 1: 2 slots; 01010101/1@11 finished STOPPED/CANCELLED; 02020202/1@21 preparing
        "#]],
    );
}

#[test]
fn what_is_no_longer_desired_goes() {
    check(
        "
        adopted
        desired 1.1 2.1 3.1
        prepared 2.1
        prepared 3.1
        launched 2.1
        desired
        desired
        launched 3.1
        print 2.1 still alive
        end 2.1 stopped
        end 3.1 stopped
        connect
        ",
        &expect![[r#"
            adopted
            desired 1.1 2.1 3.1
                prepare 01010101/1@11: train
                prepare 02020202/1@21: train
                prepare 03030303/1@31: train
            prepared 2.1
                launch 02020202/1@21
            prepared 3.1
                launch 03030303/1@31
            launched 2.1
            desired
                remove 01010101/1@11
                stop 02020202/1@21 now
            desired
            launched 3.1
                stop 03030303/1@31 now
            print 2.1 still alive
            end 2.1 stopped
                remove 02020202/1@21
            end 3.1 stopped
                remove 03030303/1@31
            connect
                report 1: 2 slots
        "#]],
    );
}

#[test]
fn what_has_ended_goes_from_wherever_it_is() {
    check(
        "
        adopted
        desired 1.1 2.1
        prepared 1.1
        prepared 2.1
        launched 1.1
        launched 2.1
        exit 1.1 0
        exit 2.1 0
        collected 1.1
        desired
        collected 2.1
        connect
        ",
        &expect![[r#"
            adopted
            desired 1.1 2.1
                prepare 01010101/1@11: train
                prepare 02020202/1@21: train
            prepared 1.1
                launch 01010101/1@11
            prepared 2.1
                launch 02020202/1@21
            launched 1.1
            launched 2.1
            exit 1.1 0
                collect 01010101/1@11
            exit 2.1 0
                collect 02020202/1@21
            collected 1.1
            desired
                remove 01010101/1@11
                remove 02020202/1@21
            collected 2.1
            connect
                report 1: 2 slots
        "#]],
    );
}

#[test]
fn older_desires_are_not_heeded() {
    check(
        "
        adopted
        desired@5 1.1
        prepared 1.1
        launched 1.1
        desired@4
        desired@4 2.1
        desired@5 1.1
        desired@4294967296 1.1=stop
        desired@6
        ",
        &expect![[r#"
            adopted
            desired@5 1.1
                prepare 01010101/1@11: train
            prepared 1.1
                launch 01010101/1@11
            launched 1.1
            desired@4
            desired@4 2.1
            desired@5 1.1
            desired@4294967296 1.1=stop
                stop 01010101/1@11 gracefully
            desired@6
        "#]],
    );
}

#[test]
fn a_desire_without_an_assignment_waits_for_one() {
    check(
        "
        adopted
        connect
        known 1.1
        wait 20ms
        desired 1.1
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            known 1.1
            wait 20ms
                report 2: 2 slots
            desired 1.1
                prepare 01010101/1@11: train
        "#]],
    );
}

#[test]
fn without_contact_all_goes_on_and_is_told_later() {
    check(
        "
        adopted
        connect
        desired 1.1 2.1
        wait 20ms
        disconnect
        prepared 1.1
        launched 1.1
        wait 60s
        exit 1.1 0
        collected 1.1
        wait 60s
        connect
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            desired 1.1 2.1
                prepare 01010101/1@11: train
                prepare 02020202/1@21: train
            wait 20ms
                report 2: 2 slots; 01010101/1@11 preparing; 02020202/1@21 preparing
            disconnect
            prepared 1.1
                launch 01010101/1@11
            launched 1.1
            wait 60s
            exit 1.1 0
                collect 01010101/1@11
            collected 1.1
            wait 60s
            connect
                report 3: 2 slots; 01010101/1@11 finished COMPLETE; 02020202/1@21 preparing
        "#]],
    );
}

#[test]
fn after_a_restart_nothing_is_started_before_it_is_desired_again() {
    check(
        "
        connect
        desired 9.1
        adopted 1.1=launched 2.1 3.1 4.1
        adopted 5.1
        wait 10s
        desired 1.1 2.1 3.1=stop
        prepared 2.1
        print 1.1 again from the beginning
        exit 1.1 0
        ",
        &expect![[r#"
            connect
            desired 9.1
            adopted 1.1=launched 2.1 3.1 4.1
                report 1: 2 slots; 01010101/1@11 running; 02020202/1@21 preparing; 03030303/1@31 preparing; 04040404/1@41 preparing
            adopted 5.1
            wait 10s
                report 2: 2 slots; 01010101/1@11 running; 02020202/1@21 preparing; 03030303/1@31 preparing; 04040404/1@41 preparing
                report 3: 2 slots; 01010101/1@11 running; 02020202/1@21 preparing; 03030303/1@31 preparing; 04040404/1@41 preparing
            desired 1.1 2.1 3.1=stop
                prepare 02020202/1@21: train
                remove 04040404/1@41
                report 4: 2 slots; 01010101/1@11 running; 02020202/1@21 preparing; 03030303/1@31 finished STOPPED/CANCELLED
            prepared 2.1
                launch 02020202/1@21
            print 1.1 again from the beginning
            exit 1.1 0
                collect 01010101/1@11
        "#]],
    );
}

#[test]
fn what_ran_when_the_machine_died_is_lost() {
    check(
        "
        adopted 1.1=launched 2.1=launched
        connect
        end 1.1 gone
        known 1.1 2.1=stop
        end 2.1 gone
        ",
        &expect![[r#"
            adopted 1.1=launched 2.1=launched
            connect
                report 1: 2 slots; 01010101/1@11 running; 02020202/1@21 running
            end 1.1 gone
                report 2: 2 slots; 01010101/1@11 finished ERROR/LOST; 02020202/1@21 running
            known 1.1 2.1=stop
                stop 02020202/1@21 gracefully
            end 2.1 gone
                report 3: 2 slots; 01010101/1@11 finished ERROR/LOST; 02020202/1@21 finished STOPPED/CANCELLED
        "#]],
    );
}

#[test]
fn ends_of_other_kinds() {
    check(
        "
        adopted
        connect
        desired 1.1
        unprepared 1.1
        desired 1.1 2.1
        prepared 2.1
        unlaunched 2.1
        desired 2.1 3.1
        prepared 3.1
        launched 3.1
        end 3.1 not-started
        desired 3.1 4.1
        prepared 4.1
        launched 4.1
        end 4.1 time-limit
        collected 4.1
        desired 4.1 5.1
        prepared 5.1
        launched 5.1
        exit 5.1 0
        invalid 5.1
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            desired 1.1
                prepare 01010101/1@11: train
            unprepared 1.1
                report 2: 2 slots; 01010101/1@11 finished ERROR/INPUT_FAILED
            desired 1.1 2.1
                prepare 02020202/1@21: train
            prepared 2.1
                launch 02020202/1@21
            unlaunched 2.1
                report 3: 2 slots; 01010101/1@11 finished ERROR/INPUT_FAILED; 02020202/1@21 finished ERROR/START_FAILED
            desired 2.1 3.1
                prepare 03030303/1@31: train
                remove 01010101/1@11
            prepared 3.1
                launch 03030303/1@31
            launched 3.1
            end 3.1 not-started
                report 4: 2 slots; 02020202/1@21 finished ERROR/START_FAILED; 03030303/1@31 finished ERROR/START_FAILED
            desired 3.1 4.1
                prepare 04040404/1@41: train
                remove 02020202/1@21
            prepared 4.1
                launch 04040404/1@41
            launched 4.1
            end 4.1 time-limit
                collect 04040404/1@41
            collected 4.1
                report 5: 2 slots; 03030303/1@31 finished ERROR/START_FAILED; 04040404/1@41 finished STOPPED/TIME_LIMIT
            desired 4.1 5.1
                prepare 05050505/1@51: train
                remove 03030303/1@31
            prepared 5.1
                launch 05050505/1@51
            launched 5.1
            exit 5.1 0
                collect 05050505/1@51
            invalid 5.1
                report 6: 2 slots; 04040404/1@41 finished STOPPED/TIME_LIMIT; 05050505/1@51 finished ERROR/OUTPUT_INVALID
        "#]],
    );
}

#[test]
fn the_news_of_the_end_may_overtake_that_of_the_start() {
    check(
        "
        adopted
        desired 1.1 2.1
        prepared 1.1
        exit 1.1 0
        launched 1.1
        collected 1.1
        collected 1.1
        exit 1.1 1
        prepared 2.1
        desired
        end 2.1 stopped
        launched 2.1
        ",
        &expect![[r#"
            adopted
            desired 1.1 2.1
                prepare 01010101/1@11: train
                prepare 02020202/1@21: train
            prepared 1.1
                launch 01010101/1@11
            exit 1.1 0
                collect 01010101/1@11
            launched 1.1
            collected 1.1
            collected 1.1
            exit 1.1 1
            prepared 2.1
                launch 02020202/1@21
            desired
                remove 01010101/1@11
            end 2.1 stopped
                remove 02020202/1@21
            launched 2.1
        "#]],
    );
}

#[test]
fn a_drained_worker_says_so_and_finishes_what_it_has() {
    check(
        "
        adopted
        connect
        desired 1.1
        drain
        prepared 1.1
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            desired 1.1
                prepare 01010101/1@11: train
            drain
                report 2: 2 slots, draining; 01010101/1@11 preparing
            prepared 1.1
                launch 01010101/1@11
        "#]],
    );
}

#[test]
fn a_full_disk_is_told_once_and_room_again_too() {
    check(
        "
        adopted
        connect
        desired 1.1
        full
        full
        prepared 1.1
        room
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            desired 1.1
                prepare 01010101/1@11: train
            full
                report 2: 2 slots, disk full; 01010101/1@11 preparing
            full
            prepared 1.1
                launch 01010101/1@11
            room
                report 3: 2 slots; 01010101/1@11 preparing
        "#]],
    );
}

#[test]
fn a_device_is_used_by_one_program_at_a_time_whatever_coordinators_believe() {
    check(
        "
        adopted
        connect
        up c1
        devices a b
        desired 1.1=on:a
        prepared 1.1
        launched 1.1
        desired 2.1=on:a 3.1=on:b
        prepared 2.1
        prepared 3.1
        end 1.1 stopped
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            up c1
            devices a b
                report 2: 2 slots
            desired 1.1=on:a
                prepare 01010101/1@11: train
            prepared 1.1
                launch 01010101/1@11
            launched 1.1
            desired 2.1=on:a 3.1=on:b
                prepare 02020202/1@21: train
                prepare 03030303/1@31: train
                stop 01010101/1@11 now
            prepared 2.1
            prepared 3.1
                launch 03030303/1@31
            end 1.1 stopped
                remove 01010101/1@11
                launch 02020202/1@21
        "#]],
    );
}

#[test]
fn a_device_that_goes_takes_its_attempt_along() {
    check(
        "
        adopted
        connect
        up c1
        devices a b
        desired 1.1=on:a 2.1=on:b
        prepared 1.1
        launched 1.1
        devices b
        end 1.1 stopped
        collected 1.1
        prepared 2.1
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            up c1
            devices a b
                report 2: 2 slots
            desired 1.1=on:a 2.1=on:b
                prepare 01010101/1@11: train
                prepare 02020202/1@21: train
            prepared 1.1
                launch 01010101/1@11
            launched 1.1
            devices b
                stop 01010101/1@11 gracefully
                report 3: 2 slots; 01010101/1@11 preparing; 02020202/1@21 preparing
            end 1.1 stopped
                collect 01010101/1@11
            collected 1.1
                report 4: 2 slots; 01010101/1@11 finished ERROR/DEVICE_LOST; 02020202/1@21 preparing
            prepared 2.1
                launch 02020202/1@21
        "#]],
    );
}
