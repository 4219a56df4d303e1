//! What is done for a coordinator's feeds beside the thread that stores them: sealed ones are compressed, those whose time is over found, and
//! segments that hold little made less.

use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coordinator::feeds::{FeedKey, ended_at};
use disk::DiskError;
use disk::feeds::Feeds;
use feed::{Ended, Retention};
use ledger::Ledger;
use tokio::sync::watch;

use crate::Fault;

/// How a coordinator keeps feeds that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedKeeping {
    /// How long, and how much of them.
    pub retention: Retention,
    /// How often they are looked through.
    pub every: Duration,
    /// An archive is written when sealed feeds of so many bytes are not in one.
    pub archive_bytes: u64,
}

impl Default for FeedKeeping {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            every: Duration::from_secs(10),
            archive_bytes: 16 << 20,
        }
    }
}

/// Or when there are so many of them.
const ARCHIVE_FEEDS: usize = 4_096;

/// No archive is begun with more; bytes of frames.
const ARCHIVE_MAX: u64 = 256 << 20;

/// Up to when feeds are gone is moved on at least so often, also when nothing goes; milliseconds.
const HORIZON_STEP_MS: i64 = 3_600_000;

/// The key as a mind names it.
pub(super) fn of_disk(key: disk::feeds::FeedKey) -> FeedKey {
    FeedKey {
        execution: key.execution,
        attempt: key.attempt,
    }
}

/// The work itself.
pub(super) struct Upkeep {
    pub(super) log: Feeds,
    pub(super) ledger: watch::Receiver<Ledger>,
    pub(super) keeping: FeedKeeping,
}

impl Upkeep {
    /// Works until `stopped` ends. `expire` is told up to when feeds are to be removed.
    pub(super) fn run(
        &self,
        stopped: &mpsc::Receiver<()>,
        expire: impl Fn(i64),
    ) -> Result<(), Fault> {
        loop {
            match stopped.recv_timeout(self.keeping.every) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                _ => return Ok(()),
            }
            let ledger = self.ledger.borrow().clone();
            let done = self.archive(&ledger).and_then(|()| self.compact());
            match done {
                // Everything is where it was; there may be room later.
                Err(error) if error.is_full() => {
                    tracing::warn!("logs cannot be compressed: {error}");
                }
                Err(error @ (DiskError::Corrupt { .. } | DiskError::Io { .. })) => {
                    tracing::error!("logs cannot be compressed: {error}");
                }
                other => other?,
            }
            if let Some(until_ms) = self.expired(&ledger) {
                expire(until_ms);
            }
        }
    }

    /// Compresses sealed feeds when it is worth an archive.
    fn archive(&self, ledger: &Ledger) -> Result<(), DiskError> {
        loop {
            let sealed = self.log.unarchived();
            let bytes: u64 = sealed.iter().map(|(.., bytes)| bytes).sum();
            if bytes < self.keeping.archive_bytes && sealed.len() < ARCHIVE_FEEDS {
                return Ok(());
            }
            let ended = sealed.iter().filter_map(|(key, _, bytes)| {
                Some((*key, ended_at(ledger, of_disk(*key))?, *bytes))
            });
            let mut oldest_first: Vec<_> = ended.collect();
            oldest_first.sort_unstable_by_key(|(key, end_time_ms, _)| (*end_time_ms, *key));
            let mut room = ARCHIVE_MAX;
            let fits = oldest_first.iter().take_while(|(.., bytes)| {
                let fits = room > 0;
                room = room.saturating_sub(*bytes);
                fits
            });
            let chosen: Vec<_> = fits.map(|(key, end, _)| (*key, *end)).collect();
            if chosen.is_empty() {
                return Ok(());
            }
            let done = self.log.archive(&chosen)?;
            tracing::info!(
                feeds = done.feeds,
                raw_bytes = done.raw_bytes,
                packed_bytes = done.packed_bytes,
                "logs were compressed"
            );
            for key in &done.damaged {
                tracing::error!("{key} is not what it was sealed as, and not compressed");
            }
            if done.feeds == 0 || !done.damaged.is_empty() {
                return Ok(());
            }
        }
    }

    fn compact(&self) -> Result<(), DiskError> {
        while self.log.compact()? {}
        Ok(())
    }

    /// Up to when feeds are to be removed, if any are.
    fn expired(&self, ledger: &Ledger) -> Option<i64> {
        let retention = self.keeping.retention;
        if retention.is_for_ever() {
            return None;
        }
        let kept = self.log.kept().into_iter().filter_map(|kept| {
            let end_time_ms = kept.end_time_ms.or(ended_at(ledger, of_disk(kept.key)))?;
            let bytes = kept.bytes;
            Some(Ended { end_time_ms, bytes })
        });
        let ended: Vec<Ended> = kept.collect();
        // A clock that is ahead, here or at a leader, removes nothing too soon (I-14).
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall_ms = wall.map_or(0, |time| time.as_millis() as i64);
        let now_ms = ledger.time_ms().min(wall_ms);
        let until = retention.until(now_ms, ended.iter().copied())?;
        let before = self.log.horizon().purged_until_ms;
        let has_some = ended.iter().any(|feed| feed.end_time_ms <= until);
        (until > before && (has_some || until - before >= HORIZON_STEP_MS)).then_some(until)
    }
}

/// Feeds that are in no archive and whose attempts ended by then.
pub(super) fn unarchived_until(
    log: &Feeds,
    ledger: &Ledger,
    until_ms: i64,
) -> Vec<disk::feeds::FeedKey> {
    let written = log
        .kept()
        .into_iter()
        .filter(|kept| kept.end_time_ms.is_none());
    let over = written.filter(|kept| {
        ended_at(ledger, of_disk(kept.key)).is_some_and(|end_time_ms| end_time_ms <= until_ms)
    });
    over.map(|kept| kept.key).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use contract::api::State;
    use contract::ledger::{self as pb, Command, Entry, command::Kind};
    use contract::link;
    use feed::{Batch, Seal, Stream};

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn apply(ledger: &mut Ledger, time_ms: i64, kind: Kind) {
        let index = ledger.revision() + 1;
        let entry = Entry {
            version: ledger::ENTRY_VERSION,
            leader_time_ms: time_ms,
            commands: vec![Command { kind: Some(kind) }],
        };
        let applied = ledger.apply(index, &entry);
        assert!(applied.outcomes.iter().all(Result::is_ok), "{applied:?}");
    }

    fn lines(count: u64) -> Batch {
        let mut out = Vec::new();
        for number in 0..count {
            let line = format!("step {number}, loss 0.25\n");
            feed::encode_parts(Stream::Stdout, false, number, line.as_bytes(), &mut out);
        }
        Batch::of_frames(0, out.into()).unwrap()
    }

    /// An execution that ended at `end_ms` with this seal; names its feed.
    fn execution(ledger: &mut Ledger, number: i64, end_ms: i64, seal: Seal) -> FeedKey {
        let request = pb::RequestKey {
            request_id: vec![number as u8; 16].into(),
            digest: vec![2; 32].into(),
        };
        let template = pb::StepTemplate {
            step: "s".into(),
            image: "busybox".into(),
            commands: vec!["true".into()],
            ..pb::StepTemplate::default()
        };
        let create = pb::CreateExecution {
            request: Some(request),
            project: "p".into(),
            template: Some(template),
            ..pb::CreateExecution::default()
        };
        apply(ledger, end_ms, Kind::CreateExecution(create));
        let assign = pb::AssignAttempt {
            project: "p".into(),
            execution: number,
            worker: "w".into(),
            ..pb::AssignAttempt::default()
        };
        apply(ledger, end_ms, Kind::AssignAttempt(assign));
        let execution = *ledger
            .execution("p", number)
            .unwrap()
            .execution_id
            .as_bytes();
        let fence = link::Fence {
            execution_id: execution.to_vec().into(),
            attempt: 1,
            index: ledger.revision(),
        };
        let result = link::AttemptResult {
            state: State::Complete.into(),
            exit_code: Some(0),
            exit_time_us: 2,
            record_count: seal.record_count,
            feed_digest: seal.digest.to_vec().into(),
            ..link::AttemptResult::default()
        };
        let finish = pb::FinishAttempt {
            worker: "w".into(),
            fence: Some(fence),
            start_time_us: 1,
            result: Some(result),
            ..pb::FinishAttempt::default()
        };
        apply(ledger, end_ms, Kind::FinishAttempt(finish));
        FeedKey {
            execution,
            attempt: 1,
        }
    }

    #[test]
    fn sealed_feeds_are_compressed_and_the_old_ones_named() {
        let dir = tempfile::tempdir().unwrap();
        let log = Feeds::open(dir.path()).unwrap();
        let mut ledger = Ledger::new();
        let cluster_id = "c".into();
        apply(
            &mut ledger,
            1,
            Kind::FoundCluster(pb::FoundCluster { cluster_id }),
        );
        let worker = pb::RegisterWorker {
            name: "w".into(),
            incarnation: 1,
            offer: Some(link::Offer {
                slot_count: 1,
                ..link::Offer::default()
            }),
            instance_id: Default::default(),
        };
        apply(&mut ledger, 1, Kind::RegisterWorker(worker.clone()));
        let worker = pb::RegisterWorker {
            incarnation: 2,
            ..worker
        };
        let mut hasher = feed::SealHasher::new();
        hasher.update_batch(&lines(50));
        let seal = hasher.seal();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_ms = wall.as_millis() as i64;
        let keys: Vec<_> = (1..=3)
            .map(|n| {
                let key = execution(&mut ledger, n, now_ms - (4 - n) * DAY_MS, seal);
                let on_disk = disk::feeds::FeedKey {
                    execution: key.execution,
                    attempt: 1,
                };
                log.append(&[(on_disk, lines(50))]).unwrap();
                log.seal(on_disk, seal).unwrap();
                on_disk
            })
            .collect();
        // A leader's clock that is a year ahead removes nothing.
        let cluster_time = now_ms + 365 * DAY_MS;
        apply(&mut ledger, cluster_time, Kind::RegisterWorker(worker));
        let (_sender, receiver) = watch::channel(ledger.clone());
        let retention = Retention {
            max_age_ms: Some(3 * DAY_MS as u64 / 2),
            max_bytes: None,
        };
        let upkeep = Upkeep {
            log: log.clone(),
            ledger: receiver,
            keeping: FeedKeeping {
                retention,
                every: Duration::from_millis(1),
                archive_bytes: 1,
            },
        };
        let (working, stopped) = mpsc::channel();
        let (say, said) = mpsc::channel();
        let thread =
            std::thread::spawn(move || upkeep.run(&stopped, |until| say.send(until).unwrap()));
        let until_ms = said.recv().unwrap();
        drop(working);
        thread.join().unwrap().unwrap();
        let day = |n: i64| now_ms - (4 - n) * DAY_MS;
        assert!((day(2)..day(3)).contains(&until_ms), "{until_ms}");
        assert!(keys.iter().all(|key| log.is_archived(*key)));
        assert_eq!(log.sealed(keys[2]), Some(seal));
        assert!(
            log.purge(until_ms, &unarchived_until(&log, &ledger, until_ms))
                .unwrap()
        );
        assert_eq!(log.keys(), keys[2..]);
    }
}
