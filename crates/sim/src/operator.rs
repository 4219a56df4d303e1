//! Whoever runs the cluster: replaces coordinators whose disk was lost, adds and removes others, hands leadership over.

use coordinator::{Answer, Request};

use crate::Bug;
use crate::clients::OpId;
use crate::coordinator::{Standing, name};
use crate::event::{CoordinatorId, Event, OnCoordinator, Recovery};
use crate::swarm::SECOND;
use crate::world::World;

/// Fewer coordinators than that are not left on purpose.
const FEWEST: usize = 3;
/// More than that are not made.
const MOST: usize = 6;
/// How often is looked whether a request was answered.
const LOOK_US: u64 = SECOND / 5;

/// What the operator waits for.
#[derive(Debug)]
pub(crate) struct Task {
    op: OpId,
    then: Then,
}

/// What is to be done when it has come.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// The member is gone; its machine is admitted again.
    Readmit(CoordinatorId),
    /// The machine is a member under the id that it was given.
    Join(CoordinatorId),
    /// The member is gone for good.
    Retire(CoordinatorId),
}

impl World {
    /// A coordinator loses its disk, or gets an old copy of it back. Never more than can be lost: only while all others have theirs, and no member lacks
    /// records of a feed that has ended: what an earlier loss took is made good by then.
    pub(crate) fn lose_disk(&mut self, id: CoordinatorId) {
        if !self.may_lose(id) {
            // Somebody makes a copy instead, to put it back another time.
            if let Some(host) = self.coordinators.get_mut(id) {
                host.copy_disk();
            }
            return;
        }
        let has_copy = self
            .coordinators
            .get(id)
            .is_some_and(|host| host.has_copy());
        if !has_copy && self.stage.chance.permille(400) {
            if let Some(host) = self.coordinators.get_mut(id) {
                host.copy_disk();
            }
            return;
        }
        let is_put_back = has_copy && self.stage.chance.permille(700);
        self.take_disk(id, is_put_back);
    }

    /// Whether a coordinator's disk may be lost, or damaged: so few must not lose any, and one at a time.
    pub(crate) fn may_lose(&self, id: CoordinatorId) -> bool {
        let host = self.coordinators.get(id);
        host.is_some_and(|host| host.standing() == Standing::Member)
            && self.coordinators.members().count() >= FEWEST
            && self.tasks.is_empty()
            && self.coordinators.is_settled()
    }

    /// A coordinator's disk is gone, or is what it once was; the operator replaces the coordinator.
    pub(crate) fn take_disk(&mut self, id: CoordinatorId, is_put_back: bool) {
        self.crash_coordinator(id);
        let Some(host) = self.coordinators.get_mut(id) else {
            return;
        };
        let member_id = host.member_id();
        host.lose_disk(&mut self.stage, is_put_back);
        if host.standing() == Standing::Member {
            return self.stage.after(SECOND, Event::StartCoordinator(id));
        }
        let op = self.clients.remove_member(&mut self.stage, member_id);
        self.wait_for(op, Then::Readmit(id));
    }

    /// A coordinator is added or removed, or leadership is handed over.
    pub(crate) fn change_members(&mut self, id: CoordinatorId) {
        let count = self.coordinators.members().count();
        match self.stage.chance.between(0..4) {
            3 => {
                let stop = Event::ToCoordinator(id, OnCoordinator::StepDown);
                self.stage.after(0, stop);
                self.stage.after(2 * SECOND, Event::CrashCoordinator(id));
            }
            0 => {
                let member_id = match self.stage.chance.permille(500) {
                    true => 0,
                    false => self.coordinators.get(id).map_or(0, |host| host.member_id()),
                };
                self.stage.sometimes("leadership was to be handed over");
                let _ = self
                    .clients
                    .ask(&mut self.stage, |_| Request::TransferLeadership {
                        member_id,
                    });
            }
            _ if !self.tasks.is_empty() || !self.coordinators.is_settled() => {}
            1 if self.coordinators.len() < MOST => {
                let id = self.coordinators.add(&mut self.stage);
                let op = self.clients.add_member(&mut self.stage, name(id));
                self.wait_for(op, Then::Join(id));
            }
            _ if count > FEWEST => {
                let member_id = self.coordinators.get(id).map_or(0, |host| host.member_id());
                if self.stage.members.contains_key(&member_id) {
                    let op = self.clients.remove_member(&mut self.stage, member_id);
                    self.wait_for(op, Then::Retire(id));
                }
            }
            _ => {}
        }
    }

    /// A cluster is founded by one coordinator; the others of the beginning are added one after the other.
    pub(crate) fn grow(&mut self) {
        let id = self.grown;
        if id < self.stage.swarm.coordinators {
            self.grown += 1;
            let op = self.clients.add_member(&mut self.stage, name(id));
            self.wait_for(op, Then::Join(id));
        }
    }

    fn wait_for(&mut self, op: OpId, then: Then) {
        self.tasks.push(Task { op, then });
        self.stage.after(LOOK_US, Event::Recover(Recovery::Operate));
    }

    /// Looks what was answered.
    pub(crate) fn operate(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let task = self.tasks.remove(0);
        let Some(answer) = self.clients.ops.answer(task.op).cloned() else {
            return self.wait_for(task.op, task.then);
        };
        match (task.then, answer) {
            (Then::Readmit(id), Ok(_)) => {
                self.forget_member(id);
                let op = self.clients.add_member(&mut self.stage, name(id));
                self.wait_for(op, Then::Join(id));
            }
            (Then::Join(id), Ok(Answer::Member { member_id })) => {
                self.stage.sometimes("a coordinator joined");
                self.stage.members.insert(member_id, id);
                self.stage.places.insert(member_id, id);
                if let Some(host) = self.coordinators.get_mut(id) {
                    host.join(&mut self.stage, member_id);
                }
                self.grow();
            }
            (Then::Retire(id), Ok(_)) => {
                self.stage.sometimes("a coordinator was removed");
                self.forget_member(id);
                // It may not know yet, and goes on for a while.
                let delay = self.stage.chance.delay(1_000..20 * SECOND);
                self.stage
                    .after(delay, Event::Recover(Recovery::Retire(id)));
            }
            // It was refused for now: there was no majority, say. It is asked again as something new.
            (then, _) => {
                let member = |world: &Self, id| {
                    world
                        .coordinators
                        .get(id)
                        .map_or(0, |host| host.member_id())
                };
                let op = match then {
                    Then::Readmit(id) => {
                        let member_id = member(self, id);
                        self.clients.remove_member(&mut self.stage, member_id)
                    }
                    Then::Join(id) => self.clients.add_member(&mut self.stage, name(id)),
                    // Nobody insists on that.
                    Then::Retire(_) => return,
                };
                self.wait_for(op, then);
            }
        }
    }

    fn forget_member(&mut self, id: CoordinatorId) {
        let member_id = self.coordinators.get(id).map(|host| host.member_id());
        self.stage
            .members
            .retain(|member, _| Some(*member) != member_id);
    }

    /// A coordinator that was removed ends.
    pub(crate) fn retire(&mut self, id: CoordinatorId) {
        let is_member = self.stage.members.values().any(|member| *member == id);
        if is_member && !self.stage.has(Bug::RejoinWithOldId) {
            return;
        }
        if let Some(host) = self.coordinators.get_mut(id) {
            host.retire(&mut self.stage);
        }
        self.wires.network.cut_coordinator(&mut self.stage, id);
        self.clients.cut(id);
    }
}
