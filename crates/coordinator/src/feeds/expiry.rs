//! Up to when feeds are gone: here, and as the other coordinators have said.
//!
//! Feeds go oldest first, so one time for each coordinator says what it has no more. What a majority has removed, nobody waits for.

use std::collections::BTreeMap;

/// What a keeper knows about feeds whose time is over.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// Feeds that ended by then are to be removed here as soon as nothing of them is being written.
    expired_ms: Option<i64>,
    /// What ended by then was to be removed: it is not taken up again before it is gone.
    purged_ms: Option<i64>,
    /// Some of what is not whole may not have to be fetched any more.
    is_due: bool,
    /// The others' times.
    absent: BTreeMap<u64, i64>,
    peer_count: usize,
    given_up_ms: i64,
}

impl Expiry {
    /// The coordinators are these and this one.
    pub(super) fn set_peers(&mut self, peers: &[u64]) {
        self.absent.retain(|member, _| peers.contains(member));
        self.peer_count = peers.len();
    }

    /// The time of those that ended by then is over.
    pub(super) fn expire(&mut self, until_ms: i64) {
        self.expired_ms = self.expired_ms.max(Some(until_ms));
        self.is_due = true;
    }

    pub(super) fn expired_ms(&self) -> Option<i64> {
        self.expired_ms
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// What was due is done.
    pub(super) fn done(&mut self) {
        self.purged_ms = self.purged_ms.max(self.expired_ms.take());
        self.is_due = false;
    }

    /// Whether what ended then is, or is to be, removed.
    pub(super) fn is_over(&self, end_time_ms: i64) -> bool {
        Some(end_time_ms) <= self.purged_ms.max(self.expired_ms)
    }

    /// Another coordinator has no more of what ended by then. Gives the time up to which this one is to give up, when that is news.
    pub(super) fn hear(&mut self, member: u64, absent_until_ms: i64) -> Option<i64> {
        let known = self.absent.entry(member).or_default();
        *known = (*known).max(absent_until_ms);
        // So many others are a majority with this one.
        let needed = self.peer_count.div_ceil(2).max(1);
        let mut times: Vec<i64> = self.absent.values().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let until_ms = times.get(needed - 1).copied().unwrap_or_default();
        if until_ms <= self.given_up_ms {
            return None;
        }
        self.given_up_ms = until_ms;
        self.is_due = true;
        Some(until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_majority_has_removed_is_given_up() {
        let mut expiry = Expiry::default();
        expiry.set_peers(&[2, 3, 4, 5]);
        assert_eq!(expiry.hear(2, 50), None, "one of five");
        assert_eq!(expiry.hear(3, 30), Some(30), "three of five, with this one");
        assert_eq!(expiry.hear(3, 20), None, "it never falls");
        assert_eq!(expiry.hear(4, 40), Some(40));
        expiry.set_peers(&[4, 6]);
        assert_eq!(expiry.hear(6, 10), None);
        assert_eq!(expiry.hear(6, 90), Some(90), "one of two others is enough");
    }

    #[test]
    fn what_is_due_waits_until_it_is_done() {
        let mut expiry = Expiry::default();
        assert!(!expiry.is_due());
        expiry.expire(5);
        expiry.expire(3);
        assert_eq!((expiry.is_due(), expiry.expired_ms()), (true, Some(5)));
        expiry.done();
        assert!(expiry.is_over(5) && !expiry.is_over(6));
        assert_eq!((expiry.is_due(), expiry.expired_ms()), (false, None));
    }
}
