//! The workers that may be given something, so ordered that the best is found without looking at the others.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::Machine;

/// Load, then position in the order of names.
type Rank = (u64, usize);

/// Workers with room, by what they serve.
pub(crate) struct Machines<'a> {
    /// By name.
    machines: Vec<Machine<'a>>,
    by_name: BTreeMap<&'a str, usize>,
    /// By environment; the empty one is every worker.
    pools: BTreeMap<&'a str, Pool>,
}

/// Workers that serve one environment.
#[derive(Default)]
struct Pool {
    /// Those with a free slot.
    free: BTreeSet<Rank>,
    /// Those without one, which may be given more ahead of time.
    ahead: BTreeSet<Rank>,
}

impl<'a> Machines<'a> {
    /// Takes those that may be given anything at all.
    pub(crate) fn new(all: &[Machine<'a>]) -> Self {
        let mut machines: Vec<Machine<'a>> = all
            .iter()
            .filter(|machine| machine.takes_work() && machine.has_room())
            .copied()
            .collect();
        machines.sort_by_key(|machine| machine.name());
        machines.dedup_by_key(|machine| machine.name());
        let by_name = machines
            .iter()
            .enumerate()
            .map(|(at, machine)| (&**machine.name(), at))
            .collect();
        let mut this = Self {
            machines,
            by_name,
            pools: BTreeMap::new(),
        };
        for at in 0..this.machines.len() {
            this.enter(at);
        }
        this
    }

    /// Whether anything that names this environment can be placed.
    pub(crate) fn has_room(&self, environment: &str) -> bool {
        self.pools
            .get(environment)
            .is_some_and(|pool| !pool.free.is_empty() || !pool.ahead.is_empty())
    }

    /// Takes a place on the best worker: first where a slot is free, of those where most bytes are, then the least loaded,
    /// then by name.
    pub(crate) fn take(
        &mut self,
        environment: &str,
        bytes: &BTreeMap<&str, u64>,
    ) -> Option<&Machine<'a>> {
        let pool = self.pools.get(environment)?;
        let best_of = |ranks: &BTreeSet<Rank>| {
            let near = bytes.iter().filter_map(|(worker, bytes)| {
                let at = *self.by_name.get(worker)?;
                let rank = (self.machines[at].load(), at);
                ranks
                    .contains(&rank)
                    .then_some((std::cmp::Reverse(*bytes), rank))
            });
            near.min()
                .map(|(_, rank)| rank)
                .or_else(|| ranks.first().copied())
        };
        let (_, at) = best_of(&pool.free).or_else(|| best_of(&pool.ahead))?;
        self.leave(at);
        self.machines[at].used += 1;
        self.enter(at);
        self.machines.get(at)
    }

    fn enter(&mut self, at: usize) {
        let machine = self.machines[at];
        let rank = (machine.load(), at);
        for environment in environments(&machine) {
            let pool = self.pools.entry(environment).or_default();
            if machine.has_slot() {
                pool.free.insert(rank);
            } else if machine.has_room() {
                pool.ahead.insert(rank);
            }
        }
    }

    fn leave(&mut self, at: usize) {
        let machine = self.machines[at];
        let rank = (machine.load(), at);
        for environment in environments(&machine) {
            if let Some(pool) = self.pools.get_mut(environment) {
                pool.free.remove(&rank);
                pool.ahead.remove(&rank);
            }
        }
    }
}

/// The environments a worker serves, the nameless one included.
fn environments<'a>(machine: &Machine<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    std::iter::once("").chain(machine.environments())
}
