//! How long to wait between two tries to reach somebody.

use std::time::Duration;

use uuid::Uuid;

/// Waits that double up to a longest one.
#[derive(Debug)]
pub(crate) struct Waits {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Waits {
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Begins again with the first.
    pub(crate) fn restart(&mut self) {
        self.next = self.first;
    }

    /// The next wait: between half of and all of it, so that workers do not come back all at once.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        let chance = (Uuid::new_v4().as_u128() & 0xffff) as u32;
        wait / 2 + (wait / 2) * chance / 0xffff
    }
}
