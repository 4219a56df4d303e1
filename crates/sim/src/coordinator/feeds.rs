//! The feeds that a coordinator holds: accepted at once, stored later, answered only then. A seal is not waited for: it reaches
//! the disk with the next records, and one that a crash forgot is said again by the ledger.

use std::collections::BTreeMap;

use contract::link;
use feed::{Accept, Batch, Holder, Seal, SealHasher};
use ledger::{Ledger, Uuid};
use worker::Fence;

use crate::Bug;
use crate::checkers::Fact;
use crate::clients::PROJECT;
use crate::event::{ConnectionId, CoordinatorId};
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

/// Records that wait for the disk.
#[derive(Debug)]
struct Write {
    key: Key,
    /// What is new of it; nothing if an earlier push brings the same.
    batch: Option<Batch>,
    /// Who pushed and is to be answered; nobody for what came from another coordinator.
    from: Option<(ConnectionId, Fence)>,
}

/// An answer to a push: for which connection and feed, and the record to go on with unless it is refused.
pub(crate) type PushAnswer = (ConnectionId, Fence, Option<u64>);

/// See the module's words.
#[derive(Debug)]
pub(crate) struct Feeds {
    coordinator: CoordinatorId,
    disk: BTreeMap<Key, Feed>,
    holders: BTreeMap<Key, Holder>,
    waiting: Vec<Write>,
    writing: usize,
    /// Seals of feeds of which records are missing here.
    behind: BTreeMap<Key, Seal>,
}

impl Feeds {
    pub(crate) fn new(coordinator: CoordinatorId) -> Self {
        Self {
            coordinator,
            disk: BTreeMap::new(),
            holders: BTreeMap::new(),
            waiting: Vec::new(),
            writing: 0,
            behind: BTreeMap::new(),
        }
    }

    pub(crate) fn disk(&self) -> &BTreeMap<Key, Feed> {
        &self.disk
    }

    /// Feeds that have ended and of which records are missing, with the number of the first that is.
    pub(crate) fn behind(&self) -> impl Iterator<Item = (Key, u64)> {
        let count = |key| self.disk.get(key).map_or(0, Feed::count);
        self.behind.keys().map(move |key| (*key, count(key)))
    }

    /// A worker pushes records. Answers at once when nothing of it is new.
    pub(crate) fn push(
        &mut self,
        stage: &mut Stage,
        ledger: &Ledger,
        (connection, fence): (ConnectionId, Fence),
        batch: Batch,
    ) -> Option<PushAnswer> {
        let key = key(fence);
        let feed = self.disk.entry(key).or_default();
        if feed.seal.is_none() && !coordinator::may_write(ledger, &link::Fence::from(fence)) {
            stage.sometimes("a push was refused");
            return Some((connection, fence, None));
        }
        let from = Some((connection, fence));
        if stage.has(Bug::StoreEveryPush) {
            let batch = Some(batch);
            self.waiting.push(Write { key, batch, from });
            return None;
        }
        let index = feed::Fence(fence.index);
        let holder = self
            .holders
            .entry(key)
            .or_insert_with(|| Holder::new(index, feed.count, feed.seal));
        let next = match holder.accept(index, &batch) {
            Ok(Accept::Store(batch)) => {
                let next = batch.end_record();
                let batch = Some(batch);
                self.waiting.push(Write { key, batch, from });
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
                self.waiting.push(Write { key, batch, from });
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

    /// Another coordinator gives records that are missing here.
    pub(crate) fn catch_up(&mut self, key: Key, batch: Batch) {
        if self.behind.contains_key(&key) {
            let batch = Some(batch);
            let from = None;
            self.waiting.push(Write { key, batch, from });
        }
    }

    /// A feed is complete: every record of it is stored by a majority, which need not be here.
    pub(crate) fn seal(&mut self, stage: &mut Stage, fence: &link::Fence, seal: Seal) {
        if let Ok(fence) = Fence::try_from(fence) {
            self.seal_key(stage, key(fence), seal);
        }
    }

    fn seal_key(&mut self, stage: &mut Stage, key: Key, seal: Seal) {
        let feed = self.disk.entry(key).or_default();
        if feed.seal.is_some() {
            return;
        }
        if feed.count < seal.record_count && !stage.has(Bug::SealBeforeRecords) {
            if self.behind.insert(key, seal).is_none() {
                stage.sometimes("a seal came before its records");
            }
            return;
        }
        self.holders.remove(&key);
        self.behind.remove(&key);
        let mut hasher = SealHasher::new();
        hasher.update(&feed.frames, feed.count);
        if hasher.seal() != seal {
            let found = hasher.seal();
            let at = super::name(self.coordinator);
            let what = format!(
                "{} is sealed as {seal}, but it is {found} at {at}",
                words(key)
            );
            stage.checkers.violated("I-21", what);
        }
        feed.seal = Some(seal);
        stage.sometimes("a feed was sealed");
        stage.show(&Fact::Sealed { key, seal });
    }

    /// After a start or an installed snapshot: what the ledger knows to have ended and the disk does not know to be sealed. What ended
    /// later is sealed when its entries are applied.
    pub(crate) fn seal_again(&mut self, stage: &mut Stage, ledger: &Ledger) {
        let mut seals = Vec::new();
        for execution in ledger.executions(PROJECT) {
            for attempt in execution.attempts.iter() {
                let key = (*execution.execution_id.as_bytes(), attempt.number);
                let is_sealed = self.disk.get(&key).is_some_and(|feed| feed.seal.is_some());
                let Some(digest) = attempt.feed_digest.filter(|_| !is_sealed) else {
                    continue;
                };
                let record_count = attempt.record_count;
                seals.push((
                    key,
                    Seal {
                        record_count,
                        digest,
                    },
                ));
            }
        }
        for (key, seal) in seals {
            stage.sometimes("a seal was said again");
            self.seal_key(stage, key, seal);
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
        let mut answers = Vec::new();
        for write in done {
            answers.extend(self.write(stage, write));
        }
        self.disk
            .values_mut()
            .for_each(|feed| feed.is_seal_stored = feed.seal.is_some());
        answers
    }

    fn write(&mut self, stage: &mut Stage, write: Write) -> Option<PushAnswer> {
        let Write { key, batch, from } = write;
        let feed = self.disk.entry(key).or_default();
        // What others gave may have come from the worker as well, or comes from it now.
        let batch = match batch {
            Some(batch) if batch.first_record < feed.count && !stage.has(Bug::StoreEveryPush) => {
                batch.from_record(feed.count).ok()
            }
            batch => batch,
        };
        if from.is_none() {
            self.holders.remove(&key);
        }
        if let Some(batch) = batch.filter(|batch| !batch.is_empty()) {
            feed.frames.extend_from_slice(&batch.frames);
            feed.count += u64::from(batch.count);
            if let Some(holder) = self.holders.get_mut(&key) {
                holder.mark_stored(feed.count);
            }
            stage.show(&Fact::Stored {
                coordinator: self.coordinator,
                key,
                batch: &batch,
            });
        }
        let count = feed.count;
        if let Some(seal) = self.behind.get(&key).copied() {
            self.seal_key(stage, key, seal);
        }
        from.map(|(connection, fence)| (connection, fence, Some(count)))
    }

    /// The process is gone, and what was not written with it. Of the write that goes on a beginning may be there.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        let survive = stage.chance.between(0..self.writing as u64 + 1) as usize;
        self.writing = 0;
        self.holders.clear();
        self.behind.clear();
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.len() > survive {
            stage.sometimes("records were lost in a crash");
        }
        waiting.truncate(survive);
        for write in waiting {
            let _ = self.write(stage, write);
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

/// A feed in words.
pub(crate) fn words(key: Key) -> String {
    let (id, attempt) = key;
    format!("the log {}/{attempt}", Uuid::from_bytes(id))
}
