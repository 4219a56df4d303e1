//! All chance of a run, drawn from its seed.

use std::ops::Range;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A row of draws that a seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Any number of the range; its start when it is empty.
    pub(crate) fn between(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            range.start
        } else {
            self.0.random_range(range)
        }
    }

    /// True so many times in a thousand.
    pub(crate) fn permille(&mut self, permille: u64) -> bool {
        self.between(0..1_000) < permille
    }

    /// Mostly near the start of the range, seldom near its end: how delays are.
    pub(crate) fn delay(&mut self, range: Range<u64>) -> u64 {
        let width = range.end.saturating_sub(range.start);
        let narrowed = width >> self.between(0..8);
        self.between(range.start..range.start + narrowed.max(1))
    }

    /// One of them. None of none.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.between(0..from.len() as u64) as usize)
    }
}
