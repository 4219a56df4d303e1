//! One source of a blob: what it has and how it has behaved.

use super::types::Holds;

/// Somebody who has the blob or a part of it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) holds: Holds,
    /// It can be reached, as far as is known.
    pub(super) reachable: bool,
    /// It was slow, and is left alone until then.
    pub(super) rests_until_ms: u64,
    /// It gave wrong bytes, and is shut out until then. Losing and finding it does not clear its name.
    pub(super) shut_out_until_ms: Option<u64>,
    /// Questions it has not answered.
    pub(super) in_flight: u32,
    /// Answers that timed out since the last good one.
    pub(super) timeouts: u32,
}

impl Source {
    /// A new source of which nothing bad is known.
    pub(super) fn new(holds: Holds) -> Source {
        Source {
            holds,
            reachable: true,
            rests_until_ms: 0,
            shut_out_until_ms: None,
            in_flight: 0,
            timeouts: 0,
        }
    }

    /// It can be reached and is not shut out: sooner or later it may be asked.
    pub(super) fn is_hopeful(&self, now_ms: u64) -> bool {
        self.reachable
            && self
                .shut_out_until_ms
                .is_none_or(|until_ms| until_ms <= now_ms)
    }

    /// It may be sent a question now, as far as its conduct goes.
    pub(super) fn may_be_asked(&self, now_ms: u64) -> bool {
        self.is_hopeful(now_ms) && self.rests_until_ms <= now_ms
    }

    /// When it may be asked again, if that is still to come.
    pub(super) fn returns_at_ms(&self, now_ms: u64) -> Option<u64> {
        let at_ms = self.rests_until_ms.max(self.shut_out_until_ms.unwrap_or(0));
        (self.reachable && at_ms > now_ms).then_some(at_ms)
    }

    /// It has chunk `index`.
    pub(super) fn has(&self, index: u64) -> bool {
        match &self.holds {
            Holds::All => true,
            Holds::Some(chunks) => chunks.contains(index),
        }
    }
}
