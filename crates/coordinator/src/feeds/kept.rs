//! A feed that is being written, or is not whole yet.

use std::collections::BTreeSet;

use feed::{Holder, Seal};

/// The first wait after a fetch that gave nothing; it doubles.
const RETRY_US: u64 = 250_000;
/// How often it doubles.
const RETRY_DOUBLINGS: u32 = 6;

/// How a feed ended, if it did.
#[derive(Clone, PartialEq)]
pub(super) enum Goal {
    /// It has not.
    Open,
    /// The ledger has its seal.
    Sealed(Seal),
    /// Without a seal, of an attempt that was assigned at this time. These coordinators have no more of it than is here.
    Lost {
        assign_time_ms: i64,
        heard: BTreeSet<u64>,
    },
}

/// A feed that is being written, or is not whole yet.
pub(super) struct Kept {
    pub(super) holder: Holder,
    pub(super) goal: Goal,
    /// When to ask another coordinator.
    pub(super) due_us: Option<u64>,
    /// Whose turn it is to be asked.
    pub(super) turn: usize,
    /// Fetches in a row that gave nothing.
    pub(super) failures: u32,
    pub(super) is_fetched: bool,
    pub(super) is_checked: bool,
    /// Records from this one on are not what they should be: replaced as soon as another coordinator sends them.
    pub(super) doubt: Option<u64>,
    pub(super) last_push_us: u64,
}

impl Kept {
    pub(super) fn is_in_flight(&self) -> bool {
        self.holder.accepted() != self.holder.stored()
    }
}

/// The wait after so many fetches in a row that gave nothing.
pub(super) fn retry_us(failures: u32) -> u64 {
    RETRY_US << failures.min(RETRY_DOUBLINGS)
}
