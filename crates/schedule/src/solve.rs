//! From a problem to placements.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::sync::Arc;

use ledger::{Execution, Ledger, Needs};

use crate::machines::Machines;
use crate::problem::{Problem, is_plain};

/// One decision: this execution on that worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Project of the execution.
    pub project: Arc<str>,
    /// Number of the execution.
    pub execution: i64,
    /// Name of the worker.
    pub worker: Arc<str>,
    /// Devices of the worker that it has for itself.
    pub device_ids: Vec<String>,
}

/// Index that created an execution and its number; less is older.
pub(crate) type Age = (u64, i64);

/// One lane with what is left of it.
pub(crate) struct Queue<'a, I: Iterator<Item = Age>> {
    needs: &'a Needs,
    rest: Peekable<I>,
}

/// A project with its lanes and how much of it runs.
pub(crate) struct Share<'a, I: Iterator<Item = Age>> {
    name: &'a Arc<str>,
    live: u32,
    queues: Vec<Queue<'a, I>>,
}

/// How often the machine that is kept may change while one problem is solved.
const KEEPS: usize = 4;

/// Places as much as there is room for, in the order in which executions are due.
pub fn solve(problem: &Problem<'_>) -> Vec<Placement> {
    let mut placements = Vec::new();
    if problem.lanes.is_empty() {
        return placements;
    }
    let needs = problem.lanes.iter().map(|lane| &**lane.needs());
    let mut machines = Machines::new(&problem.machines, needs);
    let mut shares = shares(problem);
    for _ in 0..KEEPS {
        let next = next_in_line(&mut shares, &machines).map(|next| next.needs);
        if next.is_some() || machines.kept().is_some() {
            machines.keep(next);
        }
        place_due(problem, &mut shares, &mut machines, &mut placements);
        let then = next_in_line(&mut shares, &machines).map(|next| next.needs);
        if then == machines.kept() {
            break;
        }
    }
    placements
}

fn place_due<'a, I: Iterator<Item = Age>>(
    problem: &Problem<'a>,
    shares: &mut [Share<'a, I>],
    machines: &mut Machines<'a>,
    placements: &mut Vec<Placement>,
) {
    // Who is due: fewest running, then the oldest. A project leaves when nothing of it can be placed any more.
    let mut due: BTreeSet<(u32, Age, usize)> = BTreeSet::new();
    for (at, share) in shares.iter_mut().enumerate() {
        due.extend(share.key(machines, at));
    }
    while let Some(key) = due.pop_first() {
        let (_, _, at) = key;
        let share = &mut shares[at];
        let now = share.key(machines, at);
        if now != Some(key) {
            // Room for what it was due with is gone; it may be due with something else.
            due.extend(now);
            continue;
        }
        let Some((needs, execution)) = share.pop(machines) else {
            continue;
        };
        let bytes = input_bytes(
            problem.ledger,
            problem.ledger.execution(share.name, execution),
        );
        let Some((machine, devices)) = machines.take(needs, &bytes) else {
            continue;
        };
        placements.push(Placement {
            project: share.name.clone(),
            execution,
            worker: machine.name().clone(),
            device_ids: devices
                .into_iter()
                .map(|device| device.device_id.clone())
                .collect(),
        });
        share.live += 1;
        due.extend(share.key(machines, at));
    }
}

/// What waits longest for more than is free now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Next<'a> {
    pub(crate) age: Age,
    pub(crate) project: &'a Arc<str>,
    pub(crate) needs: &'a Needs,
}

/// Who has waited longest of those that need more than is free now, though some machine has that much: of what becomes free there, it is
/// given first, or smaller ones would pass it for ever.
pub(crate) fn next_in_line<'a, I: Iterator<Item = Age>>(
    shares: &mut [Share<'a, I>],
    machines: &Machines<'a>,
) -> Option<Next<'a>> {
    let heads = shares.iter_mut().flat_map(|share| {
        let project = share.name;
        let queues = share.queues.iter_mut().filter(|queue| {
            let needs = queue.needs;
            !is_plain(needs)
                && (machines.kept() == Some(needs) || !machines.has_room(needs))
                && machines.could_have_room(needs)
        });
        queues.filter_map(move |queue| {
            Some(Next {
                age: *queue.rest.peek()?,
                project,
                needs: queue.needs,
            })
        })
    });
    heads.min()
}

pub(crate) fn shares<'a>(
    problem: &Problem<'a>,
) -> Vec<Share<'a, impl Iterator<Item = Age> + use<'a>>> {
    let mut shares = BTreeMap::new();
    for lane in &problem.lanes {
        let share = shares.entry(lane.project()).or_insert_with(|| Share {
            name: lane.project(),
            live: problem
                .ledger
                .project(lane.project())
                .map_or(0, |project| project.live_count()),
            queues: Vec::new(),
        });
        share.queues.push(Queue {
            needs: lane.needs(),
            rest: lane.executions().peekable(),
        });
    }
    shares.into_values().collect()
}

impl<'a, I: Iterator<Item = Age>> Share<'a, I> {
    /// How urgent the project is; none when nothing of it can be placed.
    fn key(&mut self, machines: &Machines<'_>, at: usize) -> Option<(u32, Age, usize)> {
        let live = self.live;
        let queue = self.oldest(machines)?;
        let age = *queue.rest.peek()?;
        Some((live, age, at))
    }

    /// Takes the oldest execution that can be placed, with its environment.
    fn pop(&mut self, machines: &Machines<'_>) -> Option<(&'a Needs, i64)> {
        let queue = self.oldest(machines)?;
        let (_, execution) = queue.rest.next()?;
        Some((queue.needs, execution))
    }

    /// The queue with the oldest head of those that can be placed.
    fn oldest(&mut self, machines: &Machines<'_>) -> Option<&mut Queue<'a, I>> {
        let placeable = self
            .queues
            .iter_mut()
            .filter(|queue| machines.has_room(queue.needs));
        let heads = placeable.filter_map(|queue| Some((*queue.rest.peek()?, queue)));
        heads.min_by_key(|(age, _)| *age).map(|(_, queue)| queue)
    }
}

/// How many bytes of an execution's inputs each worker has.
pub(crate) fn input_bytes<'a>(
    ledger: &'a Ledger,
    execution: Option<&Execution>,
) -> BTreeMap<&'a str, u64> {
    let mut bytes = BTreeMap::new();
    let inputs = execution
        .map(|execution| &*execution.inputs)
        .unwrap_or_default();
    for file in inputs.iter().flat_map(|input| &input.files) {
        if let Some(datum) = file.datum_id.and_then(|id| ledger.datum(&id)) {
            *bytes.entry(&*datum.worker).or_default() += datum.size_bytes;
        }
    }
    bytes
}
