//! Who may write a feed, as far as this coordinator's ledger knows.

use contract::link;
use ledger::{Attempt, Execution, Ledger, Uuid};

use super::FeedKey;

/// See [`may`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// The attempt is live, or has ended and its seal says what belongs to it.
    Write,
    /// This coordinator's ledger has not come to the entry yet that assigned the attempt: it is not known.
    Later,
    /// The fence is stale.
    Never,
}

/// Whether the holder of a fence may write its attempt's feed.
pub fn may(ledger: &Ledger, key: FeedKey, index: u64) -> May {
    if index > ledger.revision() {
        return May::Later;
    }
    match attempt(ledger, key) {
        Some((_, attempt)) if attempt.fence_index != index => May::Never,
        // Of an attempt that has ended with a result only what its seal counts is taken.
        Some((_, attempt)) if attempt.is_live() || attempt.feed_digest.is_some() => May::Write,
        _ => May::Never,
    }
}

/// Whether the attempt that writes a feed is known to have ended.
pub fn has_ended(ledger: &Ledger, key: FeedKey) -> bool {
    attempt(ledger, key).is_some_and(|(_, attempt)| !attempt.is_live())
}

/// When the attempt that writes a feed ended, Unix time in milliseconds; nothing while it is not known to have.
pub fn ended_at(ledger: &Ledger, key: FeedKey) -> Option<i64> {
    let (_, attempt) = attempt(ledger, key).filter(|(_, attempt)| !attempt.is_live())?;
    Some(attempt.end_time_ms)
}

/// The attempt that writes a feed.
pub(super) fn attempt(ledger: &Ledger, key: FeedKey) -> Option<(&Execution, &Attempt)> {
    let execution = ledger.execution_by_id(&Uuid::from_bytes(key.execution))?;
    let mut attempts = execution.attempts.iter();
    let attempt = attempts.find(|attempt| attempt.number == key.attempt)?;
    Some((execution, attempt))
}

/// The feed that a fence of the conversation names.
impl TryFrom<&link::Fence> for FeedKey {
    type Error = ();

    fn try_from(fence: &link::Fence) -> Result<Self, ()> {
        let execution = <[u8; 16]>::try_from(fence.execution_id.as_ref()).map_err(|_| ())?;
        Ok(Self {
            execution,
            attempt: fence.attempt,
        })
    }
}
