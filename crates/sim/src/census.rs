//! Counts the hard places that can be seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use contract::api::{ErrorReason, State};
use coordinator::Request;
use ledger::{Execution, Ledger};

use crate::checkers::Fact;
use crate::clients::{OpId, PROJECT};
use crate::tally::Tally;

/// What has to be remembered to recognise them.
#[derive(Debug, Default)]
pub(crate) struct Census {
    answered: BTreeSet<OpId>,
    lost: BTreeSet<String>,
    /// Executions that were cancelled while a worker had them.
    stopping: BTreeMap<i64, ()>,
}

impl Census {
    pub(crate) fn see(&mut self, tally: &mut Tally, fact: &Fact<'_>) {
        match fact {
            Fact::Answered {
                op,
                request,
                result,
                ledger,
            } => {
                match result {
                    Ok(_) if !self.answered.insert(*op) => {
                        count(tally, "a repeated request was answered from memory")
                    }
                    Err(refusal) if refusal.reason == ErrorReason::RequestIdReused => {
                        count(tally, "a request id was refused for another body");
                    }
                    _ => {}
                }
                if result.is_ok() {
                    self.cancelled(tally, request, ledger);
                }
            }
            Fact::Published {
                ledger,
                is_newest: true,
                ..
            } => {
                if ledger.feature_level() > 1 {
                    count(tally, "a feature level was raised");
                }
                self.workers(tally, ledger);
            }
            _ => {}
        }
    }

    fn cancelled(&mut self, tally: &mut Tally, request: &Request, ledger: &Ledger) {
        let name = match request {
            Request::CancelPipeline(_) => return count(tally, "a pipeline was cancelled"),
            Request::CancelExecution(request) => &request.name,
            _ => return,
        };
        let number = name
            .rsplit('/')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        let Some(execution) = ledger.execution(PROJECT, number) else {
            return;
        };
        match (execution.state(), execution.attempts.is_empty()) {
            (State::Stopping, _) => {
                self.stopping.insert(number, ());
                count(tally, "an execution was cancelled while a worker had it");
            }
            (State::Stopped, true) => {
                count(tally, "an execution was cancelled before it had a worker")
            }
            _ => count(tally, "an execution was cancelled after its end"),
        }
    }

    fn workers(&mut self, tally: &mut Tally, ledger: &Ledger) {
        for worker in ledger.workers() {
            if worker.lost && self.lost.insert(worker.name.to_string()) {
                count(tally, "a worker was declared lost");
            }
            if !worker.lost && self.lost.remove(&*worker.name) {
                count(tally, "a lost worker came back");
            }
        }
    }

    /// Counts what everything came to.
    pub(crate) fn end(&self, tally: &mut Tally, ledger: &Ledger) {
        for execution in ledger.executions(PROJECT) {
            self.ended(tally, execution);
        }
        for pipeline in ledger.pipelines(PROJECT) {
            match pipeline.state {
                State::Complete => count(tally, "a pipeline completed"),
                State::Error => count(tally, "a pipeline failed by a node"),
                _ => {}
            }
            if pipeline.nodes.iter().any(|node| node.skipped) {
                count(tally, "a node was skipped");
            }
            if pipeline.nodes.iter().any(|node| node.retries > 0) {
                count(tally, "a node ran again");
            }
        }
    }

    fn ended(&self, tally: &mut Tally, execution: &Execution) {
        match execution.state() {
            State::Complete => count(tally, "an execution completed"),
            State::Error => count(tally, "an execution failed"),
            _ => count(tally, "an execution was stopped"),
        }
        if execution.attempts.len() > 1 {
            count(tally, "an execution had a second attempt");
        }
        if execution.state() == State::Complete && self.stopping.contains_key(&execution.number) {
            count(tally, "a cancel raced a completion");
        }
    }
}

fn count(tally: &mut Tally, name: &'static str) {
    debug_assert!(
        crate::SOMETIMES.contains(&name),
        "{name} is not on the list"
    );
    *tally.sometimes.entry(name).or_default() += 1;
}
