//! What everybody in a run shares: time, chance, the transcript, the checkers.

use std::collections::BTreeMap;
use std::fmt;

use ::coordinator::Refusal;
use ledger::Ledger;
use worker::Fence;

use crate::Bug;
use crate::census::Census;
use crate::chance::Chance;
use crate::checkers::{Checkers, Fact, Moment};
use crate::coordinator::{self, Disk, Key};
use crate::event::{CoordinatorId, Event};
use crate::machine::Blobs;
use crate::queue::Queue;
use crate::swarm::{SECOND, Swarm};
use crate::tally::Tally;
use crate::transcript::{Detail, Transcript};

/// Unix time at which every run begins, in microseconds.
const BEGINNING_US: u64 = 1_700_000_000_000_000;

/// See the module's words.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) queue: Queue<Event>,
    pub(crate) chance: Chance,
    pub(crate) swarm: Swarm,
    pub(crate) bug: Option<Bug>,
    pub(crate) transcript: Transcript,
    pub(crate) tally: Tally,
    pub(crate) checkers: Checkers,
    pub(crate) census: Census,
    pub(crate) blobs: Blobs,
    /// Where each member of the group is, by its raft id.
    pub(crate) members: BTreeMap<u64, CoordinatorId>,
    /// The same of all that ever were.
    pub(crate) places: BTreeMap<u64, CoordinatorId>,
    pub(crate) coordinator_count: usize,
    /// What the program of each member knows, by its raft id; empty where there are no upgrades.
    pub(crate) levels: BTreeMap<u64, u32>,
    /// Who reads a feed where, and until when that is known.
    readers: BTreeMap<(CoordinatorId, Key), u64>,
    /// The newest revision that anybody has published.
    newest: u64,
}

impl Stage {
    /// A stage on which nothing has happened.
    pub(crate) fn new(chance: Chance, swarm: Swarm, bug: Option<Bug>, detail: Detail) -> Self {
        let coordinator_count = swarm.coordinators;
        Self {
            queue: Queue::new(),
            chance,
            swarm,
            bug,
            transcript: Transcript::new(detail),
            tally: Tally::default(),
            checkers: Checkers::new(),
            census: Census::default(),
            blobs: Blobs::default(),
            members: BTreeMap::from([(1, 0)]),
            places: BTreeMap::from([(1, 0)]),
            coordinator_count,
            levels: BTreeMap::new(),
            readers: BTreeMap::new(),
            newest: 0,
        }
    }

    /// Who leads, as a refusal says it.
    pub(crate) fn leader_of(&self, refusal: &Refusal) -> Option<CoordinatorId> {
        let address = refusal.metadata.get("leader");
        let by_address = address.and_then(|address| coordinator::id_of(address));
        let id = refusal.metadata.get("leader_id");
        let by_id = id.and_then(|id| self.members.get(&id.parse().ok()?).copied());
        by_address.or(by_id)
    }

    /// Somebody waits for more of a feed at a coordinator.
    pub(crate) fn read(&mut self, coordinator: CoordinatorId, key: Key) {
        let until = self.now_us() + 2 * SECOND;
        self.readers.insert((coordinator, key), until);
    }

    /// The feeds that somebody reads at a coordinator.
    pub(crate) fn watched(&mut self, coordinator: CoordinatorId) -> Vec<Key> {
        let now = self.now_us();
        self.readers.retain(|_, until| *until > now);
        let at = |(reader, key): &(CoordinatorId, Key)| (*reader == coordinator).then_some(*key);
        self.readers.keys().filter_map(at).collect()
    }

    /// The newest revision that anybody has published.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// A coordinator publishes a ledger.
    pub(crate) fn publish(&mut self, coordinator: CoordinatorId, ledger: &Ledger, replay: &Disk) {
        let is_newest = ledger.revision() > self.newest;
        self.newest = self.newest.max(ledger.revision());
        self.show(&Fact::Published {
            coordinator,
            ledger,
            replay,
            is_newest,
        });
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.queue.now_us()
    }

    /// Unix time in microseconds on a clock that is wrong by `offset_us`.
    pub(crate) fn unix_us(&self, offset_us: i64) -> u64 {
        (BEGINNING_US + self.now_us()).saturating_add_signed(offset_us)
    }

    pub(crate) fn after(&mut self, delay_us: u64, event: Event) {
        self.queue.after(delay_us, event);
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Shows something to every checker.
    pub(crate) fn show(&mut self, fact: &Fact<'_>) {
        let moment = Moment {
            now_us: self.queue.now_us(),
            blobs: &self.blobs,
            members: &self.members,
        };
        self.checkers.see(&moment, fact);
        self.census.see(&mut self.tally, fact);
    }

    /// Counts that one of [`crate::SOMETIMES`] was come by.
    pub(crate) fn sometimes(&mut self, name: &'static str) {
        debug_assert!(
            crate::SOMETIMES.contains(&name),
            "{name} is not on the list"
        );
        *self.tally.sometimes.entry(name).or_default() += 1;
    }

    /// Writes what people want to know.
    pub(crate) fn news(&mut self, words: fmt::Arguments<'_>) {
        self.transcript
            .add(self.queue.now_us(), Detail::News, words);
    }

    /// Writes everything else.
    pub(crate) fn trace(&mut self, words: fmt::Arguments<'_>) {
        self.transcript
            .add(self.queue.now_us(), Detail::Everything, words);
    }

    /// Whether what a worker is about to do fails.
    pub(crate) fn has_trouble(&mut self) -> bool {
        let has_trouble = self.chance.permille(self.swarm.trouble);
        if has_trouble {
            self.sometimes("a worker had trouble of its own");
        }
        has_trouble
    }

    /// The way of a message, in microseconds.
    pub(crate) fn way_us(&mut self) -> u64 {
        self.chance.delay(20..self.swarm.network_us)
    }
}

/// The ledger's fence as workers and this crate key by it.
pub(crate) fn fence(fence: ledger::Fence) -> Fence {
    Fence {
        execution_id: *fence.execution_id.as_bytes(),
        attempt: fence.attempt,
        index: fence.index,
    }
}
