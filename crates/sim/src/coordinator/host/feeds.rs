//! The part of the process that keeps feeds: a loop of its own around the keeper, as in the real one.

use contract::link;
use coordinator::feeds::{FeedInput, FeedOutput, PushAnswer};
use feed::{Batch, Seal};
use worker::Fence;

use super::Host;
use crate::Bug;
use crate::checkers::Fact;
use crate::coordinator::{Key, key};
use crate::event::{ConnectionId, CoordinatorId, Event, Life, Message, OnCoordinator};
use crate::stage::Stage;
use crate::swarm::SECOND;
use crate::wires::Wires;

/// How often the keeper looks at the ledger by itself.
const TICK_US: u64 = SECOND / 4;
/// How long another coordinator is waited for.
const PATIENCE_US: u64 = 10 * SECOND;

/// A question of one coordinator to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch {
    /// Who asks.
    pub(crate) by: CoordinatorId,
    /// In which life.
    life: Life,
    number: u64,
    key: Key,
    from: u64,
}

impl Host {
    /// What of a feed there is has changed, or may have.
    pub(super) fn feed(&mut self, stage: &mut Stage, wires: &mut Wires, input: FeedInput) {
        let now = self.now(stage).monotonic_us;
        self.feeds.handle(now, &self.published, input);
        self.settle_feeds(stage, wires);
    }

    /// The keeper looks at the ledger.
    pub(super) fn feed_tick(&mut self, stage: &mut Stage, wires: &mut Wires) {
        self.feeds.watch(stage.watched(self.id));
        self.feed(stage, wires, FeedInput::Tick);
        let is_first = !std::mem::replace(&mut self.feeds.has_looked, true);
        if is_first && self.feeds.lacking() > 0 {
            stage.sometimes("a seal was said again");
        }
    }

    /// It does so again and again.
    pub(super) fn feed_clock(&mut self, stage: &mut Stage, wires: &mut Wires) {
        let delay = TICK_US * 1_000 / self.rate;
        self.plan(stage, delay, OnCoordinator::FeedTick);
        self.feed_tick(stage, wires);
    }

    /// Does what the keeper asks for until it asks for nothing more.
    fn settle_feeds(&mut self, stage: &mut Stage, wires: &mut Wires) {
        let now = self.now(stage).monotonic_us;
        loop {
            let outputs = self.feeds.poll(now);
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                stage.trace(format_args!("c{} feeds: {output}", self.id + 1));
                self.keep(stage, wires, now, output);
            }
        }
        if let Err(what) = self.feeds.check_invariants() {
            stage.checkers.violated("I-21", what);
        }
        self.write_feeds(stage);
        if let Some(due) = self.feeds.wakeup()
            && self.feeds_wake_us.is_none_or(|planned| due < planned)
        {
            self.feeds_wake_us = Some(due);
            let delay = due.saturating_sub(now) * 1_000 / self.rate;
            self.plan(stage, delay + 1, OnCoordinator::FeedWake);
        }
    }

    fn keep(&mut self, stage: &mut Stage, wires: &mut Wires, now: u64, output: FeedOutput) {
        match output {
            FeedOutput::Store(batches) => {
                self.feeds.store(batches);
                if stage.has(Bug::AckRecordsBeforeStored) {
                    let stored = FeedInput::Stored { fits: true };
                    self.feeds.handle(now, &self.published, stored);
                }
            }
            FeedOutput::Answer { push, answer } => {
                if let Some(from) = self.feeds.answered(push) {
                    self.answer_push(stage, wires, from, answer);
                }
            }
            // Readers look for themselves.
            FeedOutput::Show(key) => {
                if self.feeds.is_settled(key) {
                    stage.sometimes("a feed without a seal came to its end");
                }
            }
            FeedOutput::Seal { key, seal } => {
                let is_whole = self.feeds.seal(stage, key, seal);
                let checked = FeedInput::Checked { key, is_whole };
                self.feeds.handle(now, &self.published, checked);
            }
            FeedOutput::Cut { key, from } => self.feeds.cut(stage, key, from),
            FeedOutput::Fetch { key, from, member } => {
                let number = self.feeds.asked(key, member);
                let patience = PATIENCE_US * 1_000 / self.rate;
                self.plan(stage, patience, OnCoordinator::FetchOver(number));
                let fetch = Fetch {
                    by: self.id,
                    life: self.life,
                    number,
                    key,
                    from,
                };
                let to = stage.places.get(&member).copied();
                match to.filter(|to| wires.peers.is_open(stage, self.id, *to)) {
                    Some(to) if !self.is_fetch_lost(stage) => {
                        let way = stage.way_us();
                        let asked = OnCoordinator::Asked(fetch);
                        stage.after(way, Event::ToCoordinator(to, asked));
                    }
                    // A connection that is refused, or is given up.
                    _ => {
                        let late = stage.chance.delay(100..2 * SECOND);
                        self.plan(stage, late, OnCoordinator::FetchOver(number));
                    }
                }
            }
            // Nothing is old enough in a run.
            FeedOutput::Purge { .. } | FeedOutput::GiveUp { .. } => {}
        }
    }

    fn is_fetch_lost(&self, stage: &mut Stage) -> bool {
        stage.chance.permille(stage.swarm.peers.loss)
    }

    /// Another coordinator asks.
    pub(super) fn asked(&mut self, stage: &mut Stage, wires: &Wires, fetch: Fetch) {
        let Fetch {
            by,
            life,
            number,
            key,
            from,
        } = fetch;
        if !wires.peers.is_open(stage, self.id, by) || self.is_fetch_lost(stage) {
            return;
        }
        let way = stage.way_us();
        let given = match self.feeds.copies(&self.published, key, from) {
            Ok(copies) => OnCoordinator::Given(number, Box::new(copies)),
            Err(record) => {
                self.plan(stage, 0, OnCoordinator::Damaged(key, record));
                OnCoordinator::FetchOver(number)
            }
        };
        stage.after(way, Event::Coordinator(by, life, given));
    }

    /// Somebody has come upon a record whose checksum does not match.
    pub(super) fn damaged(&mut self, stage: &mut Stage, wires: &mut Wires, key: Key, record: u64) {
        if self.feeds.flipped(key) == Some(record) {
            stage.sometimes("a damaged record was found");
            self.feed(stage, wires, FeedInput::Damaged { key, record });
        }
    }

    /// Another coordinator has answered, or does not.
    pub(super) fn fetched(
        &mut self,
        stage: &mut Stage,
        wires: &mut Wires,
        number: u64,
        copies: Option<Box<coordinator::feeds::Copies>>,
    ) {
        if copies
            .as_ref()
            .is_some_and(|copies| !copies.batches.is_empty())
        {
            stage.sometimes("a coordinator got records from another");
        }
        if let Some(input) = self.feeds.fetched(number, copies.map(|copies| *copies)) {
            self.feed(stage, wires, input);
        }
    }

    /// A worker pushes records.
    pub(super) fn push(
        &mut self,
        stage: &mut Stage,
        wires: &mut Wires,
        from: (ConnectionId, Fence),
        batch: Batch,
    ) {
        if !self.pipes.contains(&from.0) {
            return;
        }
        if std::mem::take(&mut wires.network.cuts_at_push) {
            wires.network.cut(stage, from.0);
        }
        let feed = key(from.1);
        if stage.has(Bug::StoreEveryPush) {
            let next = self.feeds.store_as_it_comes(stage, feed, &batch);
            return self.answer_push(stage, wires, from, PushAnswer::Stored(next));
        }
        if stage.has(Bug::AnswerRepeatsAtOnce)
            && let Some(next) = self.feeds.repeats(feed, &batch)
        {
            return self.answer_push(stage, wires, from, PushAnswer::Stored(next));
        }
        let pushed = self.feeds.pushed(from, batch);
        self.feed(stage, wires, pushed);
        if self.feeds.waits_for_ledger() {
            stage.sometimes("a push waited for the ledger");
        }
    }

    /// Tells a worker what became of a push.
    fn answer_push(
        &self,
        stage: &mut Stage,
        wires: &mut Wires,
        (connection, fence): (ConnectionId, Fence),
        answer: PushAnswer,
    ) {
        let next = match answer {
            PushAnswer::Stored(next) => Some(next),
            PushAnswer::Refused => {
                stage.sometimes("a push was refused");
                None
            }
            PushAnswer::Corrupt(error) => {
                let what = format!("a push of {fence} is corrupt: {error}");
                stage.checkers.violated("I-21", what);
                None
            }
            PushAnswer::Full => {
                stage.sometimes("records did not fit on a disk");
                return wires.network.cut(stage, connection);
            }
        };
        if let Some(next) = next {
            stage.show(&Fact::Promised {
                coordinator: self.id,
                key: key(fence),
                next,
            });
        }
        let stored = Message::Stored(fence, next);
        wires.network.send(stage, connection, stored);
    }

    /// A feed is complete: a majority has stored every record of it. It need not be this one.
    pub(super) fn seal_feed(
        &mut self,
        stage: &mut Stage,
        wires: &mut Wires,
        fence: &link::Fence,
        seal: Seal,
    ) {
        if stage.has(Bug::SealBeforeRecords) {
            return self.feeds.close(fence, seal);
        }
        let Ok(key) = Key::try_from(fence) else {
            return;
        };
        let count = self.feeds().get(&key).map_or(0, |feed| feed.count());
        if count < seal.record_count {
            stage.sometimes("a seal came before its records");
        }
        self.feed(stage, wires, FeedInput::Sealed { key, seal });
    }
}
