//! Clients: they submit, cancel, repeat what was not answered, watch, and read logs.

mod history;
mod ops;
mod subscriber;
mod watcher;

use std::collections::BTreeSet;

use ::coordinator::{Answer, Refusal, Request};
use check::models::Phase;
use worker::Fence;

pub(crate) use history::{History, phase};
pub(crate) use ops::{OpId, Ops, PROJECT, drain, id_of, is_passing, renew};
use ops::{PIPELINES, STEPS};
pub(crate) use subscriber::SubscriberId;

use crate::Bug;
use crate::coordinator::Coordinators;
use crate::event::{CoordinatorId, Event, OnClient, OnCoordinator};
use crate::stage::{Stage, fence};
use crate::swarm::SECOND;
use subscriber::Subscriber;
use watcher::Watcher;

/// How long a client waits for an answer before it asks again.
const PATIENCE_US: u64 = 2 * SECOND;

/// Number of a read.
pub(crate) type ReadId = usize;

/// Somebody asks where an execution is.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) number: i64,
    start_us: u64,
    /// The newest revision that anybody had published by then.
    pub(crate) floor: u64,
}

/// All clients of a run.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) ops: Ops,
    pub(crate) reads: Vec<Read>,
    pub(crate) history: History,
    /// Who answered well last: the next request goes there first.
    leader: CoordinatorId,
    watchers: Vec<Watcher>,
    subscribers: Vec<Subscriber>,
    /// Attempts whose log somebody reads, or nobody wanted to.
    known: BTreeSet<Fence>,
    /// No new requests are thought of.
    pub(crate) is_quiet: bool,
}

impl Clients {
    /// Lets clients begin.
    pub(crate) fn start(&mut self, stage: &mut Stage) {
        for client in 0..stage.swarm.clients {
            stage.after(0, Event::Client(OnClient::Think(client)));
        }
        // Somebody always watches, so that logs are read.
        for watcher in 0..stage.swarm.clients.max(1) {
            let at = watcher % stage.coordinator_count.max(1);
            self.watchers.push(Watcher::new(at));
            stage.after(0, Event::Client(OnClient::Watch(watcher)));
        }
    }

    /// What is not done yet, in words.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let open = self
            .ops
            .open()
            .map(|op| format!("request {op} has no answer"));
        let reading = self
            .subscribers
            .iter()
            .filter(|subscriber| !subscriber.is_done);
        open.chain(reading.map(|subscriber| format!("the log of {} has no end", subscriber.fence)))
            .collect()
    }

    /// What watchers should know and do not.
    pub(crate) fn check_watchers(&self, ledger: &ledger::Ledger) -> Result<(), String> {
        self.watchers
            .iter()
            .try_for_each(|watcher| watcher.check(ledger, PROJECT))
    }

    /// A coordinator is gone, and every stream from it.
    pub(crate) fn cut(&mut self, coordinator: CoordinatorId) {
        let cut = self
            .subscribers
            .iter_mut()
            .filter(|subscriber| subscriber.at == coordinator);
        cut.for_each(Subscriber::cut);
    }

    pub(crate) fn on(&mut self, stage: &mut Stage, coordinators: &Coordinators, event: OnClient) {
        match event {
            OnClient::Think(client) => {
                if self.is_quiet {
                    return;
                }
                self.think(stage, coordinators);
                let pause = stage.chance.between(1_000..2 * stage.swarm.think_us);
                stage.after(pause, Event::Client(OnClient::Think(client)));
            }
            // The world sees to it: there is a network between.
            OnClient::Send(_) => {}
            OnClient::Answered(op, result, phase) => self.answered(stage, op, result, phase),
            OnClient::Fresh(read, revision, phase) => self.fresh(stage, read, revision, phase),
            OnClient::GiveUp(op, tried) => self.give_up(stage, op, tried),
            OnClient::Watch(watcher) => self.watch(stage, coordinators, watcher),
            OnClient::Read(subscriber) => self.read(stage, coordinators, subscriber),
        }
    }

    /// A client thinks of something.
    fn think(&mut self, stage: &mut Stage, coordinators: &Coordinators) {
        let ledger = coordinators.newest();
        let executions = ledger
            .project(PROJECT)
            .map_or(0, |project| project.execution_count());
        let pipelines = ledger
            .project(PROJECT)
            .map_or(0, |project| project.pipeline_count());
        let any = |stage: &mut Stage, of: i64| stage.chance.between(0..of.max(1) as u64) as i64 + 1;
        match stage.chance.between(0..100) {
            0..32 => {
                let step = *stage.chance.pick(&STEPS).unwrap_or(&"quick");
                let _ = self.ask(stage, |id| ops::run(id, step));
            }
            32..55 => {
                let blueprint = *stage.chance.pick(&PIPELINES).unwrap_or(&"chain");
                let _ = self.ask(stage, |id| ops::submit(id, blueprint));
            }
            55..68 if executions > 0 => {
                // Mostly a young one, which is not over yet.
                let number = (executions - stage.chance.delay(0..executions as u64) as i64).max(1);
                let _ = self.ask(stage, |id| ops::cancel_execution(id, number));
            }
            68..74 if pipelines > 0 => {
                let number = any(stage, pipelines);
                let _ = self.ask(stage, |id| ops::cancel_pipeline(id, number));
            }
            74..95 if executions > 0 => {
                let number = (executions - stage.chance.delay(0..executions as u64) as i64).max(1);
                self.ask_where(stage, number);
            }
            _ => {
                let of = stage.chance.between(0..self.ops.len().max(1) as u64) as OpId;
                if self.ops.is_acked(of) {
                    let _ = self.ask(stage, |id| ops::reuse(id, of));
                }
            }
        }
    }

    /// Admits a coordinator at an address.
    pub(crate) fn add_member(&mut self, stage: &mut Stage, address: String) -> OpId {
        self.ask(stage, |id| Request::AddMember {
            request_id: ops::request_id(id, 0),
            address,
            feature_level: 0,
        })
    }

    /// Removes a coordinator for good.
    pub(crate) fn remove_member(&mut self, stage: &mut Stage, member_id: u64) -> OpId {
        self.ask(stage, |id| Request::RemoveMember {
            request_id: ops::request_id(id, 0),
            member_id,
        })
    }

    /// Runs a step.
    pub(crate) fn run(&mut self, stage: &mut Stage, step: &str) {
        let _ = self.ask(stage, |id| ops::run(id, step));
    }

    /// Runs a pipeline.
    pub(crate) fn submit(&mut self, stage: &mut Stage, blueprint: &str) {
        let _ = self.ask(stage, |id| ops::submit(id, blueprint));
    }

    pub(crate) fn cancel_execution(&mut self, stage: &mut Stage, number: i64) {
        let _ = self.ask(stage, |id| ops::cancel_execution(id, number));
    }

    pub(crate) fn cancel_pipeline(&mut self, stage: &mut Stage, number: i64) {
        let _ = self.ask(stage, |id| ops::cancel_pipeline(id, number));
    }

    /// Whoever runs the cluster asks for something.
    pub(crate) fn ask(&mut self, stage: &mut Stage, request: impl FnOnce(OpId) -> Request) -> OpId {
        let op = self.ops.add(request);
        stage.tally.operations += 1;
        if let Some(request) = self.ops.request(op) {
            stage.news(format_args!("request {op}: {}", words(request)));
        }
        stage.after(0, Event::Client(OnClient::Send(op)));
        op
    }

    /// Asks any coordinator where an execution is, and wants to know what is true now.
    fn ask_where(&mut self, stage: &mut Stage, number: i64) {
        let count = stage.coordinator_count as u64;
        let to = stage.chance.between(0..count) as CoordinatorId;
        self.reads.push(Read {
            number,
            start_us: stage.now_us(),
            floor: stage.newest(),
        });
        stage.tally.operations += 1;
        let way = stage.way_us();
        let read = OnCoordinator::Read(self.reads.len() - 1);
        stage.after(way, Event::ToCoordinator(to, read));
    }

    fn fresh(&mut self, stage: &mut Stage, read: ReadId, revision: u64, phase: Phase) {
        let Some(asked) = self.reads.get(read) else {
            return;
        };
        let (number, start) = (asked.number, asked.start_us);
        stage.trace(format_args!("#{number} is {phase:?} at {revision}"));
        self.history.seen(number, phase, start, stage.now_us());
    }

    fn answered(
        &mut self,
        stage: &mut Stage,
        op: OpId,
        result: Result<Answer, Refusal>,
        phase: Phase,
    ) {
        let now = stage.now_us();
        let Some(asked) = self.ops.get_mut(op).filter(|asked| asked.answer.is_none()) else {
            return;
        };
        if let Err(refusal) = result.as_ref()
            && ops::is_passing(refusal)
        {
            // Who leads is asked next; while nobody does, somebody else.
            let leader = stage.leader_of(refusal);
            if leader.is_some() {
                stage.sometimes("a client was sent on to the leader");
            }
            asked.to = leader.unwrap_or((asked.to + 1) % stage.coordinator_count.max(1));
            // Several copies of one try are refused, and it is tried again once.
            if std::mem::take(&mut asked.is_waiting) {
                let pause = stage.chance.between(20_000..200_000);
                stage.after(pause, Event::Client(OnClient::Send(op)));
            }
            return;
        }
        if result.is_ok() {
            self.leader = asked.to;
        }
        match (&asked.request, &result) {
            (Request::CreateExecution(_), Ok(Answer::Execution { number, .. })) => {
                self.history.created(*number, asked.first_us, now);
            }
            (Request::CancelExecution(_), Ok(Answer::Execution { number, .. })) => {
                self.history.cancelled(*number, phase, asked.first_us, now);
            }
            _ => {}
        }
        match &result {
            Ok(answer) => stage.news(format_args!("request {op}: {answer:?}")),
            Err(refusal) => stage.news(format_args!("request {op}: {refusal}")),
        }
        asked.answer = Some(result);
    }

    fn give_up(&mut self, stage: &mut Stage, op: OpId, tried: u32) {
        let Some(asked) = self
            .ops
            .get_mut(op)
            .filter(|asked| asked.answer.is_none() && asked.tries == tried)
        else {
            return;
        };
        stage.sometimes("a request was repeated");
        asked.to = (asked.to + 1) % stage.coordinator_count.max(1);
        if stage.has(Bug::NewIdForRetry) {
            ops::renew(&mut asked.request, op, tried);
        }
        stage.after(0, Event::Client(OnClient::Send(op)));
    }

    /// A request leaves; the number of copies of it that arrive, and where.
    pub(crate) fn send(&mut self, stage: &mut Stage, op: OpId) -> (u32, CoordinatorId) {
        let Some(asked) = self.ops.get_mut(op).filter(|asked| asked.answer.is_none()) else {
            return (0, 0);
        };
        if asked.tries == 0 {
            asked.first_us = stage.now_us();
            asked.to = self.leader;
        }
        asked.tries += 1;
        asked.is_waiting = true;
        let to = asked.to;
        let patience = stage.chance.between(PATIENCE_US / 2..PATIENCE_US);
        stage.after(patience, Event::Client(OnClient::GiveUp(op, asked.tries)));
        if stage.chance.permille(stage.swarm.loss) {
            return (0, to);
        }
        (
            1 + u32::from(stage.chance.permille(stage.swarm.duplicates)),
            to,
        )
    }

    fn watch(&mut self, stage: &mut Stage, coordinators: &Coordinators, watcher: usize) {
        let pause = stage.chance.between(50_000..SECOND);
        stage.after(pause, Event::Client(OnClient::Watch(watcher)));
        let Some(watcher) = self.watchers.get_mut(watcher) else {
            return;
        };
        let host = coordinators.get(watcher.at);
        let ledger = host.and_then(|host| host.readable());
        let Some(ledger) = ledger.filter(|ledger| ledger.revision() >= watcher.revision()) else {
            // Somebody else may be there, or know more.
            watcher.at = (watcher.at + 1) % stage.coordinator_count.max(1);
            return stage.sometimes("a watcher went on at another coordinator");
        };
        for number in watcher.read(stage, ledger) {
            let Some(execution) = ledger.execution(PROJECT, number) else {
                continue;
            };
            let Some(live) = execution.live_fence().map(fence) else {
                continue;
            };
            if self.known.insert(live) && stage.chance.permille(600) {
                let from = if stage.chance.permille(700) {
                    0
                } else {
                    stage.chance.between(0..4)
                };
                let id = self.subscribers.len();
                let at = stage.chance.between(0..stage.coordinator_count as u64) as usize;
                self.subscribers.push(Subscriber::new(id, live, from, at));
                stage.tally.operations += 1;
                stage.after(0, Event::Client(OnClient::Read(id)));
            }
        }
    }

    fn read(&mut self, stage: &mut Stage, coordinators: &Coordinators, id: SubscriberId) {
        let Some(subscriber) = self
            .subscribers
            .get_mut(id)
            .filter(|subscriber| !subscriber.is_done)
        else {
            return;
        };
        match coordinators.get(subscriber.at) {
            Some(host) if host.answers() => subscriber.read(stage, host),
            _ => {
                stage.sometimes("a subscriber went on at another coordinator");
                subscriber.at = (subscriber.at + 1) % stage.coordinator_count.max(1);
                subscriber.cut();
            }
        }
        let pause = stage.chance.delay(5_000..SECOND);
        stage.after(pause, Event::Client(OnClient::Read(id)));
    }
}

/// A request in a few words.
fn words(request: &Request) -> String {
    match request {
        Request::CreatePipeline(request) => format!("submit {}", request.blueprint),
        Request::CreateExecution(request) => format!("run {}", request.step),
        Request::CancelPipeline(request) => format!("cancel {}", request.name),
        Request::CancelExecution(request) => format!("cancel {}", request.name),
        Request::AddMember { address, .. } => format!("add a member at {address}"),
        Request::RemoveMember { member_id, .. } => format!("remove member {member_id}"),
        Request::CreateToken { request, .. } => format!("create token {}", request.token_id),
        Request::RevokeToken(request) => format!("revoke {}", request.name),
        Request::RevokePrincipal(request) => format!("revoke {}", request.principal),
        Request::UseToken(token) => format!("use token {}", token.token_id),
        Request::DrainWorker(request) => format!("drain {}", request.name),
        Request::Explain { project, execution } => format!("explain {project}#{execution}"),
        Request::TransferLeadership { member_id } => format!("transfer to member {member_id}"),
    }
}
