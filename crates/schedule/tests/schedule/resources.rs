//! Processors, memory and devices: nothing is promised twice, and what needs much is not passed for ever by what needs little.

use expect_test::expect;
use proptest::prelude::*;

use crate::world::check;

#[test]
fn each_gpu_has_one_and_the_smallest_that_will_do_is_given() {
    check(
        "worker a 8 gpus=big:80,small:16\nrun p 3 gpus=1\nrun p gpus=1:40\nplace\nfinish p#2 0\nplace\nfinish p#1 0\nplace",
        expect![[r#"
            p#1 on a with small
            p#2 on a with big
            --
            p#3 on a with big
            --
            --
        "#]],
    );
}

#[test]
fn processors_and_memory_are_kept() {
    check(
        "worker a 8 cpu=4 mb=1000\nrun p 2 cpu=2 mb=400\nrun p cpu=1\nrun p mb=300\nrun p mb=100\nrun p\nplace\nexplain p#3\nfinish p#1 0\nplace",
        expect![[r#"
            p#1 on a
            p#2 on a
            p#5 on a
            p#6 on a
            --
            queued: no worker can take it now; priority 0; 0 of its project are before it, 4 of its project are with workers (weight 8.2), attempts so far: 0
              a: + in contact, + takes new attempts, + serves the environment, + 4 of 8 slots taken, - 4 of 4 processors taken, 1 needed
            p#3 on a
            p#4 on a
            --
        "#]],
    );
}

#[test]
fn what_needs_more_than_a_slot_is_not_assigned_ahead() {
    check(
        "worker a 1+4 cpu=8 gpus=g:16\nrun p\nrun p gpus=1\nrun p cpu=1\nrun p 2\nplace",
        expect![[r#"
            p#2 is promised a
            p#1 on a
            p#4 on a
            p#5 on a
            --
        "#]],
    );
}

#[test]
fn what_needs_many_gpus_is_next_where_it_fits_and_small_ones_do_not_pass_it_for_ever() {
    check(
        "worker a 8 gpus=a0:16,a1:16\nworker b 8 gpus=b0:16\nrun p 2 gpus=1\nplace\nrun p gpus=2\nrun p 3 gpus=1\nrun p\nplace\n\
         explain p#3\nexplain p#4\nfinish p#1 0\nplace\nfinish p#2 0\nplace",
        expect![[r#"
            p#1 on a with a0
            p#2 on b with b0
            --
            p#3 is promised a
            p#7 on a
            --
            queued: it is next on worker a, which is kept for it; 1 of 2 devices are free there; what is in its way has no time limit
              a: + in contact, + takes new attempts, + serves the environment, + 2 of 8 slots taken, - 1 of 2 nvidia.com/gpu free, 2 needed
              b: + in contact, + takes new attempts, + serves the environment, + 1 of 8 slots taken, - 0 of 1 nvidia.com/gpu free, 2 needed
            queued: no worker can take it now; priority 0; 0 of its project are before it, 3 of its project are with workers (weight 19), attempts so far: 0
              a: + in contact, + takes new attempts, + serves the environment, + 2 of 8 slots taken, + 1 of 2 nvidia.com/gpu free, 1 needed, - kept for p#3, which is next there
              b: + in contact, + takes new attempts, + serves the environment, + 1 of 8 slots taken, - 0 of 1 nvidia.com/gpu free, 1 needed
            p#3 on a with a0, a1
            --
            p#4 on b with b0
            --
        "#]],
    );
}

#[test]
fn what_no_machine_can_run_keeps_nothing() {
    check(
        "worker a 2 gpus=g:16\nrun p gpus=4\nrun p gpus=1:80\nrun p gpus=1\nplace\nexplain p#1\nexplain p#2",
        expect![[r#"
            p#3 on a with g
            --
            queued: no worker there is could ever take it; priority 0; 0 of its project are before it, 1 of its project are with workers (weight 9), attempts so far: 0
              a: + in contact, + takes new attempts, + serves the environment, + 1 of 2 slots taken, - 0 of 1 nvidia.com/gpu free, 4 needed
            queued: no worker there is could ever take it; priority 0; 0 of its project are before it, 1 of its project are with workers (weight 9), attempts so far: 0
              a: + in contact, + takes new attempts, + serves the environment, + 1 of 2 slots taken, - 0 of 0 nvidia.com/gpu of 81920 MiB or more free, 1 needed
        "#]],
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// The world checks I-15 and the sums after every placement, and that solving again places nothing.
    #[test]
    fn whatever_is_asked_for_nothing_is_given_twice_and_all_that_fits_somewhere_runs_in_the_end(
        workers in prop::collection::vec((1..4_u32, 0..3_usize, 0..5_u32), 1..4),
        runs in prop::collection::vec((0..3_u32, 0..4_u32, 0..3_u32), 1..25),
    ) {
        let mut script = String::new();
        for (at, (slots, gpus, cpu)) in workers.iter().enumerate() {
            let gpus: Vec<String> = (0..*gpus).map(|n| format!("g{at}-{n}:16")).collect();
            let gpus = match gpus.is_empty() {
                true => String::new(),
                false => format!("gpus={}", gpus.join(",")),
            };
            script += &format!("worker w{at} {slots}+1 cpu={cpu} mb=1000 {gpus}\n");
        }
        for (project, gpus, cpu) in &runs {
            let gpus = match gpus {
                0 => String::new(),
                count => format!("gpus={count}"),
            };
            script += &format!("run p{project} cpu={cpu} {gpus}\n");
        }
        let mut world = crate::world::build(&script);
        let mut rounds = 0;
        loop {
            world.place();
            let live: Vec<String> = world
                .ledger
                .projects()
                .flat_map(|project| world.ledger.executions(&project.name))
                .filter(|execution| execution.live_attempt().is_some())
                .map(|execution| format!("{}#{}", execution.project, execution.number))
                .collect();
            let Some(first) = live.first() else { break };
            world.finish(first, 0);
            rounds += 1;
            prop_assert!(rounds <= runs.len());
        }
        for execution in world.ledger.queued() {
            let needs = &execution.recipe.needs;
            let fits = workers.iter().any(|(_, gpus, cpu)| {
                needs.device_count() <= *gpus && needs.cpu_millis <= u64::from(*cpu) * 1_000
            });
            prop_assert!(!fits, "{} waits for ever", execution.number);
        }
    }
}
