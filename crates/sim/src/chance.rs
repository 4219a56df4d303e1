//! All chance of a run, drawn from its seed.

use std::ops::Range;

/// A row of draws that a seed decides (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds that follow each other must not give rows that do.
        let mut chance = Self(seed.wrapping_mul(0xd134_2543_de82_ef95));
        chance.next();
        Self(chance.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// How far the row has got.
    pub(crate) fn state(&self) -> u64 {
        self.0
    }

    /// Any number of the range; its start when it is empty.
    pub(crate) fn between(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            range.start
        } else {
            let width = u128::from(range.end - range.start);
            range.start + ((u128::from(self.next()) * width) >> 64) as u64
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
