//! Waiting before asking again: longer each time, and never for as long as the others.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(25);

/// The longest wait while it may be only that leadership moves, and for how long that is.
const LONGEST_AT_FIRST: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(6));

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(3);

/// The waits between the attempts of one call.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    since: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            next: FIRST,
            since: Instant::now(),
        }
    }
}

impl Backoff {
    /// The next wait: between half of and all of a span that doubles each time, and at least what the server asked for.
    pub(crate) fn wait(&mut self, at_least: Option<Duration>) -> Duration {
        // The low 62 bits of a random UUID are random.
        let chance = (Uuid::new_v4().as_u128() & 0xffff) as u32;
        let span = self.next;
        let longest = if self.since.elapsed() < LONGEST_AT_FIRST.1 {
            LONGEST_AT_FIRST.0
        } else {
            LONGEST
        };
        self.next = (span * 2).min(longest);
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

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_a_bound_that_grows_itself() {
        let mut backoff = Backoff::default();
        for longest in [LONGEST_AT_FIRST.0, LONGEST] {
            let mut span = backoff.next;
            for _ in 0..20 {
                let wait = backoff.wait(None);
                assert!(span / 2 <= wait && wait <= span, "{wait:?} of {span:?}");
                span = (span * 2).min(longest);
            }
            assert!(backoff.wait(None) >= longest / 2);
            tokio::time::advance(LONGEST_AT_FIRST.1).await;
        }
        assert_eq!(
            backoff.wait(Some(Duration::from_secs(9))),
            Duration::from_secs(9)
        );
        backoff.reset();
        assert!(backoff.wait(None) <= FIRST);
    }
}
