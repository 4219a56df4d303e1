//! The workers that may be given something, so ordered that the best is found without looking at the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ledger::{Device, Needs};

use crate::problem::{Machine, is_plain};

/// Load, then position in the order of names.
type Rank = (u64, usize);

/// Workers with room, by what they have room for.
pub(crate) struct Machines<'a> {
    /// By name.
    machines: Vec<Machine<'a>>,
    by_name: BTreeMap<&'a str, usize>,
    /// By what is needed: everything that waits.
    pools: BTreeMap<&'a Needs, Pool>,
    /// A machine that is kept for what needs it next.
    kept: Option<(usize, &'a Needs)>,
}

/// Workers that fit one set of needs.
#[derive(Default)]
struct Pool {
    /// Those with a free slot.
    free: BTreeSet<Rank>,
    /// Those without one, which may be given more ahead of time.
    ahead: BTreeSet<Rank>,
}

impl<'a> Machines<'a> {
    /// Takes those that may be given anything at all, for what waits.
    pub(crate) fn new(all: &[Machine<'a>], waiting: impl Iterator<Item = &'a Needs>) -> Self {
        let mut machines: Vec<Machine<'a>> = all
            .iter()
            .filter(|machine| machine.takes_work())
            .cloned()
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
            pools: waiting.map(|needs| (needs, Pool::default())).collect(),
            kept: None,
        };
        for at in 0..this.machines.len() {
            this.enter(at);
        }
        this
    }

    /// Whether anything with these needs can be placed.
    pub(crate) fn has_room(&self, needs: &Needs) -> bool {
        self.pools
            .get(needs)
            .is_some_and(|pool| !pool.free.is_empty() || !pool.ahead.is_empty())
    }

    /// Whether something with these needs could be placed if nothing else ran.
    pub(crate) fn could_have_room(&self, needs: &Needs) -> bool {
        self.machines.iter().any(|machine| machine.could_fit(needs))
    }

    /// What a machine is kept for, if one is.
    pub(crate) fn kept(&self) -> Option<&'a Needs> {
        self.kept.map(|(_, needs)| needs)
    }

    /// Keeps a machine for what needs it next, or none: the one that has most of what is needed by now. Others get of it only what does not
    /// put that off: slots beside the last one.
    pub(crate) fn keep(&mut self, next: Option<&'a Needs>) -> Option<&Machine<'a>> {
        if let Some((at, _)) = self.kept.take() {
            self.leave(at);
            self.enter(at);
        }
        let needs = next?;
        let could = self.machines.iter().enumerate();
        let could = could.filter(|(_, machine)| machine.could_fit(needs));
        let (at, _) =
            could.min_by_key(|(at, machine)| (Reverse(machine.useful_devices(needs)), *at))?;
        self.leave(at);
        self.kept = Some((at, needs));
        self.enter(at);
        self.machines.get(at)
    }

    /// Takes a place on the best worker, and the devices that go with it: first where a slot is free, of those where most bytes are,
    /// then the least loaded, then by name.
    pub(crate) fn take(
        &mut self,
        needs: &Needs,
        bytes: &BTreeMap<&str, u64>,
    ) -> Option<(&Machine<'a>, Vec<&'a Device>)> {
        let pool = self.pools.get(needs)?;
        let best_of = |ranks: &BTreeSet<Rank>| {
            let near = bytes.iter().filter_map(|(worker, bytes)| {
                let at = *self.by_name.get(worker)?;
                let rank = (self.machines[at].load(), at);
                ranks.contains(&rank).then_some((Reverse(*bytes), rank))
            });
            near.min()
                .map(|(_, rank)| rank)
                .or_else(|| ranks.first().copied())
        };
        let (_, at) = best_of(&pool.free).or_else(|| best_of(&pool.ahead))?;
        self.leave(at);
        if self
            .kept
            .is_some_and(|(kept, own)| kept == at && own == needs)
        {
            // What it was kept for has it.
            self.kept = None;
        }
        let devices = self.machines[at].take(needs);
        self.enter(at);
        Some((&self.machines[at], devices))
    }

    fn enter(&mut self, at: usize) {
        let machine = &self.machines[at];
        if !machine.has_room() {
            return;
        }
        let rank = (machine.load(), at);
        for (needs, pool) in &mut self.pools {
            let is_free_for = match self.kept {
                Some((kept, own)) if kept == at && own != *needs => {
                    is_plain(needs) && machine.used + 1 < machine.slots
                }
                _ => true,
            };
            if !is_free_for || !machine.fits(needs) {
                continue;
            }
            match machine.has_slot() {
                true => pool.free.insert(rank),
                false => pool.ahead.insert(rank),
            };
        }
    }

    fn leave(&mut self, at: usize) {
        let rank = (self.machines[at].load(), at);
        for pool in self.pools.values_mut() {
            pool.free.remove(&rank);
            pool.ahead.remove(&rank);
        }
    }
}
