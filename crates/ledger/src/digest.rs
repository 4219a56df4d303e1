//! A running digest of everything that changed: equal on every member at the same revision (I-04), at a cost that follows
//! what an entry changed and not how much there is.
//!
//! What is folded in which order is as fixed as a format on the disk: members of two versions must agree on it. It changes with
//! a feature level only.

use std::sync::Arc;

use crate::changes::Subject;
use crate::ledger::Ledger;
use crate::outcome::{Applied, Outcome};

/// Folds what an entry did into the digest of what came before.
pub(crate) fn fold(ledger: &Ledger, applied: &Applied) -> [u8; 32] {
    let mut words = Words(Vec::with_capacity(256));
    words.0.extend_from_slice(&ledger.digest);
    words.number(ledger.revision);
    words.number(ledger.time_ms as u64);
    for outcome in &applied.outcomes {
        words.outcome(outcome.as_ref().ok());
    }
    for subject in &applied.subjects {
        words.subject(ledger, subject);
    }
    words.number(ledger.data.len() as u64);
    words.number(ledger.requests.len() as u64);
    words.number(ledger.members.len() as u64);
    *blake3::hash(&words.0).as_bytes()
}

/// What is digested, each thing with its length or in a fixed one, so that nothing reads as something else.
struct Words(Vec<u8>);

impl Words {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// What a command did; that one was refused, but not in which words.
    fn outcome(&mut self, outcome: Option<&Outcome>) {
        match outcome {
            None => self.number(0),
            Some(Outcome::Nothing) => self.number(1),
            Some(Outcome::Pipeline { project, number }) => {
                self.number(2);
                self.text(project);
                self.number(*number as u64);
            }
            Some(Outcome::Execution { project, number }) => {
                self.number(3);
                self.text(project);
                self.number(*number as u64);
            }
            Some(Outcome::Worker { name }) => {
                self.number(4);
                self.text(name);
            }
            Some(Outcome::Attempt(fence)) => {
                self.number(5);
                self.0.extend_from_slice(fence.execution_id.as_bytes());
                self.number(fence.index);
            }
            Some(Outcome::Member { member_id }) => {
                self.number(6);
                self.number(*member_id);
            }
            Some(Outcome::Token { token_id }) => {
                self.number(7);
                self.text(token_id);
            }
            Some(Outcome::Joined { token_id, index }) => {
                self.number(8);
                self.text(token_id);
                self.number(*index);
            }
            Some(Outcome::Revoked { principal }) => {
                self.number(9);
                self.text(principal);
            }
            Some(Outcome::Copies { worker, digests }) => {
                self.number(12);
                self.text(worker);
                self.number(digests.len() as u64);
                for digest in &**digests {
                    self.0.extend_from_slice(digest);
                }
            }
            Some(Outcome::FeatureLevel { level }) => {
                self.number(11);
                self.number(u64::from(*level));
            }
        }
    }

    /// Where a subject stands by now.
    fn subject(&mut self, ledger: &Ledger, subject: &Subject) {
        match subject {
            Subject::Pipeline { project, number } => {
                self.text(project);
                self.number(*number as u64);
                let Some(pipeline) = ledger.pipeline(project, *number) else {
                    return;
                };
                self.number(pipeline.state as u64);
                self.number(pipeline.end_reason as u64);
                self.number(pipeline.end_time_ms as u64);
                for node in &pipeline.nodes {
                    self.number(node.state as u64);
                    self.number(node.execution as u64);
                    self.number(u64::from(node.retries));
                }
            }
            Subject::Execution { project, number } => self.execution(ledger, project, *number),
            Subject::Worker(name) => {
                self.text(name);
                let Some(worker) = ledger.worker(name) else {
                    return;
                };
                self.number(worker.incarnation);
                self.number(u64::from(worker.lost) | u64::from(worker.drained) << 1);
                for fence in worker.attempts() {
                    self.0.extend_from_slice(fence.execution_id.as_bytes());
                    self.number(fence.index);
                }
                // Where there are no devices, it is what it was before there could be any.
                for (device_id, fence) in worker.holds() {
                    self.text(device_id);
                    self.number(fence.index);
                }
            }
        }
    }

    fn execution(&mut self, ledger: &Ledger, project: &Arc<str>, number: i64) {
        self.text(project);
        self.number(number as u64);
        let Some(execution) = ledger.execution(project, number) else {
            return;
        };
        self.0.extend_from_slice(execution.execution_id.as_bytes());
        self.number(execution.state() as u64);
        self.number(execution.end_reason as u64);
        self.number(execution.end_time_ms as u64);
        self.number(
            execution
                .exit_code
                .map_or(u64::MAX, |code| code as u32 as u64),
        );
        self.number(execution.attempts.len() as u64);
        if let Some(attempt) = execution.attempts.last() {
            self.text(&attempt.worker);
            self.number(attempt.fence_index);
            self.number(attempt.state as u64);
            self.number(attempt.record_count);
        }
        for output in &*execution.outputs {
            self.0.extend_from_slice(output.as_bytes());
        }
    }
}
