//! What goes where.

use expect_test::expect;

use crate::world::check;

#[test]
fn the_oldest_first_on_the_least_loaded_then_by_name() {
    check(
        "worker b 2\nworker a 1\nrun p 4\nplace",
        expect![[r#"
        p#1 on a
        p#2 on b
        p#3 on b
        --
    "#]],
    );
}

#[test]
fn an_equal_share_for_every_project() {
    check(
        "worker a 4\nrun big 5\nrun small 2\nplace\nfinish small#1 1\nfinish small#2 1\nplace",
        expect![[r#"
            big#1 on a
            small#1 on a
            big#2 on a
            small#2 on a
            --
            big#3 on a
            big#4 on a
            --
        "#]],
    );
}

#[test]
fn an_environment_is_served_or_waited_for() {
    check(
        "worker plain 1\nworker gpu 1 env=gpu\nrun p 1 env=tpu\nrun p 2 env=gpu\nrun p 1\nplace\nworker tpu 1 env=tpu\nplace",
        expect![[r#"
            p#2 on gpu
            p#4 on plain
            --
            p#1 on tpu
            --
        "#]],
    );
}

#[test]
fn an_execution_that_names_no_environment_runs_anywhere() {
    check(
        "worker gpu 1 env=gpu\nrun p\nplace",
        expect![[r#"
        p#1 on gpu
        --
    "#]],
    );
}

#[test]
fn silent_draining_full_and_slotless_workers_get_nothing() {
    check(
        "worker a 1 silent\nworker b 1 draining\nworker c 0+5\nworker d 1 full\nrun p\nplace",
        expect![[r#"
            --
        "#]],
    );
}

#[test]
fn backlogs_fill_when_no_slot_is_free() {
    check(
        "worker a 1+1\nworker b 1+2\nrun p 9\nplace",
        expect![[r#"
        p#1 on a
        p#2 on b
        p#3 on a
        p#4 on b
        p#5 on b
        --
    "#]],
    );
}

#[test]
fn a_free_slot_elsewhere_beats_the_bytes_and_the_bytes_beat_the_load() {
    check(
        "worker a 2+2\nworker b 2+2\nrun p\nplace\nfinish p#1 1000\nworker c 2\nrun p 1\nplace\nrun p 4 in=p#1\nplace",
        expect![[r#"
            p#1 on a
            --
            p#2 on a
            --
            p#3 on a
            p#4 on b
            p#5 on c
            p#6 on b
            --
        "#]],
    );
}
