//! The queue: a lane for everything that machines are asked for and each project, so that placing one execution never looks at the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::needs::Needs;

/// Age of a waiting execution: the index that created it, then its number. Less is older.
pub(crate) type Age = (u64, i64);

/// Every execution that waits for a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lanes {
    /// By what is needed, then project. Neither map holds an empty one.
    lanes: OrdMap<Arc<Needs>, OrdMap<Arc<str>, OrdSet<Age>>>,
    count: usize,
}

/// The executions of one project that wait for the same.
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a> {
    needs: &'a Arc<Needs>,
    project: &'a Arc<str>,
    waiting: &'a OrdSet<Age>,
}

impl<'a> Lane<'a> {
    /// What each of them needs of a machine.
    pub fn needs(&self) -> &'a Arc<Needs> {
        self.needs
    }

    /// The project.
    pub fn project(&self) -> &'a Arc<str> {
        self.project
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
}

impl Lanes {
    pub(crate) fn insert(&mut self, needs: &Arc<Needs>, project: &Arc<str>, age: Age) {
        let projects = self.lanes.entry(needs.clone()).or_default();
        let lane = projects.entry(project.clone()).or_default();
        self.count += usize::from(lane.insert(age).is_none());
    }

    pub(crate) fn remove(&mut self, needs: &Arc<Needs>, project: &Arc<str>, age: Age) {
        let Some(projects) = self.lanes.get_mut(needs) else {
            return;
        };
        let Some(lane) = projects.get_mut(project) else {
            return;
        };
        self.count -= usize::from(lane.remove(&age).is_some());
        if lane.is_empty() {
            projects.remove(project);
        }
        if projects.is_empty() {
            self.lanes.remove(needs);
        }
    }

    /// How many executions wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Every lane, by what is needed, then project.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Lane<'_>> {
        self.lanes.iter().flat_map(|(needs, projects)| {
            projects.iter().map(|(project, waiting)| Lane {
                needs,
                project,
                waiting,
            })
        })
    }

    /// Every waiting execution, oldest first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        // The heads of the lanes, by age; ties go by project, which differs.
        let mut heads = BTreeMap::new();
        for lane in self.iter() {
            let mut rest = lane.waiting.iter();
            if let Some(age) = rest.next() {
                heads.insert((*age, lane.project), rest);
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
