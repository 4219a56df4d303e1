//! The loop of a coordinator: it takes its turns, and does what its mind asks for.

use contract::api::ErrorReason;
use coordinator::feeds::FeedInput;
use coordinator::{Answer, Base, Input, Now, Output, Refusal, Token};
use ledger::Ledger;
use prost::Message as _;
use raft::eraftpb::MessageType;

use super::{Host, Waiter};
use crate::Bug;
use crate::checkers::Fact;
use crate::clients::{Clients, PROJECT, phase};
use crate::coordinator::{Stored, name};
use crate::event::{Event, Message, OnClient, OnCoordinator, Recovery};
use crate::stage::Stage;
use crate::swarm::{NEWEST_LEVEL, SECOND};
use crate::wires::Wires;

impl Host {
    pub(super) fn now(&self, stage: &Stage) -> Now {
        let unix_ms = (stage.unix_us(self.clock_us) / 1_000) as i64;
        Now {
            unix_ms,
            monotonic_us: (stage.now_us() - self.born_us) * self.rate / 1_000,
        }
    }

    pub(super) fn handle(&mut self, stage: &mut Stage, input: Input) {
        let now = self.now(stage);
        if let Some(mind) = &mut self.mind {
            mind.handle(now, input);
            self.poll_soon(stage);
        }
    }

    /// The loop takes its turn when it has gathered what came meanwhile.
    pub(super) fn poll_soon(&mut self, stage: &mut Stage) {
        if !self.is_polling {
            self.is_polling = true;
            let delay = stage.chance.delay(1..500);
            self.plan(stage, delay, OnCoordinator::Poll);
        }
    }

    pub(super) fn poll(&mut self, stage: &mut Stage, wires: &mut Wires, clients: &Clients) {
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
            stage.trace(format_args!("c{} {output}", self.id + 1));
            let is_end = matches!(output, Output::Halt { .. });
            self.perform(stage, wires, clients, output);
            if is_end {
                return;
            }
        }
    }

    fn perform(&mut self, stage: &mut Stage, wires: &mut Wires, clients: &Clients, output: Output) {
        match output {
            Output::Persist(mut batch) => {
                let number = batch.number;
                if stage.has(Bug::ForgetVote) && batch.entries.is_empty() {
                    batch.hard_state = None;
                }
                if let Some(snapshot) = &mut batch.snapshot {
                    stage.sometimes("a coordinator took over a snapshot of another");
                    self.is_installing = true;
                    if stage.has(Bug::SnapshotWithoutLedger) {
                        snapshot.set_data(self.disk.newest_snapshot().to_vec().into());
                    }
                }
                if stage.has(Bug::AckBeforeQuorum)
                    && let Some(last) = batch.entries.last()
                {
                    let index = last.index;
                    self.forge_acks(stage, index, false);
                }
                if self.disk.hand_over(batch) {
                    self.begin_write(stage);
                }
                if stage.has(Bug::AckBeforeStored) {
                    self.handle(stage, Input::Persisted { number });
                }
            }
            Output::Publish(ledger) => {
                stage.publish(self.id, &ledger, &self.disk);
                self.published = ledger;
                // What has ended within the snapshot is looked for as after a start.
                if std::mem::take(&mut self.is_installing) {
                    self.feeds.has_looked = false;
                }
                if self.feeds.waits_for_ledger() || !self.feeds.has_looked {
                    self.feed_tick(stage, wires);
                }
            }
            Output::Reply { token, result } => self.reply(stage, wires, clients, token, result),
            Output::Desired { session, desired } => {
                if stage.has(Bug::DuplicateFence)
                    && let Some(other) = self
                        .sessions
                        .iter()
                        .copied()
                        .find(|other| *other != session.0)
                {
                    let desired = Message::Desired(Box::new(desired.clone()));
                    wires.network.send(stage, other, desired);
                }
                let desired = Message::Desired(Box::new(desired));
                wires.network.send(stage, session.0, desired);
            }
            Output::Fresh { token, result } => self.fresh(stage, wires, clients, token, result),
            // Who is where is known to all hosts of a run.
            Output::Members(members) => {
                let others = members
                    .iter()
                    .filter(|member| member.member_id != self.member_id && !member.learner);
                let others = others.map(|member| member.member_id).collect();
                self.feed(stage, wires, FeedInput::Members(others));
            }
            // Nobody makes machines here.
            Output::CallPool(_) => {}
            Output::SendSnapshot { message } => {
                self.send_snapshot(stage, wires, *message);
            }
            Output::EndSession { session, refusal } => {
                self.sessions.remove(&session.0);
                if refusal.reason == ErrorReason::NotLeader {
                    let leader = stage.leader_of(&refusal);
                    let refused = Message::Refused(leader);
                    return wires.network.send(stage, session.0, refused);
                }
                wires.network.cut(stage, session.0);
            }
            Output::Halt { why } if why.contains("use version") && self.level < NEWEST_LEVEL => {
                stage.sometimes("an older program stopped by name");
                stage.after(1, Event::Recover(Recovery::Reinstall(self.id)));
            }
            Output::Halt { why } => {
                let what = format!("{} halts: {why}", name(self.id));
                stage.checkers.violated("I-04", what);
            }
            Output::PeerRefused { .. } => stage.sometimes("a message of another was refused"),
            Output::SealFeed { fence, seal } => {
                self.seal_feed(stage, wires, &fence, seal);
            }
            Output::StoreSnapshot {
                index,
                term,
                members,
                ledger,
            } => {
                let mut snapshot = ledger.snapshot();
                if stage.has(Bug::ForgetRequestIds) {
                    snapshot.requests.clear();
                }
                let stored = Stored {
                    base: Base {
                        index,
                        term,
                        members,
                    },
                    ledger: snapshot.encode_to_vec(),
                };
                let delay = self.disk_delay_us(stage) * 3;
                let event = OnCoordinator::SnapshotStored(Box::new(stored));
                self.plan(stage, delay, event);
            }
            Output::CompactLog { index } => {
                stage.sometimes("the log was compacted");
                self.disk.compact(index);
            }
            Output::Send(message) => {
                let member = message.to;
                self.show_vote(stage, &message);
                let Some(to) = stage.places.get(&member).copied() else {
                    return;
                };
                if !wires.peers.send(stage, self.id, to, *message) && stage.chance.permille(500) {
                    self.handle(stage, Input::Unreachable { member });
                }
            }
        }
    }

    /// Who asks for votes votes for itself.
    fn show_vote(&self, stage: &mut Stage, message: &raft::eraftpb::Message) {
        let candidate = match message.get_msg_type() {
            MessageType::MsgRequestVote => self.member_id,
            MessageType::MsgRequestVoteResponse if !message.reject => message.to,
            _ => return,
        };
        stage.show(&Fact::Voted {
            member: self.member_id,
            term: message.term,
            candidate,
        });
    }

    /// Streams the stored snapshot to a member, beside the messages. Says in every case what became of it.
    fn send_snapshot(
        &mut self,
        stage: &mut Stage,
        wires: &Wires,
        mut message: raft::eraftpb::Message,
    ) {
        let member = message.to;
        let index = message.get_snapshot().get_metadata().index;
        let stored = self.disk.snapshot(index).map(<[u8]>::to_vec);
        let way = wires.peers.snapshot_us(stage);
        let to = stage
            .places
            .get(&member)
            .filter(|to| wires.peers.is_open(stage, self.id, **to))
            .copied();
        // A stream that breaks is noticed late, or when it times out.
        let is_broken = stage.chance.permille(stage.swarm.peers.loss * 2);
        let (Some(to), Some(data), false) = (to, stored, is_broken) else {
            stage.sometimes("a snapshot did not arrive");
            let late = stage.chance.between(way..way + 2 * SECOND);
            return self.plan(stage, late, OnCoordinator::SnapshotSent(member, false));
        };
        stage.sometimes("a snapshot was sent");
        message.mut_snapshot().set_data(data.into());
        let arrives = OnCoordinator::Peer(Box::new(message));
        stage.after(way, Event::ToCoordinator(to, arrives));
        let sent = OnCoordinator::SnapshotSent(member, true);
        self.plan(stage, way + 200, sent);
    }

    fn reply(
        &mut self,
        stage: &mut Stage,
        wires: &Wires,
        clients: &Clients,
        token: Token,
        result: Result<Answer, Refusal>,
    ) {
        let mut result = result;
        let Some(Waiter::Op(op)) = self.waiting.remove(&token) else {
            return stage
                .checkers
                .violated("I-01", format!("token {} is answered twice", token.0));
        };
        if result
            .as_ref()
            .is_err_and(|refusal| refusal.reason == ErrorReason::NoQuorum)
        {
            stage.sometimes("a request was refused for want of a quorum");
        }
        if stage.has(Bug::AckLostCancel)
            && result
                .as_ref()
                .is_err_and(|refusal| refusal.reason == ErrorReason::OutcomeUnknown)
            && let Some(number) = clients.ops.cancels(op)
        {
            result = Ok(Answer::Execution {
                project: PROJECT.to_owned(),
                number,
                warnings: Vec::new(),
            });
        }
        if let Some(request) = clients.ops.request(op) {
            stage.show(&Fact::Answered {
                op,
                request,
                result: &result,
                ledger: &self.published,
            });
        }
        if self.reaches_clients(stage, wires) {
            let way = stage.way_us();
            let number = match &result {
                Ok(Answer::Execution { number, .. }) => *number,
                _ => 0,
            };
            let phase = phase(&self.published, number);
            stage.after(way, Event::Client(OnClient::Answered(op, result, phase)));
        }
    }

    /// A ledger that is said to be fresh leaves.
    pub(super) fn fresh(
        &mut self,
        stage: &mut Stage,
        wires: &Wires,
        clients: &Clients,
        token: Token,
        result: Result<Ledger, Refusal>,
    ) {
        let Some(Waiter::Read(read)) = self.waiting.remove(&token) else {
            return stage
                .checkers
                .violated("I-03", format!("token {} is answered twice", token.0));
        };
        let Some(asked) = clients.reads.get(read) else {
            return;
        };
        let Ok(ledger) = result else {
            return stage.sometimes("a fresh read was refused");
        };
        if !self.leads() {
            stage.sometimes("a follower answered a fresh read");
        }
        if ledger.revision() < asked.floor {
            let what = format!(
                "{} calls revision {} fresh, and {} was published before it was asked",
                name(self.id),
                ledger.revision(),
                asked.floor
            );
            stage.checkers.violated("I-03", what);
        }
        if self.reaches_clients(stage, wires) {
            let way = stage.way_us();
            let phase = phase(&ledger, asked.number);
            let fresh = OnClient::Fresh(read, ledger.revision(), phase);
            stage.after(way, Event::Client(fresh));
        }
    }

    fn reaches_clients(&self, stage: &mut Stage, wires: &Wires) -> bool {
        let is_lost = stage.chance.permille(stage.swarm.loss);
        !is_lost && !wires.network.is_clients_way_cut(self.id, stage.now_us())
    }

    pub(super) fn write(&mut self, stage: &mut Stage) {
        if self.disk.begin() {
            self.begin_write(stage);
        }
    }

    fn begin_write(&mut self, stage: &mut Stage) {
        if self.is_full(stage) {
            return;
        }
        let delay = self.disk_delay_us(stage);
        self.crash_within(stage, delay);
        self.plan(stage, delay, OnCoordinator::Stored);
    }

    pub(super) fn write_feeds(&mut self, stage: &mut Stage) {
        if self.feeds.begin() {
            // What does not fit waits at its worker; the process goes on.
            let fits = stage.now_us() >= self.full_until;
            let delay = self.disk_delay_us(stage);
            self.crash_within(stage, delay);
            self.plan(stage, delay, OnCoordinator::FeedsStored(fits));
        }
    }

    /// Whether a write fails for want of space; the process then ends.
    fn is_full(&self, stage: &mut Stage) -> bool {
        let is_full = stage.now_us() < self.full_until;
        if is_full {
            stage.sometimes("a coordinator ended because its disk was full");
            stage.after(1_000, Event::CrashCoordinator(self.id));
        }
        is_full
    }

    /// Crashes during a write, or right after it, if it is its time.
    fn crash_within(&mut self, stage: &mut Stage, write_us: u64) {
        if std::mem::take(&mut self.crashes_at_write) {
            let delay = stage.chance.between(0..write_us + write_us / 2 + 1);
            stage.after(delay, Event::CrashCoordinator(self.id));
        }
    }

    fn disk_delay_us(&self, stage: &mut Stage) -> u64 {
        let slowest = stage.swarm.disk_us;
        (stage.chance.delay(100..slowest) * self.disk_factor).min(5 * SECOND)
    }
}
