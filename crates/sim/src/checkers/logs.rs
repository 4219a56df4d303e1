//! I-21: records are numbered without a gap, are stored and delivered as they were printed, each once and in order, and the seal
//! counts all of them.

use std::collections::{BTreeMap, BTreeSet};

use feed::{Batch, SealHasher};

use ledger::{Attempt, Ledger};

use super::{Checker, Fact, Moment, Outcome};
use crate::clients::PROJECT;
use crate::coordinator::{Host, Key, words};
use crate::event::CoordinatorId;

/// What a program printed, and how much of it is stored where.
#[derive(Debug, Default)]
struct Log {
    /// The frame of each record.
    frames: Vec<Vec<u8>>,
    stored: BTreeMap<CoordinatorId, u64>,
    /// Records that a majority of the coordinators said to have stored, less what disks took with them that were lost since.
    durable: u64,
    /// Whose copy is damaged.
    flipped: BTreeSet<CoordinatorId>,
}

impl Log {
    /// What a majority has is to stay.
    fn count(&mut self, members: &BTreeMap<u64, CoordinatorId>) {
        let stored = members.values().map(|id| self.stored.get(id).copied());
        let mut stored: Vec<u64> = stored.map(Option::unwrap_or_default).collect();
        stored.sort_unstable_by(|a, b| b.cmp(a));
        let majority = stored.get(stored.len() / 2).copied();
        self.durable = self.durable.max(majority.unwrap_or_default());
    }

    /// What only the lost disk had is gone. Its worker has it, if that is there still.
    fn lose(&mut self, coordinator: CoordinatorId) {
        self.stored.remove(&coordinator);
        self.flipped.remove(&coordinator);
        let left = self.stored.values().copied().max();
        self.durable = self.durable.min(left.unwrap_or_default());
    }

    /// Whether a batch is what was printed.
    fn is_true(&self, batch: &Batch) -> bool {
        let from = batch.first_record as usize;
        let printed = self.frames.get(from..from + batch.count as usize);
        printed.is_some_and(|printed| printed.concat() == batch.frames)
    }
}

/// Every log.
#[derive(Debug, Default)]
pub(super) struct Logs {
    logs: BTreeMap<Key, Log>,
    /// Those whose attempts have ended. What a coordinator that does not know yet takes of them after that belongs to nobody (I-07).
    over: BTreeSet<Key>,
    revision: u64,
}

impl Logs {
    fn follow(&mut self, ledger: &Ledger) {
        for (_, subject) in ledger.changed_since(self.revision) {
            let ledger::Subject::Execution { number, .. } = subject else {
                continue;
            };
            let Some(execution) = ledger.execution(PROJECT, *number) else {
                continue;
            };
            let ended = execution
                .attempts
                .iter()
                .filter(|attempt| !attempt.is_live());
            self.over.extend(ended.map(|attempt| Key {
                execution: *execution.execution_id.as_bytes(),
                attempt: attempt.number,
            }));
        }
        self.revision = ledger.revision();
    }
}

impl Checker for Logs {
    fn code(&self) -> &'static str {
        "I-21"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Published {
                ledger,
                is_newest: true,
                ..
            } => self.follow(ledger),
            Fact::Printed { fence, batch } => {
                let log = self
                    .logs
                    .entry(crate::coordinator::key(*fence))
                    .or_default();
                log.frames.push(batch.frames.to_vec());
            }
            Fact::Stored {
                coordinator,
                key,
                batch,
            } => {
                let log = self.logs.entry(*key).or_default();
                let stored = log.stored.get(coordinator).copied().unwrap_or_default();
                if batch.first_record != stored {
                    return Err(format!(
                        "record {} of {} is stored after {stored} records",
                        batch.first_record,
                        words(*key)
                    ));
                }
                if !log.is_true(batch) {
                    return Err(format!(
                        "what is stored of {} from {} on was never printed",
                        words(*key),
                        batch.first_record
                    ));
                }
                log.stored.insert(*coordinator, batch.end_record());
            }
            Fact::Promised {
                coordinator,
                key,
                next,
            } => {
                let log = self.logs.entry(*key).or_default();
                let stored = log.stored.get(coordinator).copied().unwrap_or_default();
                if stored < *next {
                    return Err(format!(
                        "{next} records of {} are said to be stored where {stored} are",
                        words(*key)
                    ));
                }
                if !self.over.contains(key) {
                    log.count(moment.members);
                }
            }
            Fact::Cut {
                coordinator,
                key,
                from,
            } => {
                let log = self.logs.entry(*key).or_default();
                if log.flipped.remove(coordinator) {
                    log.stored.insert(*coordinator, *from);
                    return Ok(());
                }
                return Err(format!(
                    "sound records of {} are forgotten from {from} on by {}",
                    words(*key),
                    crate::coordinator::name(*coordinator)
                ));
            }
            Fact::Flipped { coordinator, key } => {
                let log = self.logs.entry(*key).or_default();
                log.flipped.insert(*coordinator);
            }
            Fact::DiskLost { coordinator } => {
                for log in self.logs.values_mut() {
                    log.lose(*coordinator);
                }
            }
            Fact::Delivered {
                coordinator,
                key,
                next,
                batch,
            } => {
                let log = self.logs.entry(*key).or_default();
                if batch.first_record != *next {
                    return Err(format!(
                        "record {} of {} is delivered when {next} comes next",
                        batch.first_record,
                        words(*key)
                    ));
                }
                let stored = log.stored.get(coordinator).copied().unwrap_or_default();
                if batch.end_record() > stored || !log.is_true(batch) {
                    return Err(format!(
                        "what is delivered of {} from {next} on is not what is stored",
                        words(*key)
                    ));
                }
            }
            Fact::Sealed { key, seal } => {
                let log = self.logs.entry(*key).or_default();
                let mut hasher = SealHasher::new();
                log.frames.iter().for_each(|frame| hasher.update(frame, 1));
                if hasher.seal() != *seal {
                    return Err(format!(
                        "{} has {} and is sealed as {seal}",
                        words(*key),
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
            for attempt in execution.attempts.iter() {
                let key = Key {
                    execution: *execution.execution_id.as_bytes(),
                    attempt: attempt.number,
                };
                let durable = self.logs.get(&key).map_or(0, |log| log.durable);
                for host in outcome.coordinators.members() {
                    ended(host, key, attempt, durable)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a coordinator has all of a feed that has ended.
fn ended(host: &Host, key: Key, attempt: &Attempt, durable: u64) -> Result<(), String> {
    let feed = host.feeds().get(&key);
    let count = feed.map_or(0, |feed| feed.count());
    if attempt.feed_digest.is_none() {
        let is_whole = count >= durable && host.is_settled(key);
        return match is_whole || attempt.is_live() {
            true => Ok(()),
            false => Err(format!(
                "{} ended without a seal; a majority had {durable} records of it, {} has {count}",
                words(key),
                host.name()
            )),
        };
    }
    let seal = feed.and_then(|feed| feed.seal());
    let is_sealed = seal.is_some_and(|seal| {
        seal.record_count == attempt.record_count && Some(seal.digest) == attempt.feed_digest
    });
    match count == attempt.record_count && is_sealed {
        true => Ok(()),
        false => Err(format!(
            "{} ended with {} records; {} has {count}, sealed as {seal:?}",
            words(key),
            attempt.record_count,
            host.name()
        )),
    }
}
