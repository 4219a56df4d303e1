//! Copies that a worker keeps for others, as scripts.

use expect_test::{Expect, expect};

use crate::script::run;

fn check(script: &str, expected: &Expect) {
    expected.assert_eq(&run(script));
}

#[test]
fn copies_are_fetched_once_and_told_of_for_as_long_as_they_are_asked_for() {
    check(
        "
        adopted
        connect
        copies a b
        copies a b c
        wait 20ms
        kept a
        lost b out of reach
        wait 20ms
        disconnect
        kept c
        connect
        copies b c
        copies b
        kept a
        wait 20ms
        copies
        wait 20ms
        copies b
        ",
        &expect![[r#"
            adopted
            connect
                report 1: 2 slots
            copies a b
                keep 61000000 (5 B) from w2:1
                keep 62000000 (5 B) from w2:1
            copies a b c
                keep 63000000 (5 B) from w2:1
            wait 20ms
                report 2: 2 slots; copy 61000000 fetching; copy 62000000 fetching; copy 63000000 fetching
            kept a
            lost b out of reach
            wait 20ms
                report 3: 2 slots; copy 61000000 kept; copy 62000000 out of reach; copy 63000000 fetching
            disconnect
            kept c
            connect
                report 4: 2 slots; copy 61000000 kept; copy 62000000 out of reach; copy 63000000 kept
            copies b c
            copies b
            kept a
            wait 20ms
                report 5: 2 slots; copy 62000000 out of reach
            copies
            wait 20ms
                report 6: 2 slots
            copies b
                keep 62000000 (5 B) from w2:1
        "#]],
    );
}
