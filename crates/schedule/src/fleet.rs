//! The workers, so ordered that the best for each kind of needs is found without looking at the others, and that a change of one costs the same
//! however many there are.
//!
//! Each kind of needs has its own order of the workers. A worker that changes is only noted; an order takes in what changed when it is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::Needs;

use crate::machine::{Machine, NEVER};
use crate::tree::Tree;

/// Number of a kind of needs.
pub(crate) type Class = usize;

/// No place for it there.
const NO_RANK: u64 = u64::MAX;
/// Bits of a rank that are the position of the worker.
const POSITION_BITS: u32 = 25;
/// How many workers are looked at for a promise.
const LOOKED_AT: usize = 8;
/// What an execution may take beside its time limit before its program starts, in milliseconds: its image, its inputs.
const PREPARATION_MS: i64 = 600_000;

/// The workers by name, and their orders.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    machines: Vec<Machine>,
    by_name: BTreeMap<Arc<str>, usize>,
    /// Positions of those that changed, in that order; those before `forgotten` are not here any more.
    changed: Vec<usize>,
    forgotten: usize,
    /// Rises when what a worker is changes, beside what it has.
    shapes: u64,
    classes: Vec<Orders>,
    /// Those that are kept for one that needs more than is free.
    kept: Vec<Kept>,
}

/// The orders for one kind of needs.
#[derive(Debug)]
struct Orders {
    needs: Arc<Needs>,
    /// Those with room, the best first.
    room: Order<u64>,
    /// Those that could have room, by position, with when that was so.
    able: Option<(u64, Vec<usize>)>,
}

/// One order.
#[derive(Debug)]
struct Order<K> {
    /// None before it is looked at.
    tree: Option<Tree<K>>,
    /// How many changes it has taken in.
    seen: usize,
}

/// A worker that is kept.
#[derive(Debug)]
struct Kept {
    at: usize,
    environment: Arc<str>,
    needs: Arc<Needs>,
    /// When it starts at the latest; [`NEVER`] when that is not known.
    start_ms: i64,
    /// What may start there and stay, as far as it was asked for.
    lends: BTreeMap<Class, bool>,
}

/// Where one with some needs can start soonest.
pub(crate) struct Prospect {
    pub at: usize,
    /// When; [`NEVER`] when that is not known.
    pub start_ms: i64,
    /// Whether room has to be saved up for it: more than one attempt has to end, or a part of what is missing is free, so that what is smaller could pass
    /// it bit by bit. Who waits for one attempt alone is due like anything else once it has ended.
    pub saves_up: bool,
}

/// A place for an execution.
pub(crate) struct Place {
    pub at: usize,
    /// Devices of the worker, as positions in its offer.
    pub devices: Vec<usize>,
}

impl Fleet {
    /// Takes these instead, in the order of their names; what is kept is forgotten.
    pub(crate) fn replace(&mut self, machines: Vec<Machine>) {
        self.by_name = machines
            .iter()
            .enumerate()
            .map(|(at, machine)| (machine.name.clone(), at))
            .collect();
        self.machines = machines;
        self.changed.clear();
        self.forgotten = 0;
        self.shapes += 1;
        self.kept.clear();
        for orders in &mut self.classes {
            orders.room = Order::new();
            orders.able = None;
        }
    }

    pub(crate) fn machines(&self) -> &[Machine] {
        &self.machines
    }

    pub(crate) fn take_machines(&mut self) -> Vec<Machine> {
        std::mem::take(&mut self.machines)
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn machine(&self, at: usize) -> &Machine {
        &self.machines[at]
    }

    /// The number of a kind of needs that was not seen before.
    pub(crate) fn add_class(&mut self, needs: &Arc<Needs>) -> Class {
        self.classes.push(Orders {
            needs: needs.clone(),
            room: Order::new(),
            able: None,
        });
        self.classes.len() - 1
    }

    pub(crate) fn needs(&self, class: Class) -> &Arc<Needs> {
        &self.classes[class].needs
    }

    /// Gives up the orders of a kind that nothing waits for.
    pub(crate) fn forget_orders(&mut self, class: Class) {
        let orders = &mut self.classes[class];
        orders.room = Order::new();
        orders.able = None;
    }

    /// Changes a worker.
    pub(crate) fn change(&mut self, at: usize, change: impl FnOnce(&mut Machine)) {
        let machine = &mut self.machines[at];
        let (took, offer) = (machine.takes_work(), machine.offer.clone());
        change(machine);
        if machine.takes_work() != took || !Arc::ptr_eq(&machine.offer, &offer) {
            self.shapes += 1;
        }
        self.note(at);
    }

    fn note(&mut self, at: usize) {
        for kept in self.kept.iter_mut().filter(|kept| kept.at == at) {
            kept.lends.clear();
        }
        // Who has not looked for so long orders all of them again.
        if self.changed.len() > 2 * self.machines.len() + 64 {
            self.forgotten += self.changed.len();
            self.changed.clear();
        }
        self.changed.push(at);
    }

    /// Keeps a worker for one that starts at a time at the latest.
    pub(crate) fn keep(&mut self, at: usize, environment: &Arc<str>, class: Class, start_ms: i64) {
        self.kept.push(Kept {
            at,
            environment: environment.clone(),
            needs: self.needs(class).clone(),
            start_ms,
            lends: BTreeMap::new(),
        });
        self.note(at);
    }

    /// Keeps it no more.
    pub(crate) fn unkeep(&mut self, environment: &str) {
        let Some(known) = self
            .kept
            .iter()
            .position(|kept| *kept.environment == *environment)
        else {
            return;
        };
        let at = self.kept.remove(known).at;
        self.note(at);
    }

    /// Whether one with these needs can start somewhere now. `end_ms` is when it has reached its time limit.
    pub(crate) fn has_room(&mut self, class: Class, end_ms: i64) -> bool {
        self.best(class).is_some()
            || (0..self.kept.len()).any(|kept| self.may_borrow(kept, class, end_ms))
    }

    /// Takes a place on the best worker, and the devices that go with it: first where a slot is free, of those where most bytes are,
    /// then the least loaded, then by name.
    pub(crate) fn take(
        &mut self,
        class: Class,
        end_ms: i64,
        bytes: &BTreeMap<&str, u64>,
    ) -> Option<Place> {
        let mut choices: Vec<u64> = self.best(class).into_iter().collect();
        let room = self.classes[class].room.tree.as_ref();
        choices.extend(bytes.keys().filter_map(|worker| {
            let at = *self.by_name.get(*worker)?;
            room?.get(at)
        }));
        for kept in 0..self.kept.len() {
            if self.may_borrow(kept, class, end_ms) {
                let at = self.kept[kept].at;
                choices.push(rank(&self.machines[at], at));
            }
        }
        let best = choices.into_iter().min_by_key(|rank| {
            let name = &*self.machines[position(*rank)].name;
            let near = bytes.get(name).copied().unwrap_or_default();
            (self.slot_of(*rank), std::cmp::Reverse(near), *rank)
        })?;
        Some(self.take_at(position(best), class, end_ms))
    }

    /// Takes a place on one worker.
    pub(crate) fn take_at(&mut self, at: usize, class: Class, end_ms: i64) -> Place {
        let needs = self.needs(class).clone();
        let devices = self.machines[at].take(&needs, end_ms);
        self.note(at);
        Place { at, devices }
    }

    /// Whether the slot of a rank has to become free first.
    fn slot_of(&self, rank: u64) -> bool {
        !self.machines[position(rank)].has_slot()
    }

    /// The best worker for a kind of needs that is not kept: its rank.
    fn best(&mut self, class: Class) -> Option<u64> {
        let Self {
            machines,
            changed,
            forgotten,
            classes,
            kept,
            ..
        } = self;
        let Orders { needs, room, .. } = &mut classes[class];
        let rank = |at: usize| {
            let machine = &machines[at];
            let is_kept = kept.iter().any(|kept| kept.at == at);
            match !is_kept && machine.takes_work() && machine.fits(needs) {
                true => rank(machine, at),
                false => NO_RANK,
            }
        };
        room.look(machines.len(), changed, *forgotten, rank, NO_RANK)
    }

    /// Of some workers that could have room and are not kept, the one that has it soonest, with when that is: [`NEVER`] when that is not known. Which
    /// are looked at, where there are many, follows from `seed`.
    pub(crate) fn soonest(&mut self, class: Class, seed: u64) -> Option<Prospect> {
        let Self {
            machines,
            classes,
            kept,
            shapes,
            ..
        } = self;
        let Orders { needs, able, .. } = &mut classes[class];
        if able.as_ref().is_none_or(|(known, _)| known != shapes) {
            let could = machines.iter().enumerate();
            let could =
                could.filter(|(_, machine)| machine.takes_work() && machine.could_fit(needs));
            *able = Some((*shapes, could.map(|(at, _)| at).collect()));
        }
        let (_, able) = able.as_ref()?;
        let first = (seed % (able.len() as u64).max(1)) as usize;
        let from_there = able[first..].iter().chain(&able[..first]).copied();
        let some = from_there
            .filter(|at| kept.iter().all(|kept| kept.at != *at))
            .take(LOOKED_AT);
        let prospects = some.map(|at| {
            let machine = &machines[at];
            let (in_the_way, end) = match machine.in_the_way(needs) {
                Some((in_the_way, end)) => (in_the_way.len(), end),
                None => (machine.runs.len() + 1, NEVER),
            };
            // The soonest, then where least has to end, then by name.
            (end, in_the_way, at)
        });
        let (end, in_the_way, at) = prospects.min()?;
        let saves_up = in_the_way > 1 || machines[at].has_part_of(needs);
        Some(Prospect {
            at,
            start_ms: end,
            saves_up,
        })
    }

    /// Whether one may start on a kept worker: it has ended by the time at which the worker is needed, or is not in the way.
    fn may_borrow(&mut self, kept: usize, class: Class, end_ms: i64) -> bool {
        let kept = &mut self.kept[kept];
        let machine = &self.machines[kept.at];
        if !machine.takes_work() || !machine.has_room() {
            return false;
        }
        let needs = &self.classes[class].needs;
        let ends_before =
            kept.start_ms != NEVER && end_ms.saturating_add(PREPARATION_MS) <= kept.start_ms;
        match ends_before {
            true => machine.fits(needs),
            false => *kept
                .lends
                .entry(class)
                .or_insert_with(|| machine.fits(needs) && machine.fits_both(&kept.needs, needs)),
        }
    }
}

impl<K: Copy + Ord> Order<K> {
    fn new() -> Self {
        Self {
            tree: None,
            seen: 0,
        }
    }

    /// The least key, after everything that changed was taken in.
    fn look(
        &mut self,
        count: usize,
        changed: &[usize],
        forgotten: usize,
        key: impl Fn(usize) -> K,
        none: K,
    ) -> Option<K> {
        match (&mut self.tree, self.seen.checked_sub(forgotten)) {
            (Some(tree), Some(seen)) => {
                for at in &changed[seen..] {
                    tree.set(*at, key(*at));
                }
            }
            _ => self.tree = Some(Tree::new((0..count).map(key).collect(), none)),
        }
        self.seen = forgotten + changed.len();
        self.tree.as_ref()?.min()
    }
}

/// Orders workers: a free slot first, then the least loaded, then by name.
fn rank(machine: &Machine, at: usize) -> u64 {
    let load = machine.load().min((1 << 30) - 1);
    let ahead = u64::from(!machine.has_slot());
    (ahead << 62) | (load << POSITION_BITS) | at as u64
}

fn position(rank: u64) -> usize {
    (rank & ((1 << POSITION_BITS) - 1)) as usize
}
