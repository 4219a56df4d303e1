//! The feeds that a coordinator holds: the keeper that is real, and the disk under it, which is not. A seal reaches the disk with the next records;
//! one that a crash forgot is found again in the ledger.

use std::collections::{BTreeMap, VecDeque};

use contract::link;
use coordinator::Token;
use coordinator::feeds::{Copies, FeedInput, FeedOutput, Keeper, Shelf, has_ended};
use feed::{Batch, Seal, SealHasher};
use ledger::{Ledger, Uuid};
use worker::Fence;

use crate::checkers::Fact;
use crate::event::{ConnectionId, CoordinatorId};
use crate::stage::Stage;

/// The feed of an attempt. Fences of one attempt that differ in their index write the same feed.
pub(crate) use coordinator::feeds::FeedKey as Key;

/// Most bytes of frames that another coordinator is given at once.
const FETCH_BYTES: usize = 4_096;

/// What of a feed is on the disk.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    frames: Vec<u8>,
    count: u64,
    seal: Option<Seal>,
    /// The seal is on the disk as well.
    is_seal_stored: bool,
    /// The record in which a bit is not what was written.
    flipped: Option<u64>,
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
    ///
    /// # Errors
    /// The first of them whose checksum does not match.
    pub(crate) fn read(&self, from: u64, max_bytes: usize) -> Result<Option<Batch>, u64> {
        let batch = self.batch(from, max_bytes);
        let is_in = |record: &u64| {
            let wanted = |batch: &Batch| (batch.first_record..batch.end_record()).contains(record);
            batch.as_ref().is_some_and(wanted)
        };
        match self.flipped.filter(is_in) {
            Some(record) => Err(record),
            None => Ok(batch),
        }
    }

    /// The same without a look at checksums.
    pub(crate) fn read_flipped(&self, from: u64, max_bytes: usize) -> Option<Batch> {
        let mut batch = self.batch(from, max_bytes)?;
        let mut frames = batch.frames.to_vec();
        if let Some(last) = frames.last_mut() {
            *last ^= 4;
        }
        batch.frames = frames.into();
        Some(batch)
    }

    fn batch(&self, from: u64, max_bytes: usize) -> Option<Batch> {
        let all = Batch::of_frames(0, self.frames.clone().into()).ok()?;
        let rest = all.from_record(from).ok()?;
        rest.within(max_bytes)
            .ok()
            .filter(|batch| !batch.is_empty())
    }

    /// The seal of what is there.
    fn found(&self) -> Seal {
        let mut hasher = SealHasher::new();
        hasher.update(&self.frames, self.count);
        hasher.seal()
    }

    /// Forgets the records from this one on.
    fn cut(&mut self, from: u64) {
        let all = Batch::of_frames(0, self.frames.clone().into()).ok();
        if let Some(rest) = all.and_then(|all| all.before_record(from).ok()) {
            self.frames = rest.frames.to_vec();
            self.count = self.count.min(from);
        }
        self.seal = None;
        self.is_seal_stored = false;
        self.flipped = self.flipped.filter(|record| *record < from);
    }
}

/// The disk, and who waits for something on it.
#[derive(Debug, Default)]
struct Disk {
    feeds: BTreeMap<Key, Feed>,
    watched: Vec<Key>,
}

impl Shelf for Disk {
    fn length(&self, key: Key) -> u64 {
        self.feeds.get(&key).map_or(0, Feed::count)
    }

    fn sealed(&self, key: Key) -> Option<Seal> {
        self.feeds.get(&key).and_then(Feed::seal)
    }

    /// Nothing is old enough in a run.
    fn is_purged(&self, _: Key, _: i64) -> bool {
        false
    }

    fn watched(&self) -> Vec<Key> {
        self.watched.clone()
    }
}

/// See the module's words.
pub(crate) struct Feeds {
    coordinator: CoordinatorId,
    disk: Disk,
    keeper: Keeper,
    /// What the keeper wants to be stored, in order: the first is being written.
    stores: VecDeque<Vec<(Key, Batch)>>,
    is_writing: bool,
    /// Who waits for an answer to a push.
    pushes: BTreeMap<Token, (ConnectionId, Fence, u64)>,
    next_push: u64,
    /// What others were asked for and did not answer yet.
    fetches: BTreeMap<u64, (Key, u64)>,
    next_fetch: u64,
    /// It has looked through the ledger since the process began, or took over another's.
    pub(crate) has_looked: bool,
}

// The disk.
impl Feeds {
    pub(crate) fn new(coordinator: CoordinatorId) -> Self {
        Self {
            coordinator,
            disk: Disk::default(),
            keeper: Keeper::new(),
            stores: VecDeque::new(),
            is_writing: false,
            pushes: BTreeMap::new(),
            next_push: 0,
            fetches: BTreeMap::new(),
            next_fetch: 0,
            has_looked: false,
        }
    }

    pub(crate) fn disk(&self) -> &BTreeMap<Key, Feed> {
        &self.disk.feeds
    }

    /// Begins to write what waits, if no write goes on and something does.
    pub(crate) fn begin(&mut self) -> bool {
        let begins = !self.is_writing && !self.stores.is_empty();
        self.is_writing |= begins;
        begins
    }

    /// The write has ended well, or nothing of it fitted.
    pub(crate) fn written(&mut self, stage: &mut Stage, fits: bool) {
        self.is_writing = false;
        let batches = self.stores.pop_front().unwrap_or_default();
        if !fits {
            return;
        }
        for (key, batch) in batches {
            self.append(stage, key, &batch);
        }
        for feed in self.disk.feeds.values_mut() {
            feed.is_seal_stored = feed.seal.is_some();
        }
    }

    fn append(&mut self, stage: &mut Stage, key: Key, batch: &Batch) {
        let feed = self.disk.feeds.entry(key).or_default();
        feed.frames.extend_from_slice(&batch.frames);
        feed.count += u64::from(batch.count);
        let coordinator = self.coordinator;
        stage.show(&Fact::Stored {
            coordinator,
            key,
            batch,
        });
    }

    /// Compares a feed with its seal, and closes it if it is what the seal says.
    pub(crate) fn seal(&mut self, stage: &mut Stage, key: Key, seal: Seal) -> bool {
        let feed = self.disk.feeds.entry(key).or_default();
        let found = feed.found();
        if feed.flipped.is_some() {
            stage.sometimes("a feed was found to be damaged when it was closed");
            return false;
        }
        if found != seal {
            let at = super::name(self.coordinator);
            let what = format!(
                "{} is sealed as {seal}, but it is {found} at {at}",
                words(key)
            );
            stage.checkers.violated("I-21", what);
            return false;
        }
        feed.seal = Some(seal);
        stage.sometimes("a feed was sealed");
        stage.show(&Fact::Sealed { key, seal });
        true
    }

    /// Forgets records of a feed.
    pub(crate) fn cut(&mut self, stage: &mut Stage, key: Key, from: u64) {
        self.disk.feeds.entry(key).or_default().cut(from);
        let coordinator = self.coordinator;
        stage.show(&Fact::Cut {
            coordinator,
            key,
            from,
        });
    }

    /// What there is of a feed, for another coordinator.
    ///
    /// # Errors
    /// The first record wanted whose checksum does not match.
    pub(crate) fn copies(&self, ledger: &Ledger, key: Key, from: u64) -> Result<Copies, u64> {
        let feed = self.disk.feeds.get(&key);
        let batch = feed.map_or(Ok(None), |feed| feed.read(from, FETCH_BYTES))?;
        let end = batch.as_ref().map_or(from, Batch::end_record);
        Ok(Copies {
            is_end: end >= feed.map_or(0, Feed::count),
            batches: batch.into_iter().collect(),
            is_closed: has_ended(ledger, key),
            absent_until_ms: 0,
        })
    }

    /// A bit of a feed changes.
    pub(crate) fn flip(&mut self, stage: &mut Stage, key: Key) {
        if let Some(feed) = self.disk.feeds.get_mut(&key) {
            let record = stage.chance.between(0..feed.count.max(1));
            feed.flipped = Some(record);
            let coordinator = self.coordinator;
            stage.show(&Fact::Flipped { coordinator, key });
        }
    }

    /// The first record of a feed whose checksum does not match.
    pub(crate) fn flipped(&self, key: Key) -> Option<u64> {
        self.disk.feeds.get(&key)?.flipped
    }

    /// Whether any is damaged.
    pub(crate) fn is_flipped(&self) -> bool {
        self.disk.feeds.values().any(|feed| feed.flipped.is_some())
    }

    /// The process is gone, and what was not written with it. Of the write that goes on a beginning may be there.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        let waiting: Vec<(Key, Batch)> = std::mem::take(&mut self.stores)
            .into_iter()
            .flatten()
            .collect();
        let writing = match std::mem::take(&mut self.is_writing) {
            true => waiting.len() as u64,
            false => 0,
        };
        let survive = stage.chance.between(0..writing + 1) as usize;
        if waiting.len() > survive {
            stage.sometimes("records were lost in a crash");
        }
        for (key, batch) in waiting.into_iter().take(survive) {
            self.append(stage, key, &batch);
        }
        for feed in self
            .disk
            .feeds
            .values_mut()
            .filter(|feed| !feed.is_seal_stored)
        {
            feed.seal = None;
        }
        self.keeper = Keeper::new();
        self.pushes.clear();
        self.fetches.clear();
        self.has_looked = false;
    }
}

// The keeper.
impl Feeds {
    /// Feeds that have ended and are not whole here, as far as the keeper knows.
    pub(crate) fn lacking(&self) -> usize {
        self.keeper.lacking()
    }

    /// Whether the keeper knows what of this ledger's feeds is not whole here.
    pub(crate) fn has_surveyed(&self, ledger: &Ledger) -> bool {
        self.keeper.has_surveyed(ledger)
    }

    /// Whether nobody has more of a feed that ended without a seal.
    pub(crate) fn is_settled(&self, key: Key) -> bool {
        self.keeper.is_settled(key)
    }

    pub(crate) fn waits_for_ledger(&self) -> bool {
        self.keeper.waits_for_ledger()
    }

    pub(crate) fn wakeup(&self) -> Option<u64> {
        self.keeper.poll_wakeup()
    }

    /// The feeds that somebody reads here.
    pub(crate) fn watch(&mut self, watched: Vec<Key>) {
        self.disk.watched = watched;
    }

    pub(crate) fn handle(&mut self, now_us: u64, ledger: &Ledger, input: FeedInput) {
        self.keeper.handle(now_us, ledger, &self.disk, input);
    }

    pub(crate) fn poll(&mut self, now_us: u64) -> Vec<FeedOutput> {
        self.keeper.poll(now_us)
    }

    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        self.keeper.check_invariants()
    }

    /// Somebody pushes and waits.
    pub(crate) fn pushed(&mut self, from: (ConnectionId, Fence), batch: Batch) -> FeedInput {
        self.next_push += 1;
        let push = Token(self.next_push);
        let (connection, fence) = from;
        self.pushes
            .insert(push, (connection, fence, batch.end_record()));
        FeedInput::Pushed {
            push,
            key: key(from.1),
            fence: feed::Fence(from.1.index),
            batch,
        }
    }

    /// Who is to be answered.
    pub(crate) fn answered(&mut self, push: Token) -> Option<(ConnectionId, Fence)> {
        let (connection, fence, _) = self.pushes.remove(&push)?;
        Some((connection, fence))
    }

    /// Records are to be stored.
    pub(crate) fn store(&mut self, batches: Vec<(Key, Batch)>) {
        self.stores.push_back(batches);
    }

    /// Another is asked; gives the number of the question.
    pub(crate) fn asked(&mut self, key: Key, member: u64) -> u64 {
        self.next_fetch += 1;
        self.fetches.insert(self.next_fetch, (key, member));
        self.next_fetch
    }

    /// An answer has come, or none has; nothing if that is no news.
    pub(crate) fn fetched(&mut self, fetch: u64, copies: Option<Copies>) -> Option<FeedInput> {
        let (key, member) = self.fetches.remove(&fetch)?;
        Some(FeedInput::Fetched {
            key,
            member,
            copies,
        })
    }
}

// Planted bugs.
impl Feeds {
    /// Stores a push as it comes.
    pub(crate) fn store_as_it_comes(&mut self, stage: &mut Stage, key: Key, batch: &Batch) -> u64 {
        self.append(stage, key, batch);
        self.disk.length(key)
    }

    /// How far a feed is on the disk, if a push brings nothing that another has not brought that waits.
    pub(crate) fn repeats(&self, of: Key, batch: &Batch) -> Option<u64> {
        let mut waiting = self.pushes.values();
        let is_on_its_way =
            waiting.any(|(_, fence, end)| key(*fence) == of && *end >= batch.end_record());
        is_on_its_way.then(|| self.disk.length(of))
    }

    /// Closes a feed whatever there is of it.
    pub(crate) fn close(&mut self, fence: &link::Fence, seal: Seal) {
        if let Ok(key) = Key::try_from(fence) {
            self.disk.feeds.entry(key).or_default().seal = Some(seal);
        }
    }
}

/// The feed that a fence may write.
pub(crate) fn key(fence: Fence) -> Key {
    Key {
        execution: fence.execution_id,
        attempt: fence.attempt,
    }
}

/// A feed in words.
pub(crate) fn words(key: Key) -> String {
    format!(
        "the log {}/{}",
        Uuid::from_bytes(key.execution),
        key.attempt
    )
}
