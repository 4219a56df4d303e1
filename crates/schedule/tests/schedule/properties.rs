//! Whatever the queue and the workers are, the solver answers as a plain one does that looks at everything each time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ledger::Execution;
use proptest::prelude::*;
use schedule::{Placement, Problem, WorkerFact, solve};

use crate::world::World;

const ENVIRONMENTS: [&str; 3] = ["", "gpu", "tpu"];

#[derive(Clone, Debug)]
enum Step {
    Run {
        project: u8,
        environment: usize,
        with_input: bool,
    },
    Place,
    Finish {
        at: prop::sample::Index,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_u8, 0..3_usize, any::<bool>())
            .prop_map(|(project, environment, with_input)| Step::Run { project, environment, with_input }),
        1 => Just(Step::Place),
        2 => any::<prop::sample::Index>().prop_map(|at| Step::Finish { at }),
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
    fn it_places_what_a_plain_solver_places(
        workers in prop::collection::vec(worker(), 0..6),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::default();
        for (at, (slots, backlog, connected, draining, serves)) in workers.into_iter().enumerate() {
            let environments: &[&str] = [&[][..], &["gpu"], &["tpu"], &["gpu", "tpu"]][serves];
            let name = format!("w{at}");
            world.worker(&name.clone(), environments, WorkerFact { name, connected, slots, backlog, draining, disk_full: false });
        }
        for step in steps {
            match step {
                Step::Run { project, environment, with_input } => {
                    let project = format!("p{project}");
                    let maker = world.ledger.data(&project).next().map(|datum| format!("{project}#{}", datum.execution));
                    world.run(&project, ENVIRONMENTS[environment], maker.as_deref().filter(|_| with_input));
                }
                Step::Place => check(&mut world)?,
                Step::Finish { at } => {
                    let live: Vec<String> = ["p0", "p1", "p2"]
                        .iter()
                        .flat_map(|project| world.ledger.executions(project))
                        .filter(|execution| execution.live_attempt().is_some())
                        .map(|execution| format!("{}#{}", execution.project, execution.number))
                        .collect();
                    if !live.is_empty() {
                        world.finish(&live[at.index(live.len())], 10);
                    }
                }
            }
        }
        check(&mut world)?;
    }
}

fn check(world: &mut World) -> Result<(), TestCaseError> {
    let expected = plain(world);
    prop_assert_eq!(
        &solve(&Problem::reduce(&world.ledger, &world.facts)),
        &expected
    );
    prop_assert_eq!(world.place(), expected);
    for fact in &world.facts.workers {
        let used = world.ledger.worker(&fact.name).unwrap().attempts().len() as u32;
        prop_assert!(
            used <= fact.slots + fact.backlog,
            "{} has {}",
            fact.name,
            used
        );
    }
    Ok(())
}

/// Every execution against every worker, again and again.
fn plain(world: &World) -> Vec<Placement> {
    let mut used: BTreeMap<&str, u32> = BTreeMap::new();
    for fact in &world.facts.workers {
        used.insert(
            &fact.name,
            world.ledger.worker(&fact.name).unwrap().attempts().len() as u32,
        );
    }
    let mut live: BTreeMap<&str, u32> = world
        .ledger
        .projects()
        .map(|project| (&*project.name, project.live_count()))
        .collect();
    let mut waiting: Vec<&Execution> = world.ledger.queued().collect();
    let mut placements = Vec::new();
    loop {
        let due = waiting.iter().enumerate().filter_map(|(at, execution)| {
            let worker = best(world, &used, execution)?;
            let age = (execution.create_index, execution.number);
            Some((live[&*execution.project], age, at, worker))
        });
        let Some((_, _, at, worker)) = due.min() else {
            return placements;
        };
        let execution = waiting.remove(at);
        *live.get_mut(&*execution.project).unwrap() += 1;
        *used.get_mut(worker).unwrap() += 1;
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
    let candidates = world.facts.workers.iter().filter(|fact| {
        let offer = &world.ledger.worker(&fact.name).unwrap().offer;
        let serves = environment.is_empty()
            || offer
                .environments
                .iter()
                .any(|served| served == environment);
        let room = used[fact.name.as_str()] < fact.slots + fact.backlog;
        fact.connected && !fact.draining && fact.slots > 0 && serves && room
    });
    let rank = |fact: &WorkerFact| {
        let used = used[fact.name.as_str()];
        let files = execution.inputs.iter().flat_map(|input| &input.files);
        let data = files.filter_map(|file| world.ledger.datum(&file.datum_id?));
        let bytes: u64 = data
            .filter(|datum| *datum.worker == *fact.name)
            .map(|datum| datum.size_bytes)
            .sum();
        (
            used >= fact.slots,
            Reverse(bytes),
            u64::from(used) * 1_024 / u64::from(fact.slots),
        )
    };
    candidates
        .min_by_key(|fact| (rank(fact), fact.name.as_str()))
        .map(|fact| fact.name.as_str())
}
