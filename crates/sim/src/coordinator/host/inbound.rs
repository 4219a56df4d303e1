//! What comes to a coordinator: from the disk, workers, callers and other coordinators.

use contract::link::SynchronizeRequest;
use coordinator::{Input, SessionId, Token};
use feed::Batch;
use worker::Fence;

use super::{ANSWER_US, CATCH_UP_BYTES, CATCH_UP_US, Host, Waiter};
use crate::Bug;
use crate::checkers::Fact;
use crate::clients::{Clients, OpId, renew};
use crate::coordinator::{Key, PushAnswer, key, name};
use crate::event::{ConnectionId, CoordinatorId, Event, Life, Message, OnCoordinator};
use crate::stage::Stage;
use crate::wires::Wires;

impl Host {
    /// A worker has dialed.
    pub(crate) fn open(&mut self, connection: ConnectionId, is_session: bool) {
        if is_session {
            self.sessions.insert(connection);
        } else {
            self.pipes.insert(connection);
        }
    }

    /// Something happens in the process, if it is still the same.
    pub(crate) fn on(
        &mut self,
        stage: &mut Stage,
        wires: &mut Wires,
        clients: &Clients,
        life: Life,
        event: OnCoordinator,
    ) {
        if life != self.life || self.mind.is_none() {
            return;
        }
        if let Some(parked) = &mut self.parked {
            return parked.push(event);
        }
        match event {
            OnCoordinator::Tick => {
                if stage.has(Bug::PromoteLagging) {
                    let index = self
                        .mind
                        .as_ref()
                        .map_or(0, |mind| mind.group().last_index());
                    self.forge_acks(stage, index, true);
                }
                self.plan(stage, self.tick_us(), OnCoordinator::Tick);
                let now = self.now(stage);
                if let Some(mind) = &mut self.mind {
                    mind.handle(now, Input::Tick);
                }
                if !self.is_polling {
                    self.poll(stage, wires, clients);
                }
            }
            OnCoordinator::Poll => {
                self.is_polling = false;
                self.poll(stage, wires, clients);
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
                for answer in self.feeds.written(stage) {
                    self.answer_push(stage, wires, answer);
                }
                self.write_feeds(stage);
            }
            OnCoordinator::SnapshotStored(stored) => {
                let index = stored.base.index;
                self.disk.store_snapshot(*stored);
                self.handle(stage, Input::SnapshotStored { index });
            }
            OnCoordinator::Request(op) => self.request(stage, clients, op),
            OnCoordinator::Read(read) if stage.has(Bug::ReadWithoutQuorum) => {
                let token = self.wait(stage, Waiter::Read(read));
                let ledger = self.published.clone();
                self.fresh(stage, wires, clients, token, Ok(ledger));
            }
            OnCoordinator::Read(read) => {
                let token = self.wait(stage, Waiter::Read(read));
                self.handle(stage, Input::Read { token });
            }
            OnCoordinator::Overdue(token) => self.overdue(stage, token),
            OnCoordinator::Peer(message) => {
                // Every connection begins with what its end knows.
                let member = message.from;
                if let Some(feature_level) = stage.levels.get(&member).copied()
                    && self.told.insert(member, feature_level) != Some(feature_level)
                {
                    let knows = Input::PeerKnows {
                        member,
                        feature_level,
                    };
                    self.handle(stage, knows);
                }
                self.handle(stage, Input::Peer { message });
            }
            OnCoordinator::StepDown => {
                if self.leads() {
                    stage.sometimes("a leader handed over before it stopped");
                }
                self.handle(stage, Input::StepDown);
            }
            OnCoordinator::SnapshotSent(member, delivered) => {
                self.handle(stage, Input::SnapshotSent { member, delivered });
            }
            OnCoordinator::Arrive(connection, message) => match *message {
                Message::State(state) => self.state(stage, connection, state),
                Message::Push(fence, batch) => self.push(stage, wires, (connection, fence), batch),
                Message::Desired(_) | Message::Stored(..) | Message::Refused(_) => {}
            },
            OnCoordinator::Gone(connection) => {
                self.pipes.remove(&connection);
                if self.sessions.remove(&connection) {
                    let session = SessionId(connection);
                    self.handle(stage, Input::WorkerGone { session });
                }
            }
            OnCoordinator::CatchUp => {
                self.is_catching_up = false;
                self.catch_up(stage);
            }
            OnCoordinator::Asked { by, key, from } => {
                let batch = self
                    .feeds
                    .disk()
                    .get(&key)
                    .and_then(|feed| feed.read(from, CATCH_UP_BYTES));
                if let Some(batch) = batch.filter(|_| wires.peers.is_open(stage, self.id, by)) {
                    let way = stage.way_us();
                    let given = OnCoordinator::Given { key, batch };
                    stage.after(way, Event::ToCoordinator(by, given));
                }
            }
            OnCoordinator::Given { key, batch } => {
                stage.sometimes("a coordinator got records from another");
                self.feeds.catch_up(key, batch);
                self.write_feeds(stage);
            }
        }
    }

    fn request(&mut self, stage: &mut Stage, clients: &Clients, op: OpId) {
        let Some(request) = clients.ops.request(op) else {
            return;
        };
        let token = self.wait(stage, Waiter::Op(op));
        let mut request = Box::new(request.clone());
        if stage.has(Bug::NewIdUnderNewLeader) {
            let term = self.mind.as_ref().map_or(0, |mind| mind.group().term());
            renew(&mut request, op, term as u32 & 0xffff);
        }
        self.handle(stage, Input::Request { token, request });
    }

    /// Somebody waits for an answer from now on.
    fn wait(&mut self, stage: &mut Stage, waiter: Waiter) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.waiting.insert(token, waiter);
        let patience = ANSWER_US * 1_000 / self.rate;
        self.plan(stage, patience, OnCoordinator::Overdue(token));
        token
    }

    /// Nobody waits for longer than that: not without a majority either.
    fn overdue(&mut self, stage: &mut Stage, token: Token) {
        let Some(waiter) = self.waiting.get(&token) else {
            return;
        };
        let patience = ANSWER_US * 1_000 / self.rate;
        let is_excused = self.disk_factor > 1 || stage.now_us() < self.resumed_us + patience;
        if is_excused {
            return self.plan(stage, patience, OnCoordinator::Overdue(token));
        }
        let what = format!("{waiter:?} was not answered by {} in time", name(self.id));
        stage.checkers.violated("I-11", what);
    }

    fn state(
        &mut self,
        stage: &mut Stage,
        connection: ConnectionId,
        state: Box<SynchronizeRequest>,
    ) {
        // What was said to a process before this one is not heard.
        if !self.sessions.contains(&connection) {
            return;
        }
        let mut state = state;
        if stage.has(Bug::StaleResult) {
            self.bring_up_to_date(&mut state);
        }
        let session = SessionId(connection);
        self.handle(stage, Input::WorkerState { session, state });
    }

    fn push(
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
        let answer = self.feeds.push(stage, &self.published, from, batch);
        if let Some(answer) = answer {
            self.answer_push(stage, wires, answer);
        }
        self.write_feeds(stage);
    }

    /// Tells a worker what of a feed is stored.
    fn answer_push(&self, stage: &mut Stage, wires: &mut Wires, answer: PushAnswer) {
        let (connection, fence, next) = answer;
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

    /// Asks others for what it lacks of feeds that have ended.
    fn catch_up(&mut self, stage: &mut Stage) {
        let wanted: Vec<(Key, u64)> = self.feeds.behind().take(8).collect();
        let others: Vec<CoordinatorId> = stage
            .members
            .values()
            .copied()
            .filter(|other| *other != self.id)
            .collect();
        for (key, from) in wanted {
            let Some(other) = stage.chance.pick(&others).copied() else {
                return;
            };
            let way = stage.way_us();
            let by = self.id;
            let asked = OnCoordinator::Asked { by, key, from };
            stage.after(way, Event::ToCoordinator(other, asked));
        }
        self.catch_up_soon(stage);
    }

    pub(super) fn catch_up_soon(&mut self, stage: &mut Stage) {
        if !self.is_catching_up && self.feeds.behind().next().is_some() {
            self.is_catching_up = true;
            let delay = stage.chance.between(CATCH_UP_US / 2..CATCH_UP_US);
            self.plan(stage, delay, OnCoordinator::CatchUp);
        }
    }
}
