//! Clients: they submit, cancel, repeat what was not answered, watch, and read logs.

mod ops;
mod subscriber;
mod watcher;

use std::collections::BTreeSet;

use coordinator::{Answer, Refusal, Request};
use worker::Fence;

pub(crate) use ops::{OpId, Ops, PROJECT, id_of, is_passing};
use ops::{PIPELINES, STEPS};
pub(crate) use subscriber::SubscriberId;

use crate::Bug;
use crate::coordinator::{CoordinatorHost, key};
use crate::event::{Event, OnClient};
use crate::stage::{Stage, fence};
use crate::swarm::SECOND;
use subscriber::Subscriber;
use watcher::Watcher;

/// How long a client waits for an answer before it asks again.
const PATIENCE_US: u64 = 2 * SECOND;

/// All clients of a run.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) ops: Ops,
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
            self.watchers.push(Watcher::default());
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

    /// The coordinator is gone, and every stream with it.
    pub(crate) fn cut_all(&mut self) {
        self.subscribers.iter_mut().for_each(Subscriber::cut);
    }

    pub(crate) fn on(&mut self, stage: &mut Stage, coordinator: &CoordinatorHost, event: OnClient) {
        match event {
            OnClient::Think(client) => {
                if self.is_quiet {
                    return;
                }
                self.think(stage, coordinator);
                let pause = stage.chance.between(1_000..2 * stage.swarm.think_us);
                stage.after(pause, Event::Client(OnClient::Think(client)));
            }
            // The world sees to it: the coordinator may be away.
            OnClient::Send(_) => {}
            OnClient::Answered(op, result) => self.answered(stage, op, result),
            OnClient::GiveUp(op, tried) => self.give_up(stage, op, tried),
            OnClient::Watch(watcher) => self.watch(stage, coordinator, watcher),
            OnClient::Read(subscriber) => self.read(stage, coordinator, subscriber),
        }
    }

    /// A client thinks of something.
    fn think(&mut self, stage: &mut Stage, coordinator: &CoordinatorHost) {
        let ledger = coordinator.published();
        let executions = ledger
            .project(PROJECT)
            .map_or(0, |project| project.execution_count());
        let pipelines = ledger
            .project(PROJECT)
            .map_or(0, |project| project.pipeline_count());
        let any = |stage: &mut Stage, of: i64| stage.chance.between(0..of.max(1) as u64) as i64 + 1;
        match stage.chance.between(0..100) {
            0..40 => {
                let step = *stage.chance.pick(&STEPS).unwrap_or(&"quick");
                self.ask(stage, |id| ops::run(id, step));
            }
            40..70 => {
                let blueprint = *stage.chance.pick(&PIPELINES).unwrap_or(&"chain");
                self.ask(stage, |id| ops::submit(id, blueprint));
            }
            70..85 if executions > 0 => {
                // Mostly a young one, which is not over yet.
                let number = (executions - stage.chance.delay(0..executions as u64) as i64).max(1);
                self.ask(stage, |id| ops::cancel_execution(id, number));
            }
            85..92 if pipelines > 0 => {
                let number = any(stage, pipelines);
                self.ask(stage, |id| ops::cancel_pipeline(id, number));
            }
            _ => {
                let of = stage.chance.between(0..self.ops.len().max(1) as u64) as OpId;
                if self.ops.is_acked(of) {
                    self.ask(stage, |id| ops::reuse(id, of));
                }
            }
        }
    }

    /// Runs a step.
    pub(crate) fn run(&mut self, stage: &mut Stage, step: &str) {
        self.ask(stage, |id| ops::run(id, step));
    }

    /// Runs a pipeline.
    pub(crate) fn submit(&mut self, stage: &mut Stage, blueprint: &str) {
        self.ask(stage, |id| ops::submit(id, blueprint));
    }

    pub(crate) fn cancel_execution(&mut self, stage: &mut Stage, number: i64) {
        self.ask(stage, |id| ops::cancel_execution(id, number));
    }

    pub(crate) fn cancel_pipeline(&mut self, stage: &mut Stage, number: i64) {
        self.ask(stage, |id| ops::cancel_pipeline(id, number));
    }

    fn ask(&mut self, stage: &mut Stage, request: impl FnOnce(OpId) -> Request) {
        let op = self.ops.add(request);
        stage.tally.operations += 1;
        if let Some(request) = self.ops.request(op) {
            stage.news(format_args!("request {op}: {}", words(request)));
        }
        stage.after(0, Event::Client(OnClient::Send(op)));
    }

    fn answered(&mut self, stage: &mut Stage, op: OpId, result: Result<Answer, Refusal>) {
        let Some(asked) = self.ops.get_mut(op) else {
            return;
        };
        if result.as_ref().is_err_and(ops::is_passing) || asked.answer.is_some() {
            return;
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
        if stage.has(Bug::NewIdForRetry) {
            ops::renew(&mut asked.request, op, tried);
        }
        stage.after(0, Event::Client(OnClient::Send(op)));
    }

    /// A request leaves; the number of copies of it that arrive.
    pub(crate) fn send(&mut self, stage: &mut Stage, op: OpId) -> u32 {
        let Some(asked) = self.ops.get_mut(op).filter(|asked| asked.answer.is_none()) else {
            return 0;
        };
        asked.tries += 1;
        let patience = stage.chance.between(PATIENCE_US / 2..PATIENCE_US);
        stage.after(patience, Event::Client(OnClient::GiveUp(op, asked.tries)));
        if stage.chance.permille(stage.swarm.loss) {
            return 0;
        }
        1 + u32::from(stage.chance.permille(stage.swarm.duplicates))
    }

    fn watch(&mut self, stage: &mut Stage, coordinator: &CoordinatorHost, watcher: usize) {
        let pause = stage.chance.between(50_000..SECOND);
        stage.after(pause, Event::Client(OnClient::Watch(watcher)));
        let (Some(ledger), Some(watcher)) =
            (coordinator.readable(), self.watchers.get_mut(watcher))
        else {
            return;
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
                self.subscribers.push(Subscriber::new(id, live, from));
                stage.tally.operations += 1;
                stage.after(0, Event::Client(OnClient::Read(id)));
            }
        }
    }

    fn read(&mut self, stage: &mut Stage, coordinator: &CoordinatorHost, id: SubscriberId) {
        let Some(subscriber) = self
            .subscribers
            .get_mut(id)
            .filter(|subscriber| !subscriber.is_done)
        else {
            return;
        };
        if let Some(ledger) = coordinator.readable() {
            let of = subscriber.fence;
            let execution = ledger.execution_by_id(&ledger::Uuid::from_bytes(of.execution_id));
            let attempt =
                execution.and_then(|execution| execution.attempts.get(of.attempt as usize - 1));
            let is_over = attempt.is_some_and(|attempt| !attempt.is_live());
            subscriber.read(stage, coordinator.feeds().get(&key(of)), is_over);
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
        Request::TransferLeadership { member_id } => format!("transfer to member {member_id}"),
    }
}
