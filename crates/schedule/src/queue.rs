//! Who is due: the lanes of the ledger, by priority and how long they were passed over, then by what their project runs, then by age.
//!
//! ```text
//! level(lane) = priority + whole hours since one of it was started last, or its oldest waits
//! due: greatest level, then least weight of what the project runs, then the oldest
//! elder: least (time of creation - priority in hours), then the oldest        never changes while it waits
//! ```
//!
//! So a greater priority goes first, projects of one priority get equal shares of what there is, and nobody is passed over for ever.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ledger::{Ledger, Needs};

use crate::fleet::Class;

/// How long one waits for what counts as much as a priority greater by one, in milliseconds.
pub(crate) const LEVEL_MS: i64 = 3_600_000;

/// Index that created an execution and its number; less is older.
pub(crate) type Age = (u64, i64);
/// Number of a lane.
pub(crate) type LaneId = usize;
type ProjectId = usize;

/// A lane as it counts here.
#[derive(Debug)]
pub(crate) struct Lane {
    pub class: Class,
    pub needs: Arc<Needs>,
    pub project: Arc<str>,
    owner: ProjectId,
    pub priority: i32,
    /// The oldest that waits; none when none does.
    pub head: Option<Head>,
    served_ms: i64,
    pub level: i64,
}

/// The oldest of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub age: Age,
    pub create_time_ms: i64,
    pub time_limit_ms: u64,
}

/// By how a promise goes to the one that has the oldest claim.
pub(crate) type Seniority = (i64, Age, Arc<str>, LaneId);

/// A project with what it runs.
#[derive(Debug)]
struct Project {
    weight: u64,
    /// Its lanes in which something waits.
    levels: BTreeMap<i64, Vec<LaneId>>,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lanes: Vec<Lane>,
    by_key: BTreeMap<(Class, ProjectId, i32), LaneId>,
    projects: Vec<Project>,
    by_name: BTreeMap<Arc<str>, ProjectId>,
    order: BTreeSet<(Reverse<i64>, u64, ProjectId)>,
    /// When the level of a lane changes by itself.
    timers: BTreeSet<(i64, LaneId)>,
    /// By kind of needs: its lanes in which something waits.
    elders: Vec<BTreeSet<Seniority>>,
    now_ms: i64,
}

impl Queue {
    pub(crate) fn lane(&self, lane: LaneId) -> &Lane {
        &self.lanes[lane]
    }

    /// The lane of a project and a priority for a kind of needs. It comes to be if it does not exist.
    pub(crate) fn lane_of(
        &mut self,
        class: Class,
        needs: &Arc<Needs>,
        project: &Arc<str>,
        priority: i32,
    ) -> LaneId {
        let owner = self.project(project);
        if let Some(known) = self.by_key.get(&(class, owner, priority)) {
            return *known;
        }
        let id = self.lanes.len();
        self.lanes.push(Lane {
            class,
            needs: needs.clone(),
            project: project.clone(),
            owner,
            priority,
            head: None,
            served_ms: 0,
            level: i64::from(priority),
        });
        self.by_key.insert((class, owner, priority), id);
        if self.elders.len() <= class {
            self.elders.resize_with(class + 1, BTreeSet::new);
        }
        id
    }

    fn project(&mut self, name: &Arc<str>) -> ProjectId {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let id = self.projects.len();
        self.projects.push(Project {
            weight: 0,
            levels: BTreeMap::new(),
        });
        self.by_name.insert(name.clone(), id);
        id
    }

    /// Takes in what the ledger says of a lane.
    pub(crate) fn renew_lane(&mut self, ledger: &Ledger, lane: LaneId) {
        let Lane {
            needs,
            project,
            priority,
            ..
        } = &self.lanes[lane];
        let known = ledger.lane(needs, project, *priority);
        let served_ms = known.map_or(0, |lane| lane.served_ms());
        let age = known.and_then(|lane| lane.next_after(None));
        let head = age.and_then(|age| head(ledger, project, age));
        self.set(lane, head, served_ms);
    }

    /// Takes in what the ledger says of a project.
    pub(crate) fn renew_project(&mut self, ledger: &Ledger, name: &Arc<str>) {
        let id = self.project(name);
        let project = ledger.project(name);
        let weight = project.map_or(0, |project| project.live_weight());
        self.weigh(id, weight);
    }

    /// The oldest of a lane got a worker.
    pub(crate) fn serve(&mut self, ledger: &Ledger, lane: LaneId) {
        let Lane {
            needs,
            project,
            priority,
            head: served,
            owner,
            ..
        } = &self.lanes[lane];
        let served = served.map(|head| head.age);
        let rest = ledger.lane(needs, project, *priority);
        let next = rest.and_then(|rest| rest.next_after(served));
        let next = next.and_then(|age| head(ledger, project, age));
        let owner = *owner;
        let weight = self.projects[owner].weight.saturating_add(needs.weight());
        self.set(lane, next, self.now_ms);
        self.weigh(owner, weight);
    }

    /// Takes in what time it is.
    pub(crate) fn age(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        while let Some((due_ms, lane)) = self.timers.first().copied()
            && due_ms <= now_ms
        {
            let Lane {
                head, served_ms, ..
            } = &self.lanes[lane];
            self.set(lane, *head, *served_ms);
        }
    }

    /// How many lanes of a kind have something that waits.
    pub(crate) fn waiting(&self, class: Class) -> usize {
        self.elders.get(class).map_or(0, BTreeSet::len)
    }

    /// Who has the oldest claim of a kind.
    pub(crate) fn elder(&self, class: Class) -> Option<&Seniority> {
        self.elders.get(class)?.first()
    }

    /// The lane that is due first of those that may.
    pub(crate) fn due(&self, mut may: impl FnMut(&Lane) -> bool) -> Option<LaneId> {
        let mut best: Option<(Age, &str, LaneId)> = None;
        let mut group = None;
        for (level, weight, project) in &self.order {
            if best.is_some() && group != Some((level, weight)) {
                break;
            }
            group = Some((level, weight));
            let lanes = self.projects[*project].levels.get(&level.0);
            for id in lanes.into_iter().flatten() {
                let lane = &self.lanes[*id];
                let Some(head) = lane.head.filter(|_| may(lane)) else {
                    continue;
                };
                let key = (head.age, &*lane.project, *id);
                if best.is_none_or(|best| key < best) {
                    best = Some(key);
                }
            }
        }
        best.map(|(_, _, lane)| lane)
    }

    /// How urgent a lane is.
    pub(crate) fn level(&self, needs: &Needs, project: &str, priority: i32) -> i64 {
        let mut lanes = self.lanes.iter();
        let lane = lanes.find(|lane| {
            lane.priority == priority && *lane.project == *project && *lane.needs == *needs
        });
        lane.map_or(i64::from(priority), |lane| lane.level)
    }

    /// How many projects have something of at least this level, and how many of those run less.
    pub(crate) fn standing(&self, level: i64, weight: u64) -> (usize, usize) {
        let mut all = BTreeSet::new();
        let mut before = BTreeSet::new();
        for (other, runs, project) in &self.order {
            if other.0 < level {
                break;
            }
            all.insert(*project);
            if other.0 > level || *runs < weight {
                before.insert(*project);
            }
        }
        (all.len(), before.len())
    }

    /// What a lane's claim counts for when a start is promised.
    pub(crate) fn seniority(lane: &Lane, id: LaneId, head: Head) -> Seniority {
        let credit_ms = i64::from(lane.priority) * LEVEL_MS;
        let since = head.create_time_ms.saturating_sub(credit_ms);
        (since, head.age, lane.project.clone(), id)
    }

    fn set(&mut self, id: LaneId, head: Option<Head>, served_ms: i64) {
        let now_ms = self.now_ms;
        let lane = &self.lanes[id];
        let since = head.map(|head| head.create_time_ms.max(served_ms));
        let levels = since.map_or(0, |since| now_ms.saturating_sub(since).max(0) / LEVEL_MS);
        let level = i64::from(lane.priority) + levels;
        let (class, owner) = (lane.class, lane.owner);
        let was = lane.head.map(|head| Self::seniority(lane, id, head));
        let is = head.map(|head| Self::seniority(lane, id, head));
        if was != is {
            was.map(|was| self.elders[class].remove(&was));
            is.map(|is| self.elders[class].insert(is));
        }
        let timer = |lane: &Lane| {
            let since = lane.head?.create_time_ms.max(lane.served_ms);
            let levels = lane.level - i64::from(lane.priority) + 1;
            Some((since.saturating_add(levels.saturating_mul(LEVEL_MS)), id))
        };
        if let Some(old) = timer(&self.lanes[id]) {
            self.timers.remove(&old);
        }
        let (waited, before) = (self.lanes[id].head.is_some(), self.lanes[id].level);
        if (waited, before) != (head.is_some(), level) {
            if waited {
                self.leave(owner, before, id);
            }
            if head.is_some() {
                self.enter(owner, level, id);
            }
        }
        let lane = &mut self.lanes[id];
        lane.head = head;
        lane.served_ms = served_ms;
        lane.level = level;
        self.timers.extend(timer(&self.lanes[id]));
    }

    fn enter(&mut self, owner: ProjectId, level: i64, lane: LaneId) {
        let project = &mut self.projects[owner];
        project.levels.entry(level).or_default().push(lane);
        self.order.insert((Reverse(level), project.weight, owner));
    }

    fn leave(&mut self, owner: ProjectId, level: i64, lane: LaneId) {
        let project = &mut self.projects[owner];
        let Some(lanes) = project.levels.get_mut(&level) else {
            return;
        };
        lanes.retain(|other| *other != lane);
        if lanes.is_empty() {
            project.levels.remove(&level);
            self.order.remove(&(Reverse(level), project.weight, owner));
        }
    }

    fn weigh(&mut self, id: ProjectId, weight: u64) {
        let project = &mut self.projects[id];
        let before = std::mem::replace(&mut project.weight, weight);
        if before == weight {
            return;
        }
        for level in project.levels.keys() {
            self.order.remove(&(Reverse(*level), before, id));
            self.order.insert((Reverse(*level), weight, id));
        }
    }
}

fn head(ledger: &Ledger, project: &str, age: Age) -> Option<Head> {
    let execution = ledger.execution(project, age.1)?;
    Some(Head {
        age,
        create_time_ms: execution.create_time_ms,
        time_limit_ms: execution.template().time_limit_ms,
    })
}
