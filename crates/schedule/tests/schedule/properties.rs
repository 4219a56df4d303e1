//! Whatever the queue and the workers are, the scheduler answers as a plain one does that looks at everything each time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use contract::link::Offer;
use ledger::{Execution, Ledger};
use proptest::prelude::*;
use schedule::{Placement, Scheduler, WorkerFact};

use crate::world::{Run, World};

const ENVIRONMENTS: [&str; 3] = ["", "gpu", "tpu"];

#[derive(Clone, Debug)]
enum Step {
    Run {
        project: u8,
        environment: usize,
        with_input: bool,
        priority: i32,
    },
    Place,
    Finish {
        at: prop::sample::Index,
    },
    Pass {
        minutes: i64,
    },
    Drain {
        worker: usize,
        draining: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_u8, 0..3_usize, any::<bool>(), -1..2_i32)
            .prop_map(|(project, environment, with_input, priority)| Step::Run { project, environment, with_input, priority }),
        1 => Just(Step::Place),
        2 => any::<prop::sample::Index>().prop_map(|at| Step::Finish { at }),
        1 => (0..100_i64).prop_map(|minutes| Step::Pass { minutes }),
        1 => (0..6_usize, any::<bool>()).prop_map(|(worker, draining)| Step::Drain { worker, draining }),
    ]
}

fn worker() -> impl Strategy<Value = (u32, u32, bool, bool, usize)> {
    (
        0..4_u32,
        0..3_u32,
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
        0..4_usize,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_places_what_a_plain_scheduler_places(
        workers in prop::collection::vec(worker(), 0..6),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new();
        for (at, (slots, ahead_per_slot, connected, draining, serves)) in workers.into_iter().enumerate() {
            let environments: &[&str] = [&[][..], &["gpu"], &["tpu"], &["gpu", "tpu"]][serves];
            let offer = Offer {
                environments: environments.iter().map(|slug| (*slug).to_owned()).collect(),
                slot_count: slots,
                draining,
                ..Offer::default()
            };
            let incarnation = connected.then_some(1);
            world.offer(&format!("w{at}"), offer, WorkerFact { incarnation, ahead_per_slot });
        }
        for step in steps {
            match step {
                Step::Run { project, environment, with_input, priority } => {
                    let project = format!("p{project}");
                    let maker = world.ledger.data(&project).next().map(|datum| format!("{project}#{}", datum.execution));
                    let run = Run {
                        environment: ENVIRONMENTS[environment],
                        input: maker.as_deref().filter(|_| with_input),
                        priority,
                        ..Run::default()
                    };
                    world.run(&project, run);
                }
                Step::Place => check(&mut world)?,
                Step::Finish { at } => {
                    let live = world.live();
                    if !live.is_empty() {
                        world.finish(&live[at.index(live.len())], 10);
                    }
                }
                Step::Pass { minutes } => world.now_ms += minutes * 60_000,
                Step::Drain { worker, draining } => world.drain(worker, draining),
            }
        }
        check(&mut world)?;
    }
}

fn check(world: &mut World) -> Result<(), TestCaseError> {
    let expected = plain(world);
    let restored = Ledger::restore(world.ledger.snapshot()).unwrap();
    let anew = Scheduler::new(world.facts.clone()).plan(&restored);
    let plan = world.place();
    prop_assert_eq!(&plan, &anew, "a restored ledger decides otherwise");
    prop_assert_eq!(plan.placements, expected);
    prop_assert_eq!(plan.promises, [], "a slot is never promised");
    for worker in world.ledger.workers() {
        let fact = world.facts[&*worker.name];
        let slots = worker.offer.slot_count;
        let used = worker.attempts().len() as u32;
        prop_assert!(used <= slots * (1 + fact.ahead_per_slot));
    }
    Ok(())
}

/// An environment, a project and a priority.
type Lane<'a> = (&'a str, &'a str, i32);

fn lane(execution: &Execution) -> Lane<'_> {
    (
        execution.template().environment.as_str(),
        &execution.project,
        execution.priority,
    )
}

/// Every execution against every worker, again and again.
fn plain(world: &World) -> Vec<Placement> {
    let now_ms = world.ledger.time_ms();
    let mut used: BTreeMap<&str, u32> = BTreeMap::new();
    for worker in world.ledger.workers() {
        used.insert(&worker.name, worker.attempts().len() as u32);
    }
    let mut live: BTreeMap<&str, u32> = BTreeMap::new();
    let mut served: BTreeMap<Lane<'_>, i64> = BTreeMap::new();
    for project in world.ledger.projects() {
        live.insert(&project.name, project.live_count());
        for execution in world.ledger.executions(&project.name) {
            for attempt in &execution.attempts {
                let served = served.entry(lane(execution)).or_default();
                *served = attempt.assign_time_ms.max(*served);
            }
        }
    }
    let mut waiting: Vec<&Execution> = world.ledger.queued().collect();
    let mut placements = Vec::new();
    loop {
        // The oldest of each lane stands for it.
        let mut heads: BTreeMap<Lane<'_>, (u64, i64)> = BTreeMap::new();
        for execution in &waiting {
            let age = (execution.create_index, execution.number);
            let head = heads.entry(lane(execution)).or_insert(age);
            *head = age.min(*head);
        }
        let due = waiting.iter().enumerate().filter_map(|(at, execution)| {
            let worker = best(world, &used, execution)?;
            let age = (execution.create_index, execution.number);
            let lane = lane(execution);
            if heads[&lane] != age {
                return None;
            }
            let served = served.get(&lane).copied().unwrap_or_default();
            let hours = (now_ms - served.max(execution.create_time_ms)) / 3_600_000;
            let level = i64::from(execution.priority) + hours;
            Some((Reverse(level), live[&*execution.project], age, at, worker))
        });
        let Some((_, _, _, at, worker)) = due.min() else {
            return placements;
        };
        let execution = waiting.remove(at);
        *live.get_mut(&*execution.project).unwrap() += 1;
        *used.get_mut(worker).unwrap() += 1;
        served.insert(lane(execution), now_ms);
        placements.push(Placement {
            project: execution.project.clone(),
            execution: execution.number,
            worker: world.ledger.worker(worker).unwrap().name.clone(),
            device_ids: Vec::new(),
        });
    }
}

fn best<'w>(
    world: &'w World,
    used: &BTreeMap<&str, u32>,
    execution: &Execution,
) -> Option<&'w str> {
    let environment = execution.template().environment.as_str();
    let candidates = world.ledger.workers().filter(|worker| {
        let (offer, fact) = (&worker.offer, world.facts[&*worker.name]);
        let mut served = offer.environments.iter();
        let serves = environment.is_empty() || served.any(|served| served == environment);
        let room = used[&*worker.name] < offer.slot_count * (1 + fact.ahead_per_slot);
        let takes = fact.incarnation.is_some() && !offer.draining && !worker.drained;
        takes && offer.slot_count > 0 && serves && room
    });
    let rank = |worker: &ledger::Worker| {
        let (used, slots) = (used[&*worker.name], worker.offer.slot_count);
        let files = execution.inputs.iter().flat_map(|input| &input.files);
        let data = files.filter_map(|file| world.ledger.datum(&file.datum_id?));
        let bytes: u64 = data
            .filter(|datum| datum.worker == worker.name)
            .map(|datum| datum.size_bytes)
            .sum();
        (
            used >= slots,
            Reverse(bytes),
            u64::from(used) * 1_024 / u64::from(slots),
        )
    };
    candidates
        .min_by_key(|worker| (rank(worker), &*worker.name))
        .map(|worker| &*worker.name)
}
