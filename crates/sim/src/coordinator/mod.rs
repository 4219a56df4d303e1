//! The coordinator's host: a process around the real mind, with a disk that outlives it.

mod disk;
mod feeds;

use std::collections::{BTreeMap, BTreeSet};

use contract::link::SynchronizeRequest;
use coordinator::{Base, Config, Coordinator, Input, Now, Output, SessionId, Token};
use feed::Batch;
use ledger::Ledger;
use prost::Message as _;
use worker::Fence;

pub(crate) use disk::{Disk, Stored};
pub(crate) use feeds::{Feed, Key, key};

use crate::Bug;
use crate::checkers::Fact;
use crate::clients::{OpId, Ops};
use crate::event::{ConnectionId, Event, Life, Message, OnClient, OnCoordinator};
use crate::network::Network;
use crate::stage::Stage;
use crate::swarm::SECOND;

/// Raft's clock.
const TICK_US: u64 = coordinator::TICK_MS * 1_000;
/// Time between a program's first signal and its kill.
pub(crate) const GRACE_MS: u64 = 2_000;

/// See the module's words.
pub(crate) struct CoordinatorHost {
    mind: Option<Coordinator>,
    life: Life,
    disk: disk::Disk,
    feeds: feeds::Feeds,
    /// What readers see: the ledger as it was published last.
    published: Ledger,
    sessions: BTreeSet<ConnectionId>,
    /// Who waits for an answer.
    waiting: BTreeMap<Token, OpId>,
    next_token: u64,
    is_polling: bool,
    disk_factor: u64,
    /// It crashes while its disk writes the next time: the moment that matters most and is the hardest to hit.
    pub(crate) crashes_at_write: bool,
    /// How far its clock is off.
    pub(crate) clock_us: i64,
    born_us: u64,
}

impl CoordinatorHost {
    pub(crate) fn new() -> Self {
        Self {
            mind: None,
            life: 0,
            disk: disk::Disk::founding(),
            feeds: feeds::Feeds::default(),
            published: Ledger::new(),
            sessions: BTreeSet::new(),
            waiting: BTreeMap::new(),
            next_token: 0,
            is_polling: false,
            disk_factor: 1,
            crashes_at_write: false,
            clock_us: 0,
            born_us: 0,
        }
    }

    /// Which of its lives this is.
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    pub(crate) fn is_up(&self) -> bool {
        self.mind.is_some()
    }

    /// The ledger that readers get; none while there is nobody to ask, or when the answer could be an old one.
    pub(crate) fn readable(&self) -> Option<&Ledger> {
        self.mind
            .as_ref()
            .filter(|mind| mind.is_ready())
            .map(|_| &self.published)
    }

    /// The ledger as published last, whoever may read it.
    pub(crate) fn published(&self) -> &Ledger {
        &self.published
    }

    pub(crate) fn feeds(&self) -> &BTreeMap<Key, Feed> {
        self.feeds.disk()
    }

    /// Its disk takes so many times as long.
    pub(crate) fn slow_down(&mut self, factor: u64) {
        self.disk_factor = factor;
    }

    /// Starts the process from what its disk holds.
    pub(crate) fn start(&mut self, stage: &mut Stage) {
        if self.mind.is_some() {
            return;
        }
        self.life += 1;
        self.born_us = stage.now_us();
        let (found, snapshot) = self.disk.recover();
        let replays = found.entries.iter().any(|entry| !entry.data.is_empty());
        let ledger = match snapshot {
            [] => Ok(Ledger::new()),
            bytes => restore(bytes),
        };
        let config = Config {
            member_id: 1,
            cluster_id: "5e3c1a52-0000-4000-8000-000000000001".to_owned(),
            address: "c1".to_owned(),
            seed: self.life,
            snapshot_entries: stage.swarm.snapshot_entries,
            lost_after_us: stage.swarm.lost_after_us,
            stop_grace_ms: GRACE_MS,
            on_disconnect: coordinator::OnDisconnect::KeepRunning,
        };
        let mind = ledger.and_then(|ledger| {
            self.feeds.seal_again(stage, &ledger);
            self.published = ledger.clone();
            Coordinator::new(config, found, ledger).map_err(|error| error.to_string())
        });
        match mind {
            Ok(mind) => self.mind = Some(mind),
            Err(error) => {
                return stage
                    .checkers
                    .violated("I-12", format!("the coordinator does not start: {error}"));
            }
        }
        if self.life > 1 {
            stage.news(format_args!(
                "c1 starts again at revision {}",
                self.published.revision()
            ));
            if replays {
                stage.sometimes("a coordinator replayed its log");
            }
            if self.published.revision() > 0 {
                stage.sometimes("a coordinator started from a snapshot");
            }
        }
        stage.after(TICK_US, Event::Coordinator(self.life, OnCoordinator::Tick));
        self.poll_soon(stage);
    }

    /// The process ends, at whatever point it is.
    pub(crate) fn crash(&mut self, stage: &mut Stage) {
        if self.mind.take().is_none() {
            return;
        }
        stage.news(format_args!("c1 crashes"));
        if !self.waiting.is_empty() {
            stage.sometimes("a request was lost in a crash");
        }
        self.life += 1;
        self.is_polling = false;
        self.waiting.clear();
        self.sessions.clear();
        self.disk.crash(stage);
        self.feeds.crash(stage);
    }

    pub(crate) fn open(&mut self, connection: ConnectionId) {
        self.sessions.insert(connection);
    }

    pub(crate) fn gone(&mut self, stage: &mut Stage, connection: ConnectionId) {
        if self.sessions.remove(&connection) {
            self.handle(
                stage,
                Input::WorkerGone {
                    session: SessionId(connection),
                },
            );
        }
    }

    pub(crate) fn state(
        &mut self,
        stage: &mut Stage,
        connection: ConnectionId,
        state: Box<SynchronizeRequest>,
    ) {
        // What was said to a process before this one is not heard.
        if self.sessions.contains(&connection) {
            self.handle(
                stage,
                Input::WorkerState {
                    session: SessionId(connection),
                    state,
                },
            );
        }
    }

    pub(crate) fn push(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        from: (ConnectionId, Fence),
        batch: Batch,
    ) {
        if !self.sessions.contains(&from.0) {
            return;
        }
        if std::mem::take(&mut network.cuts_at_push) {
            network.cut(stage, from.0);
        }
        if let Some((connection, fence, next)) =
            self.feeds.push(stage, &self.published, from, batch)
        {
            network.send(stage, connection, Message::Stored(fence, next));
        }
        self.write_feeds(stage);
    }

    /// Something happens in the process.
    pub(crate) fn on(
        &mut self,
        stage: &mut Stage,
        network: &mut Network,
        ops: &Ops,
        life: Life,
        event: OnCoordinator,
    ) {
        if life != self.life || self.mind.is_none() {
            return;
        }
        match event {
            OnCoordinator::Tick => {
                stage.after(TICK_US, Event::Coordinator(self.life, OnCoordinator::Tick));
                self.handle(stage, Input::Tick);
            }
            OnCoordinator::Poll => {
                self.is_polling = false;
                self.poll(stage, network, ops);
            }
            OnCoordinator::Stored => {
                let (number, count) = self.disk.written();
                if count > 1 {
                    stage.sometimes("several batches were stored together");
                }
                self.handle(stage, Input::Persisted { number });
                self.write(stage);
            }
            OnCoordinator::FeedsStored => {
                for (connection, fence, next) in self.feeds.written(stage) {
                    network.send(stage, connection, Message::Stored(fence, next));
                }
                self.write_feeds(stage);
            }
            OnCoordinator::SnapshotStored(stored) => {
                let index = stored.base.index;
                self.disk.store_snapshot(*stored);
                self.handle(stage, Input::SnapshotStored { index });
            }
            OnCoordinator::Request(op) => {
                let Some(request) = ops.request(op) else {
                    return;
                };
                self.next_token += 1;
                let token = Token(self.next_token);
                self.waiting.insert(token, op);
                self.handle(
                    stage,
                    Input::Request {
                        token,
                        request: Box::new(request.clone()),
                    },
                );
            }
        }
    }

    fn now(&self, stage: &Stage) -> Now {
        let unix_ms = (stage.unix_us(self.clock_us) / 1_000) as i64;
        Now {
            unix_ms,
            monotonic_us: stage.now_us() - self.born_us,
        }
    }

    fn handle(&mut self, stage: &mut Stage, input: Input) {
        let now = self.now(stage);
        if let Some(mind) = &mut self.mind {
            mind.handle(now, input);
            self.poll_soon(stage);
        }
    }

    /// The loop takes its turn when it has gathered what came meanwhile.
    fn poll_soon(&mut self, stage: &mut Stage) {
        if !self.is_polling {
            self.is_polling = true;
            let delay = stage.chance.delay(1..500);
            stage.after(delay, Event::Coordinator(self.life, OnCoordinator::Poll));
        }
    }

    fn poll(&mut self, stage: &mut Stage, network: &mut Network, ops: &Ops) {
        let now = self.now(stage);
        let outputs = self
            .mind
            .as_mut()
            .map(|mind| mind.poll(now))
            .unwrap_or_default();
        if !outputs.is_empty() {
            self.poll_soon(stage);
        }
        for output in outputs {
            stage.trace(format_args!("c1 {output}"));
            self.perform(stage, network, ops, output);
        }
    }

    fn perform(&mut self, stage: &mut Stage, network: &mut Network, ops: &Ops, output: Output) {
        match output {
            Output::Persist(batch) => {
                let number = batch.number;
                if self.disk.hand_over(batch) {
                    self.begin_write(stage);
                }
                if stage.has(Bug::AckBeforeStored) {
                    self.handle(stage, Input::Persisted { number });
                }
            }
            Output::Publish(ledger) => {
                stage.show(&Fact::Published {
                    ledger: &ledger,
                    replay: &self.disk,
                });
                self.published = ledger;
            }
            Output::Reply { token, result } => {
                let Some(op) = self.waiting.remove(&token) else {
                    return stage
                        .checkers
                        .violated("I-01", format!("token {} is answered twice", token.0));
                };
                if let Some(request) = ops.request(op) {
                    stage.show(&Fact::Answered {
                        op,
                        request,
                        result: &result,
                        ledger: &self.published,
                    });
                }
                if !stage.chance.permille(stage.swarm.loss) {
                    let way = stage.way_us();
                    stage.after(way, Event::Client(OnClient::Answered(op, result)));
                }
            }
            Output::Desired { session, desired } => {
                if stage.has(Bug::DuplicateFence)
                    && let Some(other) = self
                        .sessions
                        .iter()
                        .copied()
                        .find(|other| *other != session.0)
                {
                    network.send(stage, other, Message::Desired(Box::new(desired.clone())));
                }
                network.send(stage, session.0, Message::Desired(Box::new(desired)));
            }
            Output::EndSession { session, .. } => {
                self.sessions.remove(&session.0);
                network.cut(stage, session.0);
            }
            Output::SealFeed { fence, seal } => {
                self.feeds.seal(stage, &fence, seal);
            }
            Output::StoreSnapshot {
                index,
                term,
                members,
                ledger,
            } => {
                let stored = Stored {
                    base: Base {
                        index,
                        term,
                        members,
                    },
                    ledger: ledger.snapshot().encode_to_vec(),
                };
                let delay = self.disk_delay_us(stage) * 3;
                let event = OnCoordinator::SnapshotStored(Box::new(stored));
                stage.after(delay, Event::Coordinator(self.life, event));
            }
            Output::CompactLog { index } => {
                stage.sometimes("the log was compacted");
                self.disk.compact(index);
            }
            Output::Members(_) => {}
            Output::PeerRefused { member, why } => stage
                .checkers
                .violated("I-25", format!("member {member} was refused: {why}")),
            Output::Halt { why } => stage.checkers.violated("I-04", why),
            Output::Fresh { token, .. } => stage
                .checkers
                .violated("I-03", format!("nobody asked for read {}", token.0)),
            Output::SendSnapshot { message } => stage
                .checkers
                .violated("I-04", format!("a snapshot to member {}", message.to)),
            // A group of one has nobody to send to.
            Output::Send(message) => stage
                .checkers
                .violated("I-04", format!("a message to member {}", message.to)),
        }
    }

    fn write(&mut self, stage: &mut Stage) {
        if self.disk.begin() {
            self.begin_write(stage);
        }
    }

    fn begin_write(&mut self, stage: &mut Stage) {
        let delay = self.disk_delay_us(stage);
        self.crash_within(stage, delay);
        stage.after(delay, Event::Coordinator(self.life, OnCoordinator::Stored));
    }

    fn write_feeds(&mut self, stage: &mut Stage) {
        if self.feeds.begin() {
            let delay = self.disk_delay_us(stage);
            self.crash_within(stage, delay);
            stage.after(
                delay,
                Event::Coordinator(self.life, OnCoordinator::FeedsStored),
            );
        }
    }

    /// Crashes during a write, or right after it, if it is its time.
    fn crash_within(&mut self, stage: &mut Stage, write_us: u64) {
        if std::mem::take(&mut self.crashes_at_write) {
            let delay = stage.chance.between(0..write_us + write_us / 2 + 1);
            stage.after(delay, Event::CrashCoordinator);
        }
    }

    fn disk_delay_us(&self, stage: &mut Stage) -> u64 {
        let slowest = stage.swarm.disk_us;
        (stage.chance.delay(100..slowest) * self.disk_factor).min(5 * SECOND)
    }
}

fn restore(bytes: &[u8]) -> Result<Ledger, String> {
    let snapshot = contract::ledger::Snapshot::decode(bytes).map_err(|error| error.to_string())?;
    Ledger::restore(snapshot).map_err(|error| error.to_string())
}
