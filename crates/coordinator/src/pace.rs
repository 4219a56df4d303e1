//! How fast attempts go by on each worker, to decide how many to assign ahead of a free slot.
//!
//! Between two steps a worker would wait for the coordinator: a sync and two messages. For steps of milliseconds that is
//! most of the time, so a worker whose steps are short gets some ahead. A worker whose steps are long gets none, because
//! a step that waits behind a long one could have run elsewhere.

use std::collections::BTreeMap;

/// A worker whose attempts take longer than this on average gets nothing ahead.
const SHORT_US: i64 = 250_000;
/// Work worth about so much time is assigned ahead.
const AHEAD_US: i64 = 50_000;
/// At most so many attempts are assigned ahead for each slot.
const MAX_AHEAD_PER_SLOT: u32 = 16;
/// Weight of the newest observation in the average, as a divisor.
const WEIGHT: i64 = 4;

/// Average duration of the newest attempts of each worker.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    average_us: BTreeMap<String, i64>,
}

impl Pace {
    /// Takes in how long an attempt's program ran; times are the worker's own.
    pub(crate) fn observe(&mut self, worker: &str, start_us: i64, exit_us: i64) {
        let ran_us = exit_us.saturating_sub(start_us).max(0);
        if start_us == 0 || exit_us == 0 {
            return;
        }
        match self.average_us.get_mut(worker) {
            // Growing is believed at once, shrinking slowly: a wrong guess must be a cheap one.
            Some(average) if ran_us > *average => *average = ran_us,
            Some(average) => *average += (ran_us - *average) / WEIGHT,
            None => drop(self.average_us.insert(worker.to_owned(), ran_us)),
        }
    }

    /// How many attempts for each of its slots may be assigned to the worker ahead of a free one.
    pub(crate) fn ahead_per_slot(&self, worker: &str) -> u32 {
        match self.average_us.get(worker) {
            Some(&average) if average < SHORT_US => {
                let per_slot = u32::try_from(AHEAD_US / average.max(1)).unwrap_or(u32::MAX);
                per_slot.clamp(1, MAX_AHEAD_PER_SLOT)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(runs_ms: &[i64]) -> u32 {
        let mut pace = Pace::default();
        for ran in runs_ms {
            pace.observe("w", 1, 1 + ran * 1_000);
        }
        pace.ahead_per_slot("w")
    }

    #[test]
    fn short_steps_get_work_ahead_and_long_ones_none() {
        assert_eq!(pace(&[]), 0, "nothing is known");
        assert_eq!(pace(&[1]), 16, "at most sixteen a slot");
        assert_eq!(pace(&[20]), 2);
        assert_eq!(pace(&[100]), 1);
        assert_eq!(pace(&[300]), 0);
    }

    #[test]
    fn one_long_step_ends_it_at_once_and_short_ones_bring_it_back() {
        assert_eq!(pace(&[1, 1, 1, 60_000]), 0);
        assert_eq!(pace(&[400, 1, 1, 1]), 1);
    }
}
