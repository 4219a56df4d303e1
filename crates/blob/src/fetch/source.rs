//! One source of a blob: what it has and how it has behaved.

use super::types::Holds;

/// How a source has behaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    SlowUntil(u64),
    OffenderUntil(u64),
    Gone,
}

/// Somebody who has the blob or a part of it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) holds: Holds,
    pub(super) health: Health,
    pub(super) in_flight: u32,
    pub(super) timeouts: u32,
}

impl Source {
    /// A new source of which nothing bad is known.
    pub(super) fn new(holds: Holds) -> Source {
        Source {
            holds,
            health: Health::Good,
            in_flight: 0,
            timeouts: 0,
        }
    }

    /// It may be sent a question now, as far as its conduct goes.
    pub(super) fn may_be_asked(&self, now_ms: u64) -> bool {
        match self.health {
            Health::Good => true,
            Health::SlowUntil(until_ms) | Health::OffenderUntil(until_ms) => until_ms <= now_ms,
            Health::Gone => false,
        }
    }

    /// It has chunk `index`.
    pub(super) fn has(&self, index: u64) -> bool {
        match &self.holds {
            Holds::All => true,
            Holds::Some(chunks) => chunks.contains(index),
        }
    }
}
