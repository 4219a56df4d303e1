//! A coordinator's host: a process around the real mind, with a disk that outlives it.

mod feeds;
mod inbound;
mod outbound;
mod planted;

use std::collections::{BTreeMap, BTreeSet};

use coordinator::{Config, Coordinator, Recovered, Token};
use ledger::{Knows, Ledger};
use prost::Message as _;

use super::disk::Disk;
use super::feeds::{Feed, Feeds, Key};
use super::{GRACE_MS, name};
pub(crate) use feeds::Fetch;

use crate::Bug;
use crate::checkers::Fact;
use crate::clients::{OpId, ReadId};
use crate::event::{ConnectionId, CoordinatorId, Event, Life, OnCoordinator, Recovery};
use crate::stage::Stage;
use crate::swarm::{NEWEST_LEVEL, SECOND};

/// Raft's clock.
const TICK_US: u64 = coordinator::TICK_MS * 1_000;
/// How long a caller waits for an answer at most, whatever is wrong (I-11), and some time for the loop to take its turn.
const ANSWER_US: u64 = 5 * SECOND + SECOND / 2;

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
enum Waiter {
    Op(OpId),
    Read(ReadId),
}

/// Whether a coordinator belongs to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does, or is about to.
    Member,
    /// Its disk was lost, or is not what it was: it does not start under its old id.
    Lost,
    /// It was removed for good.
    Removed,
}

/// See the module's words.
pub(crate) struct Host {
    id: CoordinatorId,
    member_id: u64,
    standing: Standing,
    mind: Option<Coordinator>,
    life: Life,
    disk: Disk,
    feeds: Feeds,
    /// What readers see: the ledger as it was published last.
    published: Ledger,
    sessions: BTreeSet<ConnectionId>,
    pipes: BTreeSet<ConnectionId>,
    /// Who waits for an answer.
    waiting: BTreeMap<Token, Waiter>,
    next_token: u64,
    is_polling: bool,
    /// When the keeper of feeds is to be woken.
    feeds_wake_us: Option<u64>,
    /// A snapshot of another is being taken over.
    is_installing: bool,
    disk_factor: u64,
    /// Until when its disk is full.
    full_until: u64,
    /// When its process went on last after it had stood still.
    resumed_us: u64,
    /// It crashes while its disk writes the next time: the moment that matters most and is the hardest to hit.
    pub(crate) crashes_at_write: bool,
    /// What happens while its process stands still, in order; none while it runs.
    parked: Option<Vec<OnCoordinator>>,
    /// How far its clock is off.
    pub(crate) clock_us: i64,
    /// How fast its clocks go, in thousandths.
    pub(crate) rate: u64,
    /// The highest feature level that its program knows.
    pub(crate) level: u32,
    /// What others have said that they know.
    told: BTreeMap<u64, u32>,
    born_us: u64,
}

// What others see of it.
impl Host {
    /// One that founds a group by itself.
    pub(crate) fn founding() -> Self {
        Self::new(0, 1, Recovered::founding(&[1]))
    }

    /// A machine for a coordinator, which is not one yet.
    pub(crate) fn spare(id: CoordinatorId) -> Self {
        let mut spare = Self::new(id, 0, Recovered::default());
        spare.standing = Standing::Removed;
        spare
    }

    fn new(id: CoordinatorId, member_id: u64, log: Recovered) -> Self {
        Self {
            id,
            member_id,
            standing: Standing::Member,
            mind: None,
            life: 0,
            disk: Disk::new(log),
            feeds: Feeds::new(id),
            published: Ledger::new(),
            sessions: BTreeSet::new(),
            pipes: BTreeSet::new(),
            waiting: BTreeMap::new(),
            next_token: 0,
            is_polling: false,
            feeds_wake_us: None,
            is_installing: false,
            disk_factor: 1,
            full_until: 0,
            resumed_us: 0,
            crashes_at_write: false,
            parked: None,
            clock_us: 0,
            rate: 1_000,
            level: 1,
            told: BTreeMap::new(),
            born_us: 0,
        }
    }

    /// Which of its lives this is.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    pub(crate) fn name(&self) -> String {
        name(self.id)
    }

    /// Its raft id.
    pub(crate) fn member_id(&self) -> u64 {
        self.member_id
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    pub(crate) fn is_up(&self) -> bool {
        self.mind.is_some()
    }

    /// Whether somebody who asks is answered.
    pub(crate) fn answers(&self) -> bool {
        self.is_up() && self.parked.is_none()
    }

    /// Its mind, while its process runs.
    pub(crate) fn mind(&self) -> Option<&Coordinator> {
        self.mind.as_ref()
    }

    /// Whether it believes to lead.
    pub(crate) fn leads(&self) -> bool {
        self.mind.as_ref().is_some_and(|mind| mind.group().leads())
    }

    /// The ledger that readers get; none while there is nobody to ask.
    pub(crate) fn readable(&self) -> Option<&Ledger> {
        self.answers().then_some(&self.published)
    }

    /// The ledger as published last, whoever may read it.
    pub(crate) fn published(&self) -> &Ledger {
        &self.published
    }

    /// The feeds on its disk.
    pub(crate) fn feeds(&self) -> &BTreeMap<Key, Feed> {
        self.feeds.disk()
    }

    /// What it lacks of the feeds that have ended, in words.
    pub(crate) fn lacks(&self) -> Option<String> {
        let lacking = self.feeds.lacking();
        let name = name(self.id);
        match (self.feeds.has_looked, lacking) {
            (false, _) => Some(format!("{name} does not know what it lacks of feeds")),
            (true, 0) => None,
            (true, lacking) => Some(format!("{name} lacks records of {lacking} feeds")),
        }
    }

    /// Whether it has looked through its newest ledger for feeds that it lacks. It does so with each tick, and lags by one at the most.
    pub(crate) fn has_surveyed(&self) -> bool {
        self.feeds.has_surveyed(&self.published)
    }

    /// Whether a feed that ended without a seal is as long here as it will ever be.
    pub(crate) fn is_settled(&self, key: Key) -> bool {
        self.feeds.is_settled(key)
    }
}

// Its life.
impl Host {
    /// Its disk takes so many times as long.
    pub(crate) fn slow_down(&mut self, factor: u64) {
        self.disk_factor = factor;
    }

    /// Whether somebody has a copy of its disk.
    pub(crate) fn has_copy(&self) -> bool {
        self.disk.has_copy()
    }

    /// Somebody copies its disk.
    pub(crate) fn copy_disk(&mut self) {
        self.disk.take_copy();
    }

    /// A bit of its log, or of its snapshot, changes. False when there is none yet.
    pub(crate) fn flip_log(&mut self, stage: &mut Stage) -> bool {
        self.disk.flip(stage)
    }

    /// A bit of a feed changes.
    pub(crate) fn flip_feed(&mut self, stage: &mut Stage, key: Key) {
        self.feeds.flip(stage, key);
    }

    /// The record of a feed in which a bit is wrong.
    pub(crate) fn flipped(&self, key: Key) -> Option<u64> {
        self.feeds.flipped(key)
    }

    /// Whether something on its disk is not what was written.
    pub(crate) fn is_flipped(&self) -> bool {
        self.disk.is_flipped() || self.feeds.is_flipped()
    }

    /// All that was on its disk is gone, or is what it was when somebody copied it. It is down.
    pub(crate) fn lose_disk(&mut self, stage: &mut Stage, is_put_back: bool) {
        let coordinator = self.id;
        self.standing = Standing::Lost;
        if is_put_back {
            stage.sometimes("a disk was put back to an old copy");
            stage.news(format_args!("{} has an old disk", name(self.id)));
            let has_copy = self.disk.put_back();
            if has_copy && stage.has(Bug::RollBackUnnoticed) {
                self.standing = Standing::Member;
            }
            return;
        }
        stage.sometimes("a disk was lost");
        stage.news(format_args!("{} lost its disk", name(self.id)));
        self.disk = Disk::new(Recovered::default());
        self.feeds = Feeds::new(self.id);
        self.published = Ledger::new();
        stage.show(&Fact::DiskLost { coordinator });
        if stage.has(Bug::RejoinWithOldId) {
            self.standing = Standing::Member;
        }
    }

    /// It was admitted under a new id: it begins with nothing.
    pub(crate) fn join(&mut self, stage: &mut Stage, member_id: u64) {
        let coordinator = self.id;
        self.crash(stage);
        stage.show(&Fact::DiskLost { coordinator });
        let (life, rate, clock_us) = (self.life, self.rate, self.clock_us);
        let level = self.level;
        *self = Self::new(self.id, member_id, Recovered::default());
        (self.life, self.rate, self.clock_us) = (life, rate, clock_us);
        self.level = level;
        stage.news(format_args!(
            "{} joins as member {member_id}",
            name(self.id)
        ));
        self.start(stage);
    }

    /// It was removed for good.
    pub(crate) fn retire(&mut self, stage: &mut Stage) {
        stage.news(format_args!("{} is removed", name(self.id)));
        self.crash(stage);
        self.standing = Standing::Removed;
    }

    /// Its disk is full for so long: whatever is written fails, and ends the process.
    pub(crate) fn fill_disk(&mut self, stage: &mut Stage, for_us: u64) {
        stage.news(format_args!("the disk of {} is full", name(self.id)));
        self.full_until = stage.now_us() + for_us;
    }

    /// Nothing is wrong with it any more.
    pub(crate) fn heal(&mut self, stage: &mut Stage) {
        self.disk_factor = 1;
        self.full_until = 0;
        self.crashes_at_write = false;
        if self.rate != 1_000 {
            // Whoever waits was promised an answer by a clock that went faster.
            self.resumed_us = stage.now_us();
        }
        self.rate = 1_000;
        self.resume(stage);
        self.start(stage);
    }

    /// What its program knows: nothing where nobody looks at that.
    fn knows(&mut self, stage: &mut Stage, needed: u32) -> Knows {
        if !stage.swarm.upgrades {
            self.level = NEWEST_LEVEL;
        }
        if needed > self.level && !stage.has(Bug::HideOldProgram) {
            stage.sometimes("an older program refused to start");
            self.level = NEWEST_LEVEL;
        }
        self.told.clear();
        let level = match stage.swarm.has_levels() {
            true => self.level,
            false => 0,
        };
        if level > 0 {
            stage.levels.insert(self.member_id, level);
            let coordinator = self.id;
            stage.show(&Fact::Installed { coordinator, level });
        }
        let level = match level > 0 && stage.has(Bug::HideOldProgram) {
            true => level.max(NEWEST_LEVEL),
            false => level,
        };
        Knows {
            level,
            version: "simulated".into(),
        }
    }

    /// Starts the process from what its disk holds.
    pub(crate) fn start(&mut self, stage: &mut Stage) {
        if self.mind.is_some() || self.standing != Standing::Member {
            return;
        }
        if self.disk.is_flipped() {
            if !stage.has(Bug::IgnoreFlippedBits) {
                stage.sometimes("damage was found at a start");
                stage.news(format_args!("the disk of {} is damaged", name(self.id)));
                self.standing = Standing::Lost;
                return stage.after(1, Event::Recover(Recovery::Replace(self.id)));
            }
            self.disk.read_flipped();
        }
        self.life += 1;
        self.born_us = stage.now_us();
        let (found, snapshot) = self.disk.recover();
        let replays = found.entries.iter().any(|entry| !entry.data.is_empty());
        let ledger = match snapshot {
            [] => Ok(Ledger::new()),
            bytes => restore(bytes),
        };
        let needed = ledger.as_ref().map_or(0, Ledger::feature_level);
        let config = Config {
            member_id: self.member_id,
            cluster_id: "5e3c1a52-0000-4000-8000-000000000001".to_owned(),
            address: name(self.id),
            knows: self.knows(stage, needed),
            seed: stage.chance.between(0..u64::MAX),
            snapshot_entries: stage.swarm.snapshot_entries,
            lost_after_us: stage.swarm.lost_after_us,
            stop_grace_ms: GRACE_MS,
            on_disconnect: coordinator::OnDisconnect::KeepRunning,
        };
        let mind = ledger.and_then(|ledger| {
            self.published = ledger.clone();
            Coordinator::new(config, found, ledger).map_err(|error| error.to_string())
        });
        match mind {
            Ok(mind) => self.mind = Some(mind),
            Err(error) => {
                let what = format!("{} does not start: {error}", name(self.id));
                return stage.checkers.violated("I-12", what);
            }
        }
        if self.life > 1 {
            stage.news(format_args!(
                "{} starts again at revision {}",
                name(self.id),
                self.published.revision()
            ));
            if replays {
                stage.sometimes("a coordinator replayed its log");
            }
            if self.published.revision() > 0 {
                stage.sometimes("a coordinator started from a snapshot");
            }
        }
        self.plan(stage, self.tick_us(), OnCoordinator::Tick);
        self.poll_soon(stage);
        self.plan(stage, 0, OnCoordinator::FeedTick);
    }

    /// The process ends, at whatever point it is.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        if self.mind.take().is_none() {
            return;
        }
        stage.news(format_args!("{} crashes", name(self.id)));
        if !self.waiting.is_empty() {
            stage.sometimes("a request was lost in a crash");
        }
        self.life += 1;
        self.is_polling = false;
        self.feeds_wake_us = None;
        self.is_installing = false;
        self.parked = None;
        self.waiting.clear();
        self.sessions.clear();
        self.pipes.clear();
        self.disk.crash(stage);
        self.feeds.crash(stage);
    }

    /// The process stands still: nothing is lost, nothing happens.
    pub(crate) fn pause(&mut self, stage: &mut Stage) -> bool {
        if self.mind.is_none() || self.parked.is_some() {
            return false;
        }
        if self.leads() {
            stage.sometimes("a leader stood still");
        }
        stage.news(format_args!("{} stands still", name(self.id)));
        self.parked = Some(Vec::new());
        true
    }

    /// The process goes on, with all that has come meanwhile.
    pub(crate) fn resume(&mut self, stage: &mut Stage) {
        let Some(parked) = self.parked.take() else {
            return;
        };
        stage.news(format_args!("{} goes on", name(self.id)));
        self.resumed_us = stage.now_us();
        for event in parked {
            self.plan(stage, 0, event);
        }
    }

    fn plan(&self, stage: &mut Stage, delay_us: u64, event: OnCoordinator) {
        stage.after(delay_us, Event::Coordinator(self.id, self.life, event));
    }

    fn tick_us(&self) -> u64 {
        TICK_US * 1_000 / self.rate
    }
}

fn restore(bytes: &[u8]) -> Result<Ledger, String> {
    let snapshot = contract::ledger::Snapshot::decode(bytes).map_err(|error| error.to_string())?;
    Ledger::restore(snapshot).map_err(|error| error.to_string())
}
