//! Copies of blobs: who has what, and what goes with a worker.

use expect_test::expect;

use crate::script::check;

#[test]
fn what_is_on_no_worker_that_stays_goes_with_this_one() {
    check(
        "raise 3 ; worker w1 ; worker w2 ; worker w3
         run a ; assign 1 w1
         finish 1 complete out=model,log
         who model
         copies w2 of=model
         who model
         drain w1
         who model
         who log
         drain w2
         who model
         lose-worker w2
         undrain w2
         who model
         worker w2 2
         who model
         copies w3 of=log,model
         who log",
        expect![[r#"
            > raise 3 ; worker w1 ; worker w2 ; worker w3
            feature level 3
            worker w1
            worker w2
            worker w3
              worker w1 has 0
              worker w2 has 0
              worker w3 has 0
            > run a ; assign 1 w1
            execution p#1
            attempt 1@3
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              worker w1 has 1
            > finish 1 complete out=model,log
            attempt 1@3
              execution p#1 COMPLETE
              worker w1 has 0
            > who model
              w1 has it, on no other that stays; 2 go with it
            > copies w2 of=model
            copies at worker w2: 1
            > who model
              w1 has it; 1 go with it
              w2 has it; 0 go with it
            > drain w1
            worker w1
              worker w1 has 0
            > who model
              w1 has it; 1 go with it
              w2 has it, on no other that stays; 1 go with it
            > who log
              w1 has it, on no other that stays; 1 go with it
            > drain w2
            worker w2
              worker w2 has 0
            > who model
              w1 has it, on no other that stays; 2 go with it
              w2 has it, on no other that stays; 1 go with it
            > lose-worker w2
            worker w2
              worker w2 has 0 lost
            > undrain w2
            worker w2
              worker w2 has 0 lost
            > who model
              w1 has it, on no other that stays; 2 go with it
              w2 has it, on no other that stays; 1 go with it
            > worker w2 2
            worker w2
              worker w2 has 0
            > who model
              w1 has it; 1 go with it
              w2 has it, on no other that stays; 1 go with it
            > copies w3 of=log,model
            copies at worker w3: 2
            > who log
              w1 has it; 0 go with it
              w3 has it, on no other that stays; 1 go with it
        "#]],
    );
}

#[test]
fn only_what_is_there_and_not_known_is_recorded() {
    check(
        "worker w1 ; worker w2
         run a ; assign 1 w1 ; run b ; assign 2 w2
         finish 1 complete out=model
         copies w2 of=model
         raise 3
         copies w2 of=model,nothing
         copies w2 of=model
         copies w1 of=model
         copies w2 7 of=model
         copies w4 of=model
         finish 2 complete out=model
         who model",
        expect![[r#"
            > worker w1 ; worker w2
            worker w1
            worker w2
              worker w1 has 0
              worker w2 has 0
            > run a ; assign 1 w1 ; run b ; assign 2 w2
            execution p#1
            attempt 1@3
            execution p#2
            attempt 1@3
              execution p#1 QUEUED attempt 1 on w1 QUEUED
              execution p#2 QUEUED attempt 1 on w2 QUEUED
              worker w1 has 1
              worker w2 has 1
            > finish 1 complete out=model
            attempt 1@3
              execution p#1 COMPLETE
              worker w1 has 0
            > copies w2 of=model
            refused: malformed command: copies are recorded from feature level 3 on
            > raise 3
            feature level 3
            > copies w2 of=model,nothing
            copies at worker w2: 1
            > copies w2 of=model
            nothing
            > copies w1 of=model
            nothing
            > copies w2 7 of=model
            refused: the worker's incarnation is 1 by now
            > copies w4 of=model
            refused: worker w4 is not known
            > finish 2 complete out=model
            attempt 1@3
              execution p#2 COMPLETE
              worker w2 has 0
            > who model
              w1 has it; 0 go with it
              w2 has it; 0 go with it
        "#]],
    );
}
