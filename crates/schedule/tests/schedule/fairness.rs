//! Priority, equal shares, age, and promises that are kept.

use std::collections::BTreeMap;

use contract::ledger as pb;
use expect_test::expect;
use proptest::prelude::*;

use crate::world::{Run, World, build, check};

#[test]
fn a_greater_priority_goes_first_and_an_hour_of_being_passed_over_counts_one() {
    check(
        "worker a 1
         run p prio=-1
         run p
         run p prio=2
         place
         finish p#3 0
         place
         run p
         finish p#2 0
         pass 60
         run p prio=1
         place
         finish p#4 0
         place
         finish p#5 0
         place",
        expect![[r#"
            p#3 on a
            --
            p#2 on a
            --
            p#4 on a
            --
            p#5 on a
            --
            p#1 on a
            --
        "#]],
    );
}

#[test]
fn equal_shares_are_of_what_is_used_and_not_of_how_many_run() {
    check(
        "worker a 8 cpu=8 gpus=g:16
         run big gpus=1
         place
         run big 9
         run small 9
         place",
        expect![[r#"
            big#1 on a with g
            --
            small#1 on a
            small#2 on a
            small#3 on a
            small#4 on a
            small#5 on a
            small#6 on a
            small#7 on a
            --
        "#]],
    );
}

/// What waits for one attempt to end is due like anything else when it has: with a promise, the oldest of its kind would always go first.
#[test]
fn who_waits_for_one_attempt_alone_has_no_start_promised_and_shares_with_others() {
    check(
        "worker a 4 gpus=g:16,h:16
         run big 4 gpus=1
         place
         run small 2 gpus=1
         finish big#1 0
         place
         finish big#2 0
         place
         finish small#1 0
         place",
        expect![[r#"
            big#1 on a with g
            big#2 on a with h
            --
            small#1 on a with g
            --
            big#3 on a with h
            --
            small#2 on a with g
            --
        "#]],
    );
    check(
        "worker a 1 cpu=4
         run p 4 cpu=1
         place
         run victim
         pass 60
         finish p#1 0
         place
         pass 60
         finish p#2 0
         place",
        expect![[r#"
            p#1 on a
            --
            p#2 on a
            --
            victim#1 on a
            --
        "#]],
    );
}

#[test]
fn what_ends_in_time_or_is_not_in_the_way_may_start_on_a_worker_that_is_kept() {
    check(
        "worker a 8 gpus=g:16,h:16 cpu=8
         run p gpus=1 limit=120
         place
         run p gpus=2
         place
         run q gpus=1 limit=60
         run q gpus=1 limit=120
         run q gpus=1
         run q cpu=8
         place
         explain p#2
         explain q#2",
        expect![[r#"
            p#1 on a with g
            --
            p#2 is promised a
            --
            q#1 on a with h
            q#4 on a
            --
            queued: it is next on worker a, which is kept for it; 0 of 2 devices are free there; what is in its way has reached its time limit in 2 h 0 min
              a: + in contact, + takes new attempts, + serves the environment, + 3 of 8 slots taken, - 0 of 2 nvidia.com/gpu free, 2 needed
            queued: no worker can take it now; priority 0; 0 of its project are before it, 2 of its project are with workers (weight 18), 1 of 2 projects that wait are due before it, attempts so far: 0
              a: + in contact, + takes new attempts, + serves the environment, + 3 of 8 slots taken, - 0 of 2 nvidia.com/gpu free, 1 needed, - kept for p#2, which is next there
        "#]],
    );
}

#[test]
fn a_promise_goes_over_to_a_greater_priority_and_to_another_worker_when_its_own_goes() {
    check(
        "worker w0 2 gpus=g:16,h:16
         worker w1 2 gpus=i:16,j:16
         run p 4 gpus=1
         place
         run p gpus=2
         place
         run p gpus=2 prio=1
         place
         explain p#6",
        expect![[r#"
            p#1 on w0 with g
            p#2 on w1 with i
            p#3 on w0 with h
            p#4 on w1 with j
            --
            p#5 is promised w0
            --
            p#6 is promised w0
            --
            queued: it is next on worker w0, which is kept for it; 0 of 2 devices are free there; what is in its way has no time limit
              w0: + in contact, + takes new attempts, + serves the environment, - 2 of 2 slots taken, - 0 of 2 nvidia.com/gpu free, 2 needed
              w1: + in contact, + takes new attempts, + serves the environment, - 2 of 2 slots taken, - 0 of 2 nvidia.com/gpu free, 2 needed
        "#]],
    );
    let mut world = build(
        "worker w0 2 gpus=g:16,h:16\nworker w1 2 gpus=i:16,j:16\nrun p 4 gpus=1\nplace\nrun p gpus=2\nplace",
    );
    world.drain(0, true);
    let plan = world.place();
    let workers: Vec<&str> = plan
        .promises
        .iter()
        .map(|promise| &*promise.worker)
        .collect();
    assert_eq!(workers, ["w1"]);
    world.drain(1, true);
    assert_eq!(world.place().withdrawn.len(), 1);
}

#[test]
fn what_a_worker_does_not_grant_is_not_placed_there() {
    check(
        "worker a 2 mounts=/data
         worker b 2
         worker c 2 mounts=/scratch
         run p 3 mount=/scratch/x
         place
         explain p#3",
        expect![[r#"
            p#1 on c
            p#2 on c
            --
            queued: no worker can take it now; priority 0; 0 of its project are before it, 2 of its project are with workers (weight 2), attempts so far: 0
              a: + in contact, + takes new attempts, + serves the environment, + 0 of 2 slots taken, - does not grant mounts: /scratch/x
              b: + in contact, + takes new attempts, + serves the environment, + 0 of 2 slots taken, - does not grant mounts: /scratch/x: it runs plain processes, which have none
              c: + in contact, + takes new attempts, + serves the environment, - 2 of 2 slots taken
        "#]],
    );
}

fn needs(gpus: u32, cpu: u64) -> Option<pb::Needs> {
    let device = pb::DeviceNeed {
        kind: "nvidia.com/gpu".to_owned(),
        count: gpus,
        memory_bytes: 0,
    };
    Some(pb::Needs {
        cpu_millis: cpu * 1_000,
        devices: (gpus > 0).then_some(device).into_iter().collect(),
        ..pb::Needs::default()
    })
}

/// Workers of one to three GPUs and four processors.
fn workers(gpus: &[u32]) -> World {
    let mut script = String::new();
    for (at, gpus) in gpus.iter().enumerate() {
        let gpus: Vec<String> = (0..*gpus).map(|n| format!("g{at}-{n}:16")).collect();
        script += &format!("worker w{at} 4 cpu=4 gpus={}\n", gpus.join(","));
    }
    build(&script)
}

/// When each attempt has reached its time limit.
fn ends(world: &World) -> BTreeMap<i64, Vec<String>> {
    let mut ends: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for name in world.live() {
        let (project, number) = name.split_once('#').unwrap();
        let execution = world.ledger.execution(project, number.parse().unwrap());
        let execution = execution.unwrap();
        let assigned = execution.live_attempt().unwrap().assign_time_ms;
        let end = assigned + execution.template().time_limit_ms as i64;
        ends.entry(end).or_default().push(name);
    }
    ends
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every attempt ends by its time limit at the latest; later arrivals have at most the priority of those before.
    #[test]
    fn a_promise_is_never_delayed_by_a_later_arrival_of_no_greater_priority(
        gpus in prop::collection::vec(1..4_u32, 1..4),
        steps in prop::collection::vec(
            (0..3_u32, (0..4_u32, 0..4_u64, 1..200_u64), 0..2_i32, 0..90_i64, any::<prop::sample::Index>(), any::<bool>()),
            1..50,
        ),
    ) {
        let mut world = workers(&gpus);
        let mut promised: BTreeMap<(String, i64), i64> = BTreeMap::new();
        let mut priority = 50;
        for (project, (gpus, cpu, limit), down, minutes, early, ends_early) in steps {
            priority -= down;
            let run = Run {
                needs: needs(gpus, cpu),
                limit_ms: limit * 60_000,
                priority,
                ..Run::default()
            };
            world.run(&format!("p{project}"), run);
            settle(&mut world, &mut promised)?;
            let live = world.live();
            if ends_early && !live.is_empty() {
                world.finish(&live[early.index(live.len())], 0);
                settle(&mut world, &mut promised)?;
            }
            let until = world.now_ms + minutes * 60_000;
            while let Some((end, names)) = ends(&world).pop_first().filter(|(end, _)| *end <= until) {
                world.now_ms = world.now_ms.max(end);
                for name in names {
                    world.finish(&name, 0);
                }
                settle(&mut world, &mut promised)?;
            }
            world.now_ms = until;
        }
    }

    /// However many others keep coming, with whatever priority, and whatever it needs.
    #[test]
    fn nobody_starves(
        gpus in prop::collection::vec(1..4_u32, 1..3),
        (need, cpu) in (0..4_u32, 0..5_u64),
        victim in -100..=100_i32,
        others in prop::collection::vec((0..3_u32, 0..2_u32, 0..3_u64, -100..=100_i32), 1..6),
        seed in any::<u64>(),
    ) {
        let need = need.min(gpus.iter().copied().max().unwrap_or_default());
        let mut world = workers(&gpus);
        let mut seed = seed;
        for round in 0..700_u32 {
            for (project, gpus, cpu, priority) in &others {
                let waiting = world.ledger.queued_count();
                // As many as there is ever room for, and some that wait.
                if waiting < 20 {
                    let run = Run { needs: needs(*gpus, *cpu), priority: *priority, ..Run::default() };
                    world.run(&format!("p{project}"), run);
                }
            }
            if round == 3 {
                world.run("victim", Run { needs: needs(need, cpu), priority: victim, ..Run::default() });
            }
            world.place();
            let started = world.ledger.execution("victim", 1).is_some_and(|execution| !execution.is_waiting());
            if started {
                return Ok(());
            }
            // Any of those that run ends, but each does some time: the oldest at least every third round.
            let live = world.live();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = match round % 3 {
                0 => oldest(&world, &live),
                _ => (seed >> 33) as usize % live.len(),
            };
            world.finish(&live[at], 0);
            world.now_ms += 3_600_000;
        }
        prop_assert!(false, "it waits for ever");
    }
}

/// Position of the attempt that was assigned first.
fn oldest(world: &World, live: &[String]) -> usize {
    let assigned = |name: &String| {
        let (project, number) = name.split_once('#').unwrap();
        let execution = world.ledger.execution(project, number.parse().unwrap());
        execution.unwrap().live_fence().unwrap().index
    };
    (0..live.len())
        .min_by_key(|at| assigned(&live[*at]))
        .unwrap()
}

/// Places what can be, and checks that whoever starts does by when it was promised, and who was promised a start is not too late.
fn settle(
    world: &mut World,
    promised: &mut BTreeMap<(String, i64), i64>,
) -> Result<(), TestCaseError> {
    let plan = world.place();
    for placement in &plan.placements {
        promised.remove(&(placement.project.to_string(), placement.execution));
    }
    let now_ms = world.ledger.time_ms();
    for ((project, number), latest) in &*promised {
        let still = world
            .ledger
            .promises()
            .any(|promise| *promise.project == **project && promise.execution == *number);
        prop_assert!(
            still,
            "the promise to {}#{} was taken over",
            project,
            number
        );
        prop_assert!(
            now_ms < *latest,
            "{}#{} should have started at {}, it is {}",
            project,
            number,
            latest,
            now_ms
        );
    }
    for promise in plan.promises {
        prop_assert!(promise.start_time_ms > 0, "all have time limits");
        promised.insert(
            (promise.project.to_string(), promise.execution),
            promise.start_time_ms,
        );
    }
    Ok(())
}
