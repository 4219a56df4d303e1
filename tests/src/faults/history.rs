//! What clients remember of their calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use check::{Operation, Outcome};
use client::Kind;

/// The one clock of a run's histories.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since it began.
    pub fn now_us(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A call that was begun.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// When, by the run's clock.
    pub start_us: u64,
}

impl Call {
    /// Begins one now.
    pub fn begin(clock: Clock) -> Self {
        Self {
            start_us: clock.now_us(),
        }
    }

    /// The operation it was, now that it was answered.
    pub fn answered<C, A>(self, clock: Clock, call: C, answer: A) -> Operation<C, A> {
        Operation {
            call,
            start: self.start_us,
            outcome: Outcome::Answered {
                answer,
                end: clock.now_us(),
            },
        }
    }
}

/// How calls ended.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answered as they should be.
    pub ok: u64,
    /// Of unknown outcome.
    pub unknown: u64,
    /// Refused or failed otherwise, by kind.
    pub refused: BTreeMap<&'static str, u64>,
    /// What all tallies of a run have counted as they should be answered, while it goes on.
    live: Arc<AtomicU64>,
}

impl Tally {
    /// An empty one that counts for its run too.
    pub fn of_run(live: &Arc<AtomicU64>) -> Self {
        Self {
            live: live.clone(),
            ..Self::default()
        }
    }

    /// One more was answered as it should be.
    pub fn succeeded(&mut self) {
        self.ok += 1;
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how a call ended.
    pub fn count<T>(&mut self, result: &Result<T, client::Error>) {
        match result {
            Ok(_) => self.succeeded(),
            Err(error) if error.kind == Kind::Unavailable => self.unknown += 1,
            Err(error) => *self.refused.entry(error.kind.as_str()).or_default() += 1,
        }
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.unknown += other.unknown;
        for (kind, count) in &other.refused {
            *self.refused.entry(kind).or_default() += count;
        }
    }
}
