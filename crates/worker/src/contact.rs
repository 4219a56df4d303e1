//! Since when no coordinator may have heard this worker.
//!
//! A coordinator counts from the last state that it got. The worker counts from when it *told* the last state that was answered, which is never later: by
//! its own count it stops its programs first, whatever was lost on the way (I-14 leaves a fifth for clocks that run apart).

use std::collections::VecDeque;

/// How many states may wait for an answer; of more, the oldest stand for those that follow them.
const MAX_TOLD: usize = 64;

/// See the module's words. Times are of the worker's own clock.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    /// States that were told and not answered, with when; rising.
    told: VecDeque<(u64, u64)>,
    last_us: u64,
}

impl Contact {
    /// The daemon begins: what its predecessor heard is not known.
    pub(crate) fn begin(&mut self, now: u64) {
        self.last_us = now;
    }

    /// A state was told.
    pub(crate) fn told(&mut self, generation: u64, now: u64) {
        if self.told.len() < MAX_TOLD {
            self.told.push_back((generation, now));
        }
    }

    /// A coordinator answered a state of this generation.
    pub(crate) fn answered(&mut self, generation: u64) {
        while let Some((told, time)) = self.told.front().copied()
            && told <= generation
        {
            self.told.pop_front();
            self.last_us = self.last_us.max(time);
        }
    }

    /// When the last state was told that was answered.
    pub(crate) fn last_us(&self) -> u64 {
        self.last_us
    }
}

#[cfg(test)]
mod tests {
    use super::Contact;

    #[test]
    fn an_answer_counts_from_when_its_state_was_told() {
        let mut contact = Contact::default();
        contact.begin(10);
        (1..100).for_each(|generation| contact.told(generation, 100 * generation));
        assert_eq!(contact.last_us(), 10);
        contact.answered(3);
        assert_eq!(contact.last_us(), 300);
        contact.answered(2);
        assert_eq!(contact.last_us(), 300);
        contact.answered(99);
        assert_eq!(
            contact.last_us(),
            6_400,
            "what was not kept counts for nothing"
        );
    }
}
