//! Waiting before asking again: longer each time, and never for as long as the others.

use std::time::Duration;

use uuid::Uuid;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(50);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(3);

/// The waits between the attempts of one call.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The next wait: between half of and all of a span that doubles each time, and at least what the server asked for.
    pub(crate) fn wait(&mut self, at_least: Option<Duration>) -> Duration {
        // The low 62 bits of a random UUID are random.
        let chance = (Uuid::new_v4().as_u128() & 0xffff) as u32;
        let span = self.next;
        self.next = (span * 2).min(LONGEST);
        let wait = span / 2 + (span / 2) * chance / 0xffff;
        wait.max(at_least.unwrap_or_default())
    }

    /// It worked: the next failure is a first one again.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        let mut span = FIRST;
        for _ in 0..20 {
            let wait = backoff.wait(None);
            assert!(span / 2 <= wait && wait <= span, "{wait:?} of {span:?}");
            span = (span * 2).min(LONGEST);
        }
        assert_eq!(
            backoff.wait(Some(Duration::from_secs(9))),
            Duration::from_secs(9)
        );
        backoff.reset();
        assert!(backoff.wait(None) <= FIRST);
    }
}
