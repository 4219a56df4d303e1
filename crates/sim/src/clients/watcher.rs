//! A watcher: reads what changed after the revision it has seen, and remembers where everything stands.

use std::collections::BTreeMap;

use contract::api::State;
use ledger::{Ledger, Subject};

use crate::event::CoordinatorId;
use crate::stage::Stage;

/// See the module's words.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    revision: u64,
    /// Whom it watches.
    pub(crate) at: CoordinatorId,
    executions: BTreeMap<i64, (u64, State)>,
    pipelines: BTreeMap<i64, (u64, State)>,
}

impl Watcher {
    pub(crate) fn new(at: CoordinatorId) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }

    /// The newest revision it has seen.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Reads what is new. Answers the numbers of executions that changed.
    pub(crate) fn read(&mut self, stage: &mut Stage, ledger: &Ledger) -> Vec<i64> {
        let mut changed = Vec::new();
        for (revision, subject) in ledger.changed_since(self.revision) {
            let (seen, number, state) = match subject {
                Subject::Execution { project, number } => {
                    changed.push(*number);
                    (
                        &mut self.executions,
                        *number,
                        ledger
                            .execution(project, *number)
                            .map(|found| found.state()),
                    )
                }
                Subject::Pipeline { project, number } => (
                    &mut self.pipelines,
                    *number,
                    ledger.pipeline(project, *number).map(|found| found.state),
                ),
                Subject::Worker(_) => continue,
            };
            let Some(state) = state else {
                stage.checkers.violated(
                    "I-01",
                    format!("{subject} changed at {revision} and does not exist"),
                );
                continue;
            };
            seen.insert(number, (revision, state));
        }
        self.revision = ledger.revision();
        changed
    }

    /// Whether it knows all there is to know: nothing may have been passed over.
    pub(crate) fn check(&self, ledger: &Ledger, project: &str) -> Result<(), String> {
        for execution in ledger.executions(project) {
            let seen = self
                .executions
                .get(&execution.number)
                .map(|(_, state)| *state);
            if seen != Some(execution.state()) {
                return Err(format!(
                    "#{} is {:?}, a watcher knows {seen:?}",
                    execution.number,
                    execution.state()
                ));
            }
        }
        for pipeline in ledger.pipelines(project) {
            let seen = self
                .pipelines
                .get(&pipeline.number)
                .map(|(_, state)| *state);
            if seen != Some(pipeline.state) {
                return Err(format!(
                    "pipeline {} is {:?}, a watcher knows {seen:?}",
                    pipeline.number, pipeline.state
                ));
            }
        }
        Ok(())
    }
}
