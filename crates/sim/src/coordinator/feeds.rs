//! The feeds that the coordinator holds: accepted at once, stored later, answered only then. A seal is not waited for: it reaches
//! the disk with the next records, and one that a crash forgot is said again by the ledger.

use std::collections::BTreeMap;

use contract::link;
use feed::{Accept, Batch, Holder, Seal, SealHasher};
use ledger::{Ledger, Uuid};
use worker::Fence;

use crate::Bug;
use crate::checkers::Fact;
use crate::event::ConnectionId;
use crate::stage::Stage;

/// The feed of an attempt: its execution and number. Fences of one attempt that differ in their index write the same feed.
pub(crate) type Key = ([u8; 16], u32);

/// What of a feed is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    frames: Vec<u8>,
    count: u64,
    seal: Option<Seal>,
    /// The seal is on the disk as well.
    is_seal_stored: bool,
}

impl Feed {
    /// Records on the disk.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn seal(&self) -> Option<Seal> {
        self.seal
    }

    /// The records from `from` on, at most about `max_bytes` of them.
    pub(crate) fn read(&self, from: u64, max_bytes: usize) -> Option<Batch> {
        let all = Batch::of_frames(0, self.frames.clone().into()).ok()?;
        let rest = all.from_record(from).ok()?;
        rest.within(max_bytes)
            .ok()
            .filter(|batch| !batch.is_empty())
    }
}

/// A push that waits for the disk.
#[derive(Debug)]
struct Write {
    fence: Fence,
    /// What is new of it; nothing if an earlier push brings the same.
    batch: Option<Batch>,
    connection: ConnectionId,
}

/// An answer to a push: for which connection and feed, and the record to go on with unless it is refused.
pub(crate) type PushAnswer = (ConnectionId, Fence, Option<u64>);

/// See the module's words.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    disk: BTreeMap<Key, Feed>,
    holders: BTreeMap<Key, Holder>,
    waiting: Vec<Write>,
    writing: usize,
}

impl Feeds {
    pub(crate) fn disk(&self) -> &BTreeMap<Key, Feed> {
        &self.disk
    }

    /// A worker pushes records. Answers at once when nothing of it is new.
    pub(crate) fn push(
        &mut self,
        stage: &mut Stage,
        ledger: &Ledger,
        (connection, fence): (ConnectionId, Fence),
        batch: Batch,
    ) -> Option<PushAnswer> {
        let feed = self.disk.entry(key(fence)).or_default();
        if feed.seal.is_none() && !coordinator::may_write(ledger, &link::Fence::from(fence)) {
            stage.sometimes("a push was refused");
            return Some((connection, fence, None));
        }
        if stage.has(Bug::StoreEveryPush) {
            let batch = Some(batch);
            self.waiting.push(Write {
                fence,
                batch,
                connection,
            });
            return None;
        }
        let index = feed::Fence(fence.index);
        let holder = self
            .holders
            .entry(key(fence))
            .or_insert_with(|| Holder::new(index, feed.count, feed.seal));
        let next = match holder.accept(index, &batch) {
            Ok(Accept::Store(batch)) => {
                let next = batch.end_record();
                let batch = Some(batch);
                self.waiting.push(Write {
                    fence,
                    batch,
                    connection,
                });
                return stage.has(Bug::AckRecordsBeforeStored).then_some((
                    connection,
                    fence,
                    Some(next),
                ));
            }
            // An earlier push brings the same and is on its way to the disk: this one is answered after it.
            Ok(Accept::Duplicate { stored })
                if stored < batch.end_record() && !stage.has(Bug::AnswerRepeatsAtOnce) =>
            {
                let batch = None;
                self.waiting.push(Write {
                    fence,
                    batch,
                    connection,
                });
                return None;
            }
            Ok(Accept::Duplicate { stored } | Accept::Gap { stored, .. }) => Some(stored),
            Ok(Accept::Sealed { .. } | Accept::StaleFence { .. }) => None,
            Err(error) => {
                stage
                    .checkers
                    .violated("I-21", format!("a push of {fence} is corrupt: {error}"));
                None
            }
        };
        Some((connection, fence, next))
    }

    /// A feed is complete.
    pub(crate) fn seal(&mut self, stage: &mut Stage, fence: &link::Fence, seal: Seal) {
        let Ok(fence) = Fence::try_from(fence) else {
            return;
        };
        self.holders.remove(&key(fence));
        let feed = self.disk.entry(key(fence)).or_default();
        let mut hasher = SealHasher::new();
        hasher.update(&feed.frames, feed.count);
        if hasher.seal() != seal {
            let found = hasher.seal();
            stage.checkers.violated(
                "I-21",
                format!("{fence} is sealed as {seal}, but it is {found}"),
            );
        }
        if feed.seal.replace(seal).is_none() {
            stage.sometimes("a feed was sealed");
        }
        stage.show(&Fact::Sealed { fence, seal });
    }

    /// After a start: what the snapshot knows to have ended and the disk does not know to be sealed. What ended after the snapshot
    /// is sealed when its entries are applied again.
    pub(crate) fn seal_again(&mut self, stage: &mut Stage, ledger: &Ledger) {
        let mut seals = Vec::new();
        for ((id, number), _) in self.disk.iter().filter(|(_, feed)| feed.seal.is_none()) {
            let Some(execution) = ledger.execution_by_id(&Uuid::from_bytes(*id)) else {
                continue;
            };
            let Some(attempt) = execution
                .attempts
                .iter()
                .find(|attempt| attempt.number == *number)
            else {
                continue;
            };
            let Some(digest) = attempt.feed_digest else {
                continue;
            };
            let fence = link::Fence::from(execution.fence(attempt));
            seals.push((
                fence,
                Seal {
                    record_count: attempt.record_count,
                    digest,
                },
            ));
        }
        for (fence, seal) in seals {
            stage.sometimes("a seal was said again");
            self.seal(stage, &fence, seal);
        }
    }

    /// Begins a write of all that waits, if none goes on and something does.
    pub(crate) fn begin(&mut self) -> bool {
        if self.writing > 0 || self.waiting.is_empty() {
            return false;
        }
        self.writing = self.waiting.len();
        true
    }

    /// The write has ended; what is to be answered.
    pub(crate) fn written(&mut self, stage: &mut Stage) -> Vec<PushAnswer> {
        let count = std::mem::take(&mut self.writing);
        let done: Vec<Write> = self.waiting.drain(..count).collect();
        let answers = done
            .into_iter()
            .map(|write| self.write(stage, write))
            .collect();
        self.disk
            .values_mut()
            .for_each(|feed| feed.is_seal_stored = feed.seal.is_some());
        answers
    }

    fn write(&mut self, stage: &mut Stage, write: Write) -> PushAnswer {
        let Write {
            fence,
            batch,
            connection,
        } = write;
        let feed = self.disk.entry(key(fence)).or_default();
        if let Some(batch) = batch {
            feed.frames.extend_from_slice(&batch.frames);
            feed.count += u64::from(batch.count);
            if let Some(holder) = self.holders.get_mut(&key(fence)) {
                holder.mark_stored(feed.count);
            }
            stage.show(&Fact::Stored {
                fence,
                batch: &batch,
            });
        }
        (connection, fence, Some(feed.count))
    }

    /// The process is gone, and what was not written with it. Of the write that goes on a beginning may be there.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        let survive = stage.chance.between(0..self.writing as u64 + 1) as usize;
        self.writing = 0;
        self.holders.clear();
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.len() > survive {
            stage.sometimes("records were lost in a crash");
        }
        waiting.truncate(survive);
        for write in waiting {
            self.write(stage, write);
        }
        for feed in self.disk.values_mut().filter(|feed| !feed.is_seal_stored) {
            feed.seal = None;
        }
    }
}

/// The feed that a fence may write.
pub(crate) fn key(fence: Fence) -> Key {
    (fence.execution_id, fence.attempt)
}
