//! The coordinators' side: what they desire, what they accept, what they store.

use super::*;

impl World {
    pub(super) fn assign(&mut self) {
        if self.assigned < 12 {
            self.assigned += 1;
            self.desired.insert(fence(self.assigned), false);
            self.desire();
        }
    }

    pub(super) fn stop(&mut self, pick: usize) {
        if let Some(stop) = nth_mut(&mut self.desired, pick) {
            *stop = true;
            self.desire();
        }
    }

    /// The attempt is declared lost.
    pub(super) fn drop_one(&mut self, pick: usize) {
        if let Some(fence) = nth(&self.desired, pick) {
            self.desired.remove(&fence);
            self.desire();
        }
    }

    pub(super) fn desire(&mut self) {
        self.generation += 1;
        if !self.is_connected {
            return;
        }
        let attempts = self.desired.iter().map(|(fence, stop)| DesiredAttempt {
            fence: Some((*fence).into()),
            assignment: (!self.known.contains(fence)).then(Assignment::default),
            stop: *stop,
            stop_reason: EndReason::Cancelled.into(),
        });
        let desired = SynchronizeResponse {
            generation: self.generation,
            attempts: attempts.collect(),
            ..SynchronizeResponse::default()
        };
        let told_off = (1..=self.assigned).map(fence);
        let told_off = told_off.filter(|fence| self.desired.get(fence) != Some(&false));
        self.to_worker.push((desired, told_off.collect()));
    }

    pub(super) fn deliver_report(&mut self) {
        let Some(state) = self.to_coordinator.pop_front() else {
            return;
        };
        self.known = state.attempts.iter().map(fence_of).collect();
        for report in &state.attempts {
            if let Some(result) = &report.result
                && self.desired.remove(&fence_of(report)).is_some()
            {
                let before = self.accepted.insert(fence_of(report), result.state());
                assert_eq!(before, None, "I-06: one result");
            }
        }
        self.desire();
    }

    pub(super) fn deliver_desired(&mut self, pick: usize, keep: bool) {
        if self.to_worker.is_empty() || !self.is_connected {
            return;
        }
        let at = pick % self.to_worker.len();
        let (desired, told_off) = match keep {
            true => self.to_worker[at].clone(),
            false => self.to_worker.remove(at),
        };
        if desired.generation >= self.seen_generation {
            self.seen_generation = desired.generation;
            self.told_off.extend(told_off);
        }
        self.handle(Input::Desired(desired));
    }

    pub(super) fn toggle_link(&mut self) {
        self.is_connected = !self.is_connected;
        self.to_worker.clear();
        self.to_coordinator.clear();
        self.known.clear();
        if self.is_connected {
            self.handle(Input::Connected);
        } else {
            self.handle(Input::Disconnected);
        }
    }

    pub(super) fn toggle_holder(&mut self, pick: usize) {
        let id = HolderId(pick as u64 % HOLDERS + 1);
        let holder = self.holders.get_mut(&id).unwrap();
        holder.is_up = !holder.is_up;
        holder.pushes.clear();
        holder.answers.clear();
        let input = match holder.is_up {
            true => Input::HolderConnected(id),
            false => Input::HolderDisconnected(id),
        };
        self.handle(input);
    }

    /// It stores the oldest push, or refuses it, or one of its answers arrives.
    pub(super) fn holder_event(&mut self, pick: usize) {
        let id = HolderId(pick as u64 / 2 % HOLDERS + 1);
        let holder = self.holders.get_mut(&id).unwrap();
        if let Some((fence, batch)) = holder.pushes.pop_front() {
            let stored = holder.stored.entry(fence).or_default();
            // Odd ones are never refused.
            let is_refused = pick.is_multiple_of(14);
            if !is_refused && batch.first_record <= *stored {
                *stored = batch.end_record().max(*stored);
            }
            holder
                .answers
                .push_back((fence, (!is_refused).then_some(*stored)));
        }
        if pick % 2 == 1
            && let Some((fence, answer)) = self.holders.get_mut(&id).unwrap().answers.pop_front()
        {
            self.handle(match answer {
                Some(next_record) => Input::FeedStored {
                    fence,
                    holder: id,
                    next_record,
                },
                None => Input::FeedRefused { fence, holder: id },
            });
        }
    }
}
