//! The feeds that a coordinator holds.
//!
//! Participants: **workers** push the records of their attempts to every coordinator; the **disk** stores many batches with one sync; the
//! **ledger** says who may write a feed and how it ended; the **other coordinators** have what is missing here. Goals: what is answered as
//! stored is on the disk; only the holder of an attempt's fence writes; every feed that has ended is whole here in the end, whatever was missed
//! (I-21). No goal: order between feeds.
//!
//! ```text
//!              Pushed ──>┌────────┐──> Store, Answer        records 0 .. stored of each feed
//!  Sealed, Tick (ledger) │ Keeper │──> Seal, Cut, Show
//!             Fetched ──>└────────┘──> Fetch                from one coordinator after the other
//! ```
//!
//! A live feed is not fetched but pushed: its worker has all of it. Only where somebody reads it and no push comes is another coordinator asked. Once
//! it has ended, whatever lacks here is fetched, and what was fetched is compared with the seal. A feed that ended without a seal (its worker was
//! lost) ends where a majority of the coordinators, asked after they knew, have no more of it: all of them, if one was admitted or removed since the
//! attempt was assigned, for a majority of those of now need not know what a majority of the former ones had.
//!
//! Feeds that have ended are removed, whole, when their time is over ([`FeedInput::Expired`]): oldest first, so that one time says what is gone. Each
//! coordinator says that time to the others with what it sends, and nobody fetches, or waits for, what a majority has removed.

mod judge;

mod keeper;

mod kept;

mod expiry;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;

use feed::{Batch, Fence, Seal};

use crate::io::Token;

pub use judge::{May, ended_at, has_ended, may};
pub use keeper::Keeper;

/// Names the feed of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedKey {
    /// UUID of the execution.
    pub execution: [u8; 16],
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for FeedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.execution;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}.{}", self.attempt)
    }
}

/// What the disk has, as the keeper asks for it. It never changes but by what the keeper asked for.
pub trait Shelf {
    /// Records on the disk: the number of the next one.
    fn length(&self, key: FeedKey) -> u64;

    /// The seal, if the feed was closed on the disk.
    fn sealed(&self, key: FeedKey) -> Option<Seal>;

    /// Whether a feed that ended then is not here, and will not be, because its time was over: it is never fetched again.
    fn is_purged(&self, key: FeedKey, end_time_ms: i64) -> bool;

    /// Feeds that somebody reads and waits for.
    fn watched(&self) -> Vec<FeedKey>;
}

/// What happened.
#[derive(Debug, Clone)]
pub enum FeedInput {
    /// A worker pushed records, and waits for a [`FeedOutput::Answer`] with this token.
    Pushed {
        /// Who waits; a space of tokens of its own.
        push: Token,
        /// Whose feed.
        key: FeedKey,
        /// Who writes.
        fence: Fence,
        /// The records.
        batch: Batch,
    },
    /// What [`FeedOutput::Store`] asked for is on the disk, or did not fit.
    Stored {
        /// Whether it is.
        fits: bool,
    },
    /// An attempt has ended, and this is its feed's seal: the ledger's word.
    Sealed {
        /// Whose feed.
        key: FeedKey,
        /// Its count and digest.
        seal: Seal,
    },
    /// The answer to [`FeedOutput::Seal`]: whether the disk has what the seal says.
    Checked {
        /// Whose feed.
        key: FeedKey,
        /// Whether it is what the seal says.
        is_whole: bool,
    },
    /// The answer to [`FeedOutput::Fetch`].
    Fetched {
        /// Whose feed.
        key: FeedKey,
        /// Who was asked.
        member: u64,
        /// What it has; nothing when it could not be reached.
        copies: Option<Copies>,
    },
    /// A record on the disk cannot be read any more.
    Damaged {
        /// Whose feed.
        key: FeedKey,
        /// The first record that cannot be read.
        record: u64,
    },
    /// The time is over of feeds whose attempts ended at this time or before, Unix time in milliseconds: they are to be removed.
    Expired {
        /// Up to when.
        until_ms: i64,
    },
    /// The other coordinators, by their Raft ids.
    Members(Vec<u64>),
    /// Time has passed, or the ledger has moved while [`Keeper::waits_for_ledger`].
    Tick,
}

/// What another coordinator has of a feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copies {
    /// Records from the one on that was asked for, one after the other.
    pub batches: Vec<Batch>,
    /// It has no more than these.
    pub is_end: bool,
    /// It takes no more from the worker: it knows that the attempt has ended.
    pub is_closed: bool,
    /// What ended at this time or before, Unix time in milliseconds, and is not whole there, will not be: its time is over.
    pub absent_until_ms: i64,
}

/// What the keeper asks for. Outputs are done in the order they come.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedOutput {
    /// Append these with one sync, then say [`FeedInput::Stored`]: until then no other store is asked for. A batch begins at its feed's length.
    Store(Vec<(FeedKey, Batch)>),
    /// Answer a push.
    Answer {
        /// Who waits.
        push: Token,
        /// What became of it.
        answer: PushAnswer,
    },
    /// How far a feed is has changed: those who read it look again.
    Show(FeedKey),
    /// Compare a feed on the disk with its seal and close it, then say [`FeedInput::Checked`].
    Seal {
        /// Whose feed.
        key: FeedKey,
        /// Its count and digest.
        seal: Seal,
    },
    /// Forget the records of a feed from this one on, before anything that follows.
    Cut {
        /// Whose feed.
        key: FeedKey,
        /// The first record to forget.
        from: u64,
    },
    /// Ask another coordinator for what it has from a record on, then say [`FeedInput::Fetched`], whatever came of it.
    Fetch {
        /// Whose feed.
        key: FeedKey,
        /// The first record wanted.
        from: u64,
        /// Whom to ask.
        member: u64,
    },
    /// Remove the feeds whose attempts ended at this time or before. None of them is being written.
    Purge {
        /// Up to when.
        until_ms: i64,
    },
    /// Remember that what ended at this time or before, and is not whole here, will not be: the others have removed it.
    GiveUp {
        /// Up to when.
        until_ms: i64,
    },
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAnswer {
    /// All records before this one are on the disk.
    Stored(u64),
    /// The fence may not write, at least not now.
    Refused,
    /// The frames are corrupt; in words.
    Corrupt(String),
    /// The disk is full.
    Full,
}

/// One line, for transcripts.
impl fmt::Display for FeedOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(batches) => {
                f.write_str("store")?;
                batches.iter().try_for_each(|(key, batch)| {
                    write!(f, " {key}:{}..{}", batch.first_record, batch.end_record())
                })
            }
            Self::Answer { push, answer } => write!(f, "answer {}: {answer:?}", push.0),
            Self::Show(key) => write!(f, "show {key}"),
            Self::Seal { key, seal } => write!(f, "seal {key} at {}", seal.record_count),
            Self::Cut { key, from } => write!(f, "cut {key} from {from}"),
            Self::Fetch { key, from, member } => write!(f, "fetch {key} from {from} of c{member}"),
            Self::Purge { until_ms } => write!(f, "purge until {until_ms}"),
            Self::GiveUp { until_ms } => write!(f, "give up until {until_ms}"),
        }
    }
}
