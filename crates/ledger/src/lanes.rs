//! The queue: a lane for everything that machines are asked for, each project and each priority, so that placing one execution never looks at the others.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::needs::Needs;

/// Age of a waiting execution: the index that created it, then its number. Less is older.
pub(crate) type Age = (u64, i64);

/// Project and priority.
type Owner = (Arc<str>, i32);

/// Every execution that waits for a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lanes {
    /// By what is needed, then project and priority. Neither map holds an empty one.
    lanes: OrdMap<Arc<Needs>, OrdMap<Owner, OrdSet<Age>>>,
    /// When each lane that ever was got a worker last, Unix milliseconds.
    served: OrdMap<(Arc<Needs>, Owner), i64>,
    count: usize,
}

/// The executions of one project and one priority that wait for the same.
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a> {
    needs: &'a Arc<Needs>,
    owner: &'a Owner,
    waiting: &'a OrdSet<Age>,
    served_ms: i64,
}

impl<'a> Lane<'a> {
    /// What each of them needs of a machine.
    pub fn needs(&self) -> &'a Arc<Needs> {
        self.needs
    }

    /// The project.
    pub fn project(&self) -> &'a Arc<str> {
        &self.owner.0
    }

    /// Which of those that wait goes first: greater is sooner.
    pub fn priority(&self) -> i32 {
        self.owner.1
    }

    /// When one of them got a worker last, Unix milliseconds; 0 means never.
    pub fn served_ms(&self) -> i64 {
        self.served_ms
    }

    /// How many wait; never 0.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits; never.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The waiting executions, oldest first: the index that created each, and its number.
    pub fn executions(&self) -> impl Iterator<Item = (u64, i64)> + use<'a> {
        self.waiting.iter().copied()
    }

    /// The one that has waited longest, or the next after one.
    pub fn next_after(&self, last: Option<(u64, i64)>) -> Option<(u64, i64)> {
        match last {
            None => self.waiting.get_min().copied(),
            Some(last) => {
                let rest = (Bound::Excluded(last), Bound::Unbounded);
                self.waiting.range(rest).next().copied()
            }
        }
    }
}

impl Lanes {
    pub(crate) fn insert(
        &mut self,
        needs: &Arc<Needs>,
        project: &Arc<str>,
        priority: i32,
        age: Age,
    ) {
        let owners = self.lanes.entry(needs.clone()).or_default();
        let lane = owners.entry((project.clone(), priority)).or_default();
        self.count += usize::from(lane.insert(age).is_none());
    }

    pub(crate) fn remove(
        &mut self,
        needs: &Arc<Needs>,
        project: &Arc<str>,
        priority: i32,
        age: Age,
    ) {
        let owner = (project.clone(), priority);
        let Some(owners) = self.lanes.get_mut(needs) else {
            return;
        };
        let Some(lane) = owners.get_mut(&owner) else {
            return;
        };
        self.count -= usize::from(lane.remove(&age).is_some());
        if lane.is_empty() {
            owners.remove(&owner);
        }
        if owners.is_empty() {
            self.lanes.remove(needs);
        }
    }

    /// One of a lane got a worker.
    pub(crate) fn serve(
        &mut self,
        needs: &Arc<Needs>,
        project: &Arc<str>,
        priority: i32,
        time_ms: i64,
    ) {
        let lane = (needs.clone(), (project.clone(), priority));
        let served = self.served.entry(lane).or_default();
        *served = time_ms.max(*served);
    }

    pub(crate) fn get(
        &self,
        needs: &Arc<Needs>,
        project: &Arc<str>,
        priority: i32,
    ) -> Option<Lane<'_>> {
        let (needs, owners) = self.lanes.get_key_value(needs)?;
        let (owner, waiting) = owners.get_key_value(&(project.clone(), priority))?;
        Some(self.lane(needs, owner, waiting))
    }

    fn lane<'a>(
        &self,
        needs: &'a Arc<Needs>,
        owner: &'a Owner,
        waiting: &'a OrdSet<Age>,
    ) -> Lane<'a> {
        let served = self.served.get(&(needs.clone(), owner.clone()));
        Lane {
            needs,
            owner,
            waiting,
            served_ms: served.copied().unwrap_or_default(),
        }
    }

    /// How many executions wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Every lane, by what is needed, then project and priority.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Lane<'_>> {
        self.lanes.iter().flat_map(move |(needs, owners)| {
            owners
                .iter()
                .map(move |(owner, waiting)| self.lane(needs, owner, waiting))
        })
    }

    /// Every waiting execution, oldest first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        // The heads of the lanes, by age; ties go by project, which differs.
        let mut heads = BTreeMap::new();
        for lane in self.iter() {
            let mut rest = lane.waiting.iter();
            if let Some(age) = rest.next() {
                heads.insert((*age, lane.project()), rest);
            }
        }
        std::iter::from_fn(move || {
            let (((_, number), project), mut rest) = heads.pop_first()?;
            if let Some(age) = rest.next() {
                heads.insert((*age, project), rest);
            }
            Some((project, number))
        })
    }
}
