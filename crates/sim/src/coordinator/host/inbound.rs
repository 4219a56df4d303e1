//! What comes to a coordinator: from the disk, workers, callers and other coordinators.

use contract::link::SynchronizeRequest;
use coordinator::feeds::FeedInput;
use coordinator::{Input, SessionId, Token};

use super::{ANSWER_US, Host, Waiter};
use crate::Bug;
use crate::checkers::COPY_ID;
use crate::clients::{Clients, OpId, renew};
use crate::coordinator::name;
use crate::event::{ConnectionId, Life, Message, OnCoordinator};
use crate::stage::Stage;
use crate::swarm::NEWEST_LEVEL;
use crate::wires::Wires;

/// The connection on which copies speak; no other has that number.
const COPY: ConnectionId = ConnectionId::MAX;
/// One in so many states of a worker is followed by that of a copy.
const SPEAKS_EVERY: u64 = 8;

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
            OnCoordinator::FeedsStored(fits) => {
                self.feeds.written(stage, fits);
                self.feed(stage, wires, FeedInput::Stored { fits });
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
                let knows = stage.levels.get(&member).copied();
                let is_hidden = stage.has(Bug::RaiseTooEarly);
                if let Some(feature_level) = knows.map(|level| match is_hidden {
                    true => NEWEST_LEVEL,
                    false => level,
                }) && self.told.insert(member, feature_level) != Some(feature_level)
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
            OnCoordinator::FeedTick => self.feed_clock(stage, wires),
            OnCoordinator::FeedWake => {
                self.feeds_wake_us = None;
                self.feed_tick(stage, wires);
            }
            OnCoordinator::Asked(fetch) => self.asked(stage, wires, fetch),
            OnCoordinator::Given(number, copies) => {
                self.fetched(stage, wires, number, Some(copies));
            }
            OnCoordinator::FetchOver(number) => self.fetched(stage, wires, number, None),
            OnCoordinator::Damaged(key, record) => self.damaged(stage, wires, key, record),
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
        self.plant(stage, &mut state);
        // A script tells what happens in it, and nothing else does.
        let copy = copy_of(&state).filter(|_| stage.swarm.chaos_us > 0);
        let session = SessionId(connection);
        self.handle(stage, Input::WorkerState { session, state });
        if let Some(copy) = copy {
            self.hear_copy(stage, session, copy);
        }
    }

    /// A daemon over a copy of a worker's directory speaks, just after the original, and hangs up.
    fn hear_copy(&mut self, stage: &mut Stage, original: SessionId, copy: SynchronizeRequest) {
        stage.sometimes("a copy of a worker's directory spoke");
        if stage.has(Bug::TakeInCopies) {
            self.handle(stage, Input::WorkerGone { session: original });
        }
        let session = SessionId(COPY);
        let state = Box::new(copy);
        self.handle(stage, Input::WorkerState { session, state });
        self.handle(stage, Input::WorkerGone { session });
    }
}

/// What a copy of the worker's directory would say, once in so many times that the worker speaks: that it is the same start of the daemon or the next
/// one, and has nothing.
fn copy_of(state: &SynchronizeRequest) -> Option<SynchronizeRequest> {
    let turn = state.generation;
    turn.is_multiple_of(SPEAKS_EVERY)
        .then(|| SynchronizeRequest {
            worker: state.worker.clone(),
            incarnation: state.incarnation + turn / SPEAKS_EVERY % 2,
            generation: 1,
            offer: state.offer.clone(),
            instance_id: COPY_ID.to_vec().into(),
            ..SynchronizeRequest::default()
        })
}
