//! When a member stands for election. raft draws its timeout from the thread's random numbers; here it follows from the term, the
//! voters and a seed, so that a seed decides everything.
//!
//! Each voter has a slot of its own, another one in each term: two never stand at the same moment, so a vote is not split, and
//! the next in line follows soon when the first cannot win.

/// Ticks without a leader after which an election starts, at least; at most twice as many.
pub(super) const ELECTION_TICKS: usize = 24;

/// A voter's place among the voters, by rising id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// How many have a lower id.
    pub(super) rank: usize,
    /// How many voters there are; at least 1.
    pub(super) count: usize,
}

impl Place {
    /// The place of a member; one that does not vote has the first.
    pub(super) fn of(id: u64, mut voters: Vec<u64>) -> Self {
        voters.sort_unstable();
        voters.dedup();
        Self {
            rank: voters
                .iter()
                .position(|voter| *voter == id)
                .unwrap_or_default(),
            count: voters.len().max(1),
        }
    }

    /// Ticks without a leader after which the member stands for election in this term.
    pub(super) fn timeout(self, term: u64, seed: u64) -> usize {
        let width = (ELECTION_TICKS / self.count).max(1);
        let turn = splitmix(term) as usize % self.count;
        let slot = ((self.rank + turn) % self.count).min(ELECTION_TICKS - 1);
        // Some jitter within the slot, and a gap after it.
        let jitter = splitmix(seed ^ term.rotate_left(32)) as usize % width.div_ceil(2);
        (ELECTION_TICKS + slot * width + jitter).min(2 * ELECTION_TICKS - 1)
    }
}

/// A well-mixed function of its argument (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_voters_stand_within_the_same_moment() {
        for count in 1..=7 {
            let voters: Vec<u64> = (1..=count).map(|id| id * 3).collect();
            for term in 0..200 {
                let mut timeouts: Vec<usize> = voters
                    .iter()
                    .map(|id| Place::of(*id, voters.clone()).timeout(term, id ^ 99))
                    .collect();
                timeouts.sort_unstable();
                assert!(
                    timeouts[0] >= ELECTION_TICKS
                        && timeouts[voters.len() - 1] < 2 * ELECTION_TICKS
                );
                let gap = timeouts.windows(2).map(|pair| pair[1] - pair[0]).min();
                assert!(gap.is_none_or(|gap| gap >= 2), "{timeouts:?}");
            }
        }
    }

    #[test]
    fn whose_turn_it_is_changes_with_the_term() {
        let first = |term| {
            [1, 2, 3]
                .into_iter()
                .min_by_key(|id| Place::of(*id, vec![1, 2, 3]).timeout(term, 0))
        };
        for id in [1, 2, 3] {
            assert!((0..20).any(|term| first(term) == Some(id)));
        }
    }
}
