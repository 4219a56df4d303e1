//! The reasoning in words.

use expect_test::expect;

use crate::world::check;

#[test]
fn why_it_waits() {
    check(
        "worker a 1
         worker b 2 env=gpu silent
         worker c 1 env=gpu draining
         worker d 3 env=tpu,gpu
         run p 1 env=tpu
         place
         finish p#1 500
         run p 4 env=gpu in=p#1
         explain p#2
         place
         explain p#2
         explain p#5
         explain p#1",
        expect![[r#"
            p#1 on d
            --
            queued: it goes to worker d next
              a: + in contact, + takes new attempts, - serves no environment, not gpu, + 0 of 1 slots taken
              b: - out of contact, + takes new attempts, + serves the environment, + 0 of 2 slots taken
              c: + in contact, - drains, + serves the environment, + 0 of 1 slots taken
              d: + in contact, + takes new attempts, + serves the environment, + 0 of 3 slots taken; has 500 bytes of its inputs
            p#2 on d
            p#3 on d
            p#4 on d
            --
            queued: attempt 1 is with worker d
            queued: no worker can take it now; priority 0; 0 of its project are before it, 3 of its project are with workers (weight 3), attempts so far: 0
              a: + in contact, + takes new attempts, - serves no environment, not gpu, + 0 of 1 slots taken
              b: - out of contact, + takes new attempts, + serves the environment, + 0 of 2 slots taken
              c: + in contact, - drains, + serves the environment, + 0 of 1 slots taken
              d: + in contact, + takes new attempts, + serves the environment, - 3 of 3 slots taken; has 500 bytes of its inputs
            complete: it does not wait for a worker
        "#]],
    );
    check(
        "run p\nexplain p#1",
        expect![[r#"
        queued: there is no worker
    "#]],
    );
}

#[test]
fn why_others_come_first() {
    check(
        "worker a 1\nrun p 2\nrun q 2\nexplain p#2\nexplain q#1",
        expect![[r#"
            queued: other executions are due first; priority 0; 1 of its project are before it, 0 of its project are with workers (weight 0), 0 of 2 projects that wait are due before it, attempts so far: 0
              a: + in contact, + takes new attempts, + serves the environment, + 0 of 1 slots taken
            queued: other executions are due first; priority 0; 0 of its project are before it, 0 of its project are with workers (weight 0), 0 of 2 projects that wait are due before it, attempts so far: 0
              a: + in contact, + takes new attempts, + serves the environment, + 0 of 1 slots taken
        "#]],
    );
}
