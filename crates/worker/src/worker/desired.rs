//! Desired against actual: what is there and what should be, brought together.

use std::collections::BTreeSet;

use contract::api::EndReason;
use contract::link::{Assignment, SynchronizeResponse};
use feed::HolderId;

use crate::attempt::{Attempt, Life, Start};
use crate::condition::StopCondition;
use crate::fence::Fence;
use crate::input::{Adopted, Found};
use crate::output::Output;
use crate::printed::Printed;
use crate::report::SOON_US;
use crate::worker::{Cluster, Coordinator, Worker};

impl Worker {
    pub(super) fn adopt(&mut self, now: u64, found: Vec<Adopted>) {
        if self.is_adopted {
            return;
        }
        self.is_adopted = true;
        self.contact.begin(now);
        for Adopted {
            fence,
            assignment,
            found,
        } in found
        {
            let mut attempt = self.arrive(fence, assignment);
            if let Found::Launched {
                prepared,
                start_time_us,
                live_outputs,
            } = found
            {
                attempt.life = Life::Running;
                attempt.prepared = Some(prepared);
                attempt.live_outputs = live_outputs;
                attempt.start = Some(Start {
                    time_us: start_time_us,
                    quiet_until: now,
                });
                self.next_condition.get_or_insert(now);
            }
            self.attempts.insert(fence, attempt);
        }
        self.pace.by(now);
    }

    /// Brings what is there nearer to what should be.
    pub(super) fn desired(&mut self, now: u64, desired: SynchronizeResponse) {
        if !self.is_adopted || desired.generation < self.desired_generation {
            return;
        }
        self.desired_generation = desired.generation;
        self.contact.answered(desired.worker_generation);
        self.follow_cluster(now, &desired);
        if self.copies.desired(desired.copies, &mut self.outputs) {
            self.pace.by(now + SOON_US);
        }
        let mut wanted = BTreeSet::new();
        for one in desired.attempts {
            let reason = one.stop.then(|| one.stop_reason());
            let Some(Ok(fence)) = one.fence.as_ref().map(Fence::try_from) else {
                continue;
            };
            wanted.insert(fence);
            let is_news = match (self.attempts.get_mut(&fence), one.assignment) {
                (Some(attempt), _) => {
                    // Stopped first: what should stop is not prepared.
                    let stops = reason.is_some_and(|why| attempt.stop(why, &mut self.outputs));
                    attempt.confirm(&mut self.outputs) || stops
                }
                (None, Some(assignment)) => {
                    self.assigned(fence, assignment, reason);
                    true
                }
                // The coordinator thinks that it is known here: the next state tells it otherwise.
                (None, None) => true,
            };
            if is_news {
                self.pace.by(now + SOON_US);
            }
        }
        let over: Vec<Fence> = self
            .attempts
            .keys()
            .filter(|fence| !wanted.contains(fence))
            .copied()
            .collect();
        for fence in over {
            self.with(fence, |attempt, out| attempt.give_up(out));
            self.pace.by(now + SOON_US);
        }
    }

    /// Takes in what a coordinator says of the cluster.
    fn follow_cluster(&mut self, now: u64, desired: &SynchronizeResponse) {
        // A coordinator that does not know itself yet says nothing of the others.
        if desired.coordinators.is_empty() {
            return;
        }
        let coordinators = desired.coordinators.iter().map(|one| Coordinator {
            id: HolderId(one.member_id),
            address: one.address.clone(),
        });
        let cluster = Cluster {
            id: desired.cluster_id.clone(),
            coordinators: coordinators.collect(),
            stop_after_ms: desired.stop_after_ms,
        };
        if cluster == self.config.cluster {
            return;
        }
        let holders: Vec<HolderId> = cluster.holders().collect();
        for attempt in self.attempts.values_mut() {
            // What was told to be finished by the count of others was not taken.
            if attempt.is_finished() {
                self.pace.by(now);
            }
            attempt.set_holders(&holders);
        }
        self.config.cluster = cluster.clone();
        self.outputs.push(Output::Cluster(cluster));
    }

    /// An attempt that was not known here.
    fn assigned(&mut self, fence: Fence, assignment: Assignment, stop: Option<EndReason>) {
        let mut attempt = self.arrive(fence, assignment);
        if let Some(reason) = stop {
            attempt.stop(reason, &mut self.outputs);
        }
        attempt.confirm(&mut self.outputs);
        self.attempts.insert(fence, attempt);
    }

    fn arrive(&mut self, fence: Fence, assignment: Assignment) -> Attempt {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let condition = StopCondition::new(&assignment.stop_condition);
        let holders = self.config.cluster.holders();
        Attempt {
            fence,
            arrival,
            life: Life::Found,
            stop: None,
            over: false,
            prepared: None,
            start: None,
            live_outputs: Vec::new(),
            quota: None,
            printed: Printed::new(holders, self.config.limits, condition),
            assignment,
            push_from: 0,
        }
    }
}
