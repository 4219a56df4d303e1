//! I-21: records are numbered without a gap, are stored and delivered as they were printed, each once and in order, and the seal
//! counts all of them.

use std::collections::BTreeMap;

use feed::{Batch, SealHasher};
use worker::Fence;

use super::{Checker, Fact, Moment, Outcome};
use crate::clients::PROJECT;
use crate::coordinator::key;
use crate::stage;

/// What a program printed, and how much of it is stored.
#[derive(Debug, Default)]
struct Log {
    /// The frame of each record.
    frames: Vec<Vec<u8>>,
    stored: u64,
}

impl Log {
    /// Whether a batch is what was printed.
    fn is_true(&self, batch: &Batch) -> bool {
        let from = batch.first_record as usize;
        let printed = self.frames.get(from..from + batch.count as usize);
        printed.is_some_and(|printed| printed.concat() == batch.frames)
    }
}

/// Every log.
#[derive(Debug, Default)]
pub(super) struct Logs(BTreeMap<Fence, Log>);

impl Checker for Logs {
    fn code(&self) -> &'static str {
        "I-21"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Printed { fence, batch } => {
                let log = self.0.entry(*fence).or_default();
                log.frames.push(batch.frames.to_vec());
            }
            Fact::Stored { fence, batch } => {
                let log = self.0.entry(*fence).or_default();
                if batch.first_record != log.stored {
                    let (first, stored) = (batch.first_record, log.stored);
                    return Err(format!(
                        "record {first} of {fence} is stored after {stored} records"
                    ));
                }
                if !log.is_true(batch) {
                    return Err(format!(
                        "what is stored of {fence} from {} on was never printed",
                        batch.first_record
                    ));
                }
                log.stored = batch.end_record();
            }
            Fact::Delivered { fence, next, batch } => {
                let log = self.0.entry(*fence).or_default();
                if batch.first_record != *next {
                    return Err(format!(
                        "record {} of {fence} is delivered when {next} comes next",
                        batch.first_record
                    ));
                }
                if batch.end_record() > log.stored || !log.is_true(batch) {
                    return Err(format!(
                        "what is delivered of {fence} from {next} on is not what is stored"
                    ));
                }
            }
            Fact::Sealed { fence, seal } => {
                let log = self.0.entry(*fence).or_default();
                let mut hasher = SealHasher::new();
                log.frames.iter().for_each(|frame| hasher.update(frame, 1));
                if hasher.seal() != *seal {
                    return Err(format!(
                        "{fence} printed {} and is sealed as {seal}",
                        hasher.seal()
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        for execution in outcome.ledger.executions(PROJECT) {
            for attempt in execution
                .attempts
                .iter()
                .filter(|attempt| attempt.feed_digest.is_some())
            {
                let fence = stage::fence(execution.fence(attempt));
                let feed = outcome.feeds.get(&key(fence));
                let seal = feed.and_then(|feed| feed.seal());
                let is_sealed = seal.is_some_and(|seal| {
                    seal.record_count == attempt.record_count
                        && Some(seal.digest) == attempt.feed_digest
                });
                let count = feed.map_or(0, |feed| feed.count());
                // A log without a record leaves nothing on the disk.
                if count != attempt.record_count || (count > 0 && !is_sealed) {
                    let expected = attempt.record_count;
                    return Err(format!(
                        "{fence} ended with {expected} records; {count} are stored, sealed as {seal:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
