//! Reading the log of an execution: one attempt after the other, from a record on, as far as it is stored, and further as it
//! grows. What comes out is the same for logs and for metadata; each makes its own messages of it.

use std::time::Duration;

use contract::api::{ErrorReason, LogGapCause};
use coordinator::Refusal;
use feed::{Batch, Record, Seal, Stream};
use ledger::{Execution, Ledger};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::execution::find;
use crate::context::Context;
use crate::convert::name::LogName;
use crate::ports::{FeedEnd, FeedKey};
use crate::status::status;
use crate::stream::stopping;

/// About how many bytes of frames make one message.
const BATCH_BYTES: usize = 512 << 10;

/// How often a log with nothing new says that it is alive.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The least that is looked back at for the end of a log, once it was looked at in vain.
const LEAST_BACK: u64 = 1_024;

/// How long who does not follow a log that has ended waits for the rest of it, which other coordinators have.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Where a reader wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At this record.
    Record(u64),
    /// With the last so many; those of machine metrics do not count.
    Tail(u64),
}

/// What is read, with the number of the attempt that printed it; 0 while there is none.
pub(super) struct Read {
    pub(super) attempt: u32,
    pub(super) part: Part,
}

/// A part of a log.
pub(super) enum Part {
    /// Records with their numbers, one after the other.
    Records(Vec<(u64, Record)>),
    /// Records that cannot be had.
    Gap(Gap),
    /// All that there is was read; this record comes next.
    Progress(u64),
    /// The log is complete; there is no digest when the attempt was lost.
    Sealed(u64, Option<[u8; 32]>),
}

/// Records `start .. end` that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) cause: LogGapCause,
}

/// Where the parts go.
pub(super) type Parts = mpsc::Sender<Result<Read, Refusal>>;

/// Why a reader stops.
enum Stop {
    Refused(Refusal),
    Left,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What the ledger says of an attempt's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Close {
    /// More may come.
    Open,
    /// It has this many records and this digest.
    Sealed(Seal),
    /// The attempt ended without anybody telling how long its log is: what is stored is all there will be.
    Lost,
}

/// What the ledger says of an attempt's log, and when the attempt ended.
type Ending = (Close, i64);

/// Checks that the ledger has the execution, and the attempt if one is named.
fn is_there(ledger: &Ledger, name: &LogName) -> Result<(), Refusal> {
    let execution = find(ledger, &name.execution)?;
    match name.attempt {
        Some(number)
            if !execution
                .attempts
                .iter()
                .any(|attempt| attempt.number == number) =>
        {
            Err(Refusal::not_found(&format!(
                "{}/attempts/{number}",
                name.execution
            )))
        }
        _ => Ok(()),
    }
}

/// A log that is asked for.
pub(super) struct Pump {
    context: Context,
    ledgers: watch::Receiver<Ledger>,
    name: LogName,
    start: Start,
    follow: bool,
    parts: Parts,
}

impl Pump {
    /// Checks that there is such a log.
    ///
    /// # Errors
    /// `RESOURCE_NOT_FOUND`; `NO_QUORUM` when this coordinator does not know it and cannot ask the others.
    pub(super) async fn new(
        context: Context,
        name: LogName,
        start: Start,
        follow: bool,
        parts: Parts,
    ) -> Result<Self, Status> {
        let ledger = context
            .ledger_with(|ledger| is_there(ledger, &name).is_ok())
            .await?;
        is_there(&ledger, &name).map_err(status)?;
        Ok(Self {
            ledgers: context.ledgers.clone(),
            context,
            name,
            start,
            follow,
            parts,
        })
    }

    /// Reads to the end. A refusal is the last thing that comes out.
    pub(super) async fn run(mut self) {
        if let Err(Stop::Refused(refusal)) = self.read().await {
            let _ = self.parts.send(Err(refusal)).await;
        }
    }

    async fn read(&mut self) -> Result<(), Stop> {
        let newest =
            self.look(|execution| execution.attempts.last().map(|attempt| attempt.number))?;
        let Some(mut attempt) = self.name.attempt.or(newest) else {
            return self.read_from_first().await;
        };
        self.read_attempt(attempt, self.start).await?;
        if self.name.attempt.is_some() || !self.follow {
            return Ok(());
        }
        while self.await_attempt(attempt + 1).await? {
            attempt += 1;
            self.read_attempt(attempt, Start::Record(0)).await?;
        }
        Ok(())
    }

    /// There is no attempt yet.
    async fn read_from_first(&mut self) -> Result<(), Stop> {
        let next = match self.start {
            Start::Record(number) => number,
            Start::Tail(_) => 0,
        };
        self.send(0, Part::Progress(next)).await?;
        let mut attempt = 1;
        let mut start = self.start;
        while self.follow && self.await_attempt(attempt).await? {
            self.read_attempt(attempt, start).await?;
            (attempt, start) = (attempt + 1, Start::Record(0));
        }
        Ok(())
    }

    /// Waits for an attempt to begin. Says no when the execution has ended without it.
    async fn await_attempt(&mut self, number: u32) -> Result<bool, Stop> {
        let mut quiet_until = Instant::now() + PROGRESS_EVERY;
        loop {
            self.ledgers.mark_unchanged();
            let begun = self.look(|execution| {
                let begun = execution
                    .attempts
                    .iter()
                    .any(|attempt| attempt.number == number);
                (begun || execution.is_final()).then_some(begun)
            })?;
            if let Some(begun) = begun {
                return Ok(begun);
            }
            tokio::select! {
                changed = self.ledgers.changed() => changed.map_err(|_| stopping())?,
                () = sleep_until(quiet_until) => {
                    quiet_until = Instant::now() + PROGRESS_EVERY;
                    self.send(0, Part::Progress(0)).await?;
                }
                () = self.context.stopping.cancelled() => return Err(stopping().into()),
                () = self.parts.closed() => return Err(Stop::Left),
            }
        }
    }

    /// Reads one attempt from `start` on: as far as it is stored, or until it is complete.
    async fn read_attempt(&mut self, number: u32, start: Start) -> Result<(), Stop> {
        let key = FeedKey {
            execution: self.look(|execution| *execution.execution_id.as_bytes())?,
            attempt: number,
        };
        let mut ends = self.context.feeds.end(key);
        let mut end = *ends.borrow();
        let ending = self.close(number)?;
        if let (Close::Sealed(seal), true) = (ending.0, self.is_purged(key, ending)) {
            (end.next_record, end.seal) = (seal.record_count, Some(seal));
        }
        let mut next = match start {
            Start::Tail(count) if !self.is_purged(key, ending) => {
                self.tail(key, count, end.next_record).await?
            }
            start => self.first_record(number, start, end)?,
        };
        let mut told = None;
        let mut quiet_until = Instant::now() + PROGRESS_EVERY;
        let patience = Instant::now() + CATCH_UP;
        loop {
            self.ledgers.mark_unchanged();
            // What the ledger says is looked at first: the records of an attempt that is over are all stored by then.
            let ending = self.close(number)?;
            let close = ending.0;
            let FeedEnd {
                next_record,
                seal,
                settled,
            } = *ends.borrow_and_update();
            while next < next_record && !self.is_purged(key, ending) {
                next = self.read_batches(key, next, (next_record, ending)).await?;
                quiet_until = Instant::now() + PROGRESS_EVERY;
            }
            if self.is_purged(key, ending) {
                return self.tell_purged(number, next, close).await;
            }
            if let Some((count, digest)) = ended(seal, close, settled, next) {
                self.send(number, Part::Sealed(count, digest)).await?;
                return Ok(());
            }
            if told.is_none() || (Instant::now() >= quiet_until && self.follow) {
                told = Some(next);
                quiet_until = Instant::now() + PROGRESS_EVERY;
                self.send(number, Part::Progress(next)).await?;
            }
            // What has ended is whole in a moment, wherever the rest of it is.
            let comes = close != Close::Open && Instant::now() < patience;
            if !self.follow && !comes {
                return Ok(());
            }
            tokio::select! {
                changed = ends.changed() => changed.map_err(|_| stopping())?,
                changed = self.ledgers.changed() => changed.map_err(|_| stopping())?,
                () = sleep_until(quiet_until) => {}
                () = sleep_until(patience), if comes => {}
                () = self.context.stopping.cancelled() => return Err(stopping().into()),
                () = self.parts.closed() => return Err(Stop::Left),
            }
        }
    }

    /// Reads what one look at the disk gives; answers with the record to go on with.
    async fn read_batches(
        &self,
        key: FeedKey,
        next: u64,
        (end, ending): (u64, Ending),
    ) -> Result<u64, Stop> {
        let batches = self.context.feeds.read(key, next, BATCH_BYTES).await?;
        let mut next = next;
        for batch in &batches {
            if batch.end_record() <= next {
                continue;
            }
            if batch.first_record > next {
                self.send_gap(key.attempt, next, batch.first_record).await?;
                next = batch.first_record;
            }
            let mut rest = batch.from_record(next).map_err(damaged)?;
            while !rest.is_empty() {
                let part = rest.within(BATCH_BYTES).map_err(damaged)?;
                next = part.end_record();
                self.send(key.attempt, Part::Records(records(&part)?))
                    .await?;
                rest = rest.from_record(next).map_err(damaged)?;
            }
        }
        if batches.is_empty() && !self.is_purged(key, ending) {
            self.send_gap(key.attempt, next, end).await?;
            next = end;
        }
        Ok(next)
    }

    async fn send_gap(&self, attempt: u32, start: u64, end: u64) -> Result<(), Stop> {
        let cause = LogGapCause::Unreachable;
        self.send(attempt, Part::Gap(Gap { start, end, cause }))
            .await
    }

    /// Whether the log was removed because its time was over.
    fn is_purged(&self, key: FeedKey, (close, end_time_ms): Ending) -> bool {
        close != Close::Open && self.context.feeds.is_purged(key, end_time_ms)
    }

    /// What is missing was removed, and nothing comes any more: that is said, also when nobody knows how much it was (I-21).
    async fn tell_purged(&self, attempt: u32, start: u64, close: Close) -> Result<(), Stop> {
        let (end, digest) = match close {
            Close::Sealed(seal) => (seal.record_count.max(start), Some(seal.digest)),
            Close::Open | Close::Lost => (start, None),
        };
        let cause = LogGapCause::Purged;
        if start < end || digest.is_none() {
            self.send(attempt, Part::Gap(Gap { start, end, cause }))
                .await?;
        }
        self.send(attempt, Part::Sealed(end, digest)).await
    }

    /// The record that the last `count` before `end` begin with, machine metrics not counted. Looks back further and further until there are
    /// so many: how many metrics lie between, nobody knows beforehand.
    async fn tail(&self, key: FeedKey, count: u64, end: u64) -> Result<u64, Stop> {
        let mut back = count;
        loop {
            let start = end.saturating_sub(back);
            let mut printed = Vec::new();
            let mut next = start;
            while next < end {
                let batches = self.context.feeds.read(key, next, BATCH_BYTES).await?;
                let Some(last) = batches.last() else { break };
                let found = last.end_record();
                for batch in &batches {
                    let numbered = records(&batch.from_record(next).map_err(damaged)?)?;
                    let others = numbered
                        .iter()
                        .filter(|(_, record)| record.stream != Stream::Metric);
                    printed.extend(
                        others
                            .map(|(number, _)| *number)
                            .filter(|number| *number < end),
                    );
                }
                if found <= next {
                    break;
                }
                next = found;
            }
            let surplus = (printed.len() as u64).checked_sub(count);
            match surplus.and_then(|surplus| printed.get(surplus as usize)) {
                Some(first) => return Ok(*first),
                None if count == 0 => return Ok(end),
                None if start == 0 || next < end => return Ok(start),
                None => back = back.saturating_mul(2).max(LEAST_BACK),
            }
        }
    }

    fn first_record(&self, number: u32, start: Start, end: FeedEnd) -> Result<u64, Refusal> {
        match start {
            Start::Tail(count) => Ok(end.next_record.saturating_sub(count)),
            Start::Record(first) => match end.seal {
                Some(seal) if first > seal.record_count => {
                    let message = format!(
                        "the log of attempt {number} has {} records, none has number {first}",
                        seal.record_count
                    );
                    Err(Refusal::new(ErrorReason::PastEnd, message)
                        .with("record_count", seal.record_count.to_string()))
                }
                _ => Ok(first),
            },
        }
    }

    /// What the ledger says of an attempt's log.
    fn close(&self, number: u32) -> Result<Ending, Refusal> {
        self.look(|execution| {
            let mut attempts = execution.attempts.iter();
            let ended = attempts
                .find(|attempt| attempt.number == number)
                .filter(|attempt| !attempt.is_live());
            ended.map_or((Close::Open, 0), |attempt| {
                let close = match attempt.feed_digest {
                    Some(digest) => Close::Sealed(Seal {
                        record_count: attempt.record_count,
                        digest,
                    }),
                    None => Close::Lost,
                };
                (close, attempt.end_time_ms)
            })
        })
    }

    /// Looks at the execution as it is now.
    fn look<T>(&self, at: impl FnOnce(&Execution) -> T) -> Result<T, Refusal> {
        find(&self.context.ledgers.borrow(), &self.name.execution).map(at)
    }

    async fn send(&self, attempt: u32, part: Part) -> Result<(), Stop> {
        tokio::select! {
            sent = self.parts.send(Ok(Read { attempt, part })) => sent.map_err(|_| Stop::Left),
            () = self.context.stopping.cancelled() => Err(stopping().into()),
        }
    }
}

/// How an attempt's log ended, once everything of it is read.
fn ended(
    stored: Option<Seal>,
    close: Close,
    settled: bool,
    next: u64,
) -> Option<(u64, Option<[u8; 32]>)> {
    let seal = match close {
        Close::Sealed(seal) => Some(seal),
        Close::Open | Close::Lost => stored,
    };
    match seal {
        Some(seal) => (next >= seal.record_count).then_some((seal.record_count, Some(seal.digest))),
        None => (close == Close::Lost && settled).then_some((next, None)),
    }
}

fn records(batch: &Batch) -> Result<Vec<(u64, Record)>, Refusal> {
    batch.records().collect::<Result<_, _>>().map_err(damaged)
}

fn damaged(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        ErrorReason::InternalFault,
        format!("a stored log is damaged: {error}"),
    )
}
