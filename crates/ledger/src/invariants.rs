//! What always holds. Checked after each step by tests and the simulator, and by whoever restores a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use contract::api::State;

use crate::ids::Fence;
use crate::ledger::Ledger;
use crate::records::{Execution, Pipeline, Project};
use crate::stored::Stored;
use crate::{MAX_ATTEMPTS, REMEMBERED_REQUESTS};

/// Says what does not hold.
macro_rules! hold {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}

impl Ledger {
    /// Checks everything that holds in every ledger, record by record and index by index.
    ///
    /// # Errors
    /// The first thing that does not hold, in words, with the code of what was promised.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut seen = Seen::default();
        for project in self.projects() {
            self.check_project(project, &mut seen)?;
        }
        self.check_workers(&seen.live)?;
        self.check_promises()?;
        self.check_members()?;
        self.check_tokens()?;
        self.check_requests()?;
        hold!(
            self.by_id.len() == seen.executions,
            "executions by id: {} of {}",
            self.by_id.len(),
            seen.executions
        );
        hold!(
            self.data.len() == seen.data,
            "data: {} of {}",
            self.data.len(),
            seen.data
        );
        self.check_copies()?;
        let queued: BTreeSet<(&str, i64)> = self
            .queued()
            .map(|execution| (&*execution.project, execution.number))
            .collect();
        hold!(
            queued == seen.waiting,
            "I-08: the queue holds {queued:?}, but {:?} wait",
            seen.waiting
        );
        hold!(
            self.queued_count() == seen.waiting.len(),
            "I-08: the queue counts {}",
            self.queued_count()
        );
        let subjects = seen.executions + seen.pipelines + self.workers.len();
        hold!(
            self.changes.len() == subjects,
            "changes: {} of {subjects}",
            self.changes.len()
        );
        let newest = self
            .changed_since(0)
            .next_back()
            .map(|(revision, _)| revision)
            .unwrap_or_default();
        hold!(
            newest <= self.revision,
            "a change at {newest} after the revision {}",
            self.revision
        );
        Ok(())
    }

    fn check_project<'a>(
        &'a self,
        project: &'a Project,
        seen: &mut Seen<'a>,
    ) -> Result<(), String> {
        let (mut live, mut weight) = (0, 0);
        for (at, execution) in project.executions.iter().enumerate() {
            let name = format!("{}#{}", project.name, execution.number);
            hold!(execution.number == at as i64 + 1, "{name} stands at {at}");
            hold!(
                execution.project == project.name,
                "{name} says it is of {}",
                execution.project
            );
            self.check_execution(execution, &name)?;
            let found = self.by_id.get(&execution.execution_id);
            let indexed = found.is_some_and(|(owner, number)| {
                *owner == project.name && *number == execution.number
            });
            hold!(indexed, "{name} is not found by its id");
            seen.executions += 1;
            if execution.is_waiting() {
                seen.waiting.insert((&project.name, execution.number));
            }
            if let Some(attempt) = execution.live_attempt() {
                live += 1;
                weight += execution.recipe.needs.weight();
                seen.live
                    .entry(&attempt.worker)
                    .or_default()
                    .insert(execution.fence(attempt));
            }
        }
        hold!(
            project.live == live && project.live_weight == weight,
            "project {} counts {} live attempts of {live}, or not what they weigh",
            project.name,
            project.live
        );
        for (at, pipeline) in project.pipelines.iter().enumerate() {
            hold!(
                pipeline.number == at as i64 + 1,
                "pipeline {}/{} stands at {at}",
                project.name,
                pipeline.number
            );
            self.check_pipeline(pipeline)?;
            seen.pipelines += 1;
        }
        for id in &project.data {
            let datum = self.datum(id).filter(|datum| datum.project == project.name);
            hold!(
                datum.is_some(),
                "datum {id} of project {} does not exist",
                project.name
            );
            seen.data += 1;
        }
        Ok(())
    }

    fn check_execution(&self, execution: &Execution, name: &str) -> Result<(), String> {
        let attempts = &execution.attempts;
        hold!(
            attempts.len() <= MAX_ATTEMPTS as usize,
            "I-06: {name} has {} attempts",
            attempts.len()
        );
        for (at, attempt) in attempts.iter().enumerate() {
            hold!(
                attempt.number as usize == at + 1,
                "I-06: attempt {} of {name} stands at {at}",
                attempt.number
            );
            let last = at + 1 == attempts.len();
            hold!(
                last || !attempt.is_live(),
                "I-06: attempt {} of {name} is live beside a later one",
                attempt.number
            );
            let fences = (1..=self.revision).contains(&attempt.fence_index);
            hold!(
                fences,
                "I-06: attempt {} of {name} has fence index {}",
                attempt.number,
                attempt.fence_index
            );
        }
        let live = execution.live_attempt();
        let state = execution.state();
        match state {
            State::Queued => {}
            State::Started | State::Stopping => hold!(
                live.is_some(),
                "I-08: {name} is {state:?}, and no worker has it"
            ),
            State::Complete | State::Error | State::Stopped => {
                hold!(
                    live.is_none(),
                    "I-06: {name} is {state:?}, and a worker has it"
                );
                hold!(
                    execution.end_time_ms <= self.time_ms,
                    "{name} ended after now"
                );
            }
            State::Unspecified | State::Created => {
                return Err(format!("I-08: {name} is {state:?}"));
            }
        }
        if state == State::Complete {
            let accepted = attempts
                .iter()
                .filter(|attempt| attempt.state == State::Complete)
                .count();
            hold!(
                accepted == 1,
                "I-06: {name} completed with {accepted} accepted results"
            );
        }
        for id in &*execution.outputs {
            let datum = self
                .datum(id)
                .is_some_and(|datum| datum.execution == execution.number);
            hold!(datum, "I-18: output {id} of {name} is no datum of it");
        }
        hold!(
            execution.revision <= self.revision,
            "{name} changed at {}",
            execution.revision
        );
        Ok(())
    }

    fn check_pipeline(&self, pipeline: &Pipeline) -> Result<(), String> {
        let name = format!("pipeline {}/{}", pipeline.project, pipeline.number);
        hold!(
            pipeline.nodes.len() == pipeline.blueprint.nodes.len(),
            "{name} has {} nodes",
            pipeline.nodes.len()
        );
        let open = pipeline
            .nodes
            .iter()
            .filter(|node| !node.is_final())
            .count();
        hold!(
            pipeline.open == open,
            "{name} counts {} open nodes of {open}",
            pipeline.open
        );
        hold!(
            pipeline.is_final() == (open == 0),
            "I-08: {name} is {:?} with {open} open nodes",
            pipeline.state
        );
        let stopping = pipeline.state == State::Stopping;
        hold!(
            stopping == pipeline.ending.is_some(),
            "{name} is {:?}, ending as {:?}",
            pipeline.state,
            pipeline.ending
        );
        for (at, node) in pipeline.nodes.iter().enumerate() {
            let planned = &pipeline.blueprint.nodes[at];
            let name = format!("node {} of {name}", planned.name);
            let execution = self.execution(&pipeline.project, node.execution);
            match execution {
                None => {
                    hold!(
                        node.execution == 0,
                        "{name} names execution {}",
                        node.execution
                    );
                    let waits =
                        matches!(node.state, State::Created | State::Stopped | State::Error);
                    hold!(waits, "{name} is {:?} without an execution", node.state);
                }
                Some(execution) => {
                    let state = execution.state();
                    hold!(
                        node.state == state,
                        "{name} is {:?}, its execution {state:?}",
                        node.state
                    );
                    hold!(!node.skipped, "{name} was skipped and runs");
                    for source in pipeline.blueprint.sources(at) {
                        let source = &pipeline.nodes[source];
                        hold!(
                            source.is_final(),
                            "I-09: {name} started before a node before it ended"
                        );
                    }
                }
            }
            let stuck = node.state == State::Created
                && pipeline
                    .blueprint
                    .sources(at)
                    .all(|source| pipeline.nodes[source].is_final());
            hold!(!stuck, "I-08: {name} waits for nothing");
        }
        Ok(())
    }

    fn check_workers(&self, live: &BTreeMap<&str, BTreeSet<Fence>>) -> Result<(), String> {
        for worker in self.workers() {
            let has: BTreeSet<Fence> = worker.attempts.iter().copied().collect();
            hold!(
                has.len() == worker.attempts.len(),
                "worker {} has an attempt twice",
                worker.name
            );
            let should = live.get(&*worker.name).cloned().unwrap_or_default();
            hold!(
                has == should,
                "I-06: worker {} has {has:?}, not {should:?}",
                worker.name
            );
            hold!(
                worker.taken == self.taken_by(&worker.attempts),
                "worker {} counts {:?}",
                worker.name,
                worker.taken
            );
            for fence in &worker.attempts {
                let attempt = self
                    .execution_by_id(&fence.execution_id)
                    .and_then(|execution| execution.live_attempt());
                for id in attempt.iter().flat_map(|attempt| &*attempt.device_ids) {
                    hold!(
                        worker.holds.get(id) == Some(fence),
                        "I-15: {fence} has device {id} of worker {}, which is {:?}'s",
                        worker.name,
                        worker.holds.get(id)
                    );
                }
            }
            hold!(
                !worker.lost || has.is_empty(),
                "I-08: worker {} is lost and has attempts",
                worker.name
            );
        }
        for worker in live.keys() {
            hold!(
                self.worker(worker).is_some(),
                "worker {worker} has attempts and is not known"
            );
        }
        Ok(())
    }

    fn check_copies(&self) -> Result<(), String> {
        hold!(
            self.stored.agrees(&Stored::follows(self)),
            "who has which blob does not follow from the data and the copies"
        );
        for (_, workers) in self.stored.copies() {
            for name in workers {
                let known = self.worker(name).is_some();
                hold!(known, "I-20: worker {name} keeps a copy and is not known");
            }
        }
        Ok(())
    }

    fn check_promises(&self) -> Result<(), String> {
        for (environment, promise) in &self.promises {
            let execution = self.execution(&promise.project, promise.execution);
            let holds = execution.is_some_and(|execution| {
                execution.is_waiting() && *execution.recipe.needs.environment == **environment
            });
            hold!(
                holds
                    && promise.environment == *environment
                    && self.worker(&promise.worker).is_some(),
                "{}#{} does not wait for {environment:?} and was promised its start",
                promise.project,
                promise.execution
            );
        }
        Ok(())
    }

    fn check_members(&self) -> Result<(), String> {
        let mut addresses = BTreeSet::new();
        for (id, member) in &self.members {
            hold!(
                *id == member.member_id && *id != 0,
                "member {} stands at {id}",
                member.member_id
            );
            hold!(
                member.is_removed()
                    || member.address.is_empty()
                    || addresses.insert(&member.address),
                "I-13: two members are at {}",
                member.address
            );
        }
        Ok(())
    }

    fn check_tokens(&self) -> Result<(), String> {
        hold!(
            self.tokens.len() <= crate::MAX_TOKENS,
            "{} join tokens",
            self.tokens.len()
        );
        for (token_id, token) in &self.tokens {
            hold!(
                *token_id == token.token_id,
                "token {} stands at {token_id}",
                token.token_id
            );
            let used = token.used.as_ref().map_or(0, |used| used.index);
            hold!(used <= self.revision, "token {token_id} was used at {used}");
            hold!(
                used == 0 || !token.revoked,
                "token {token_id} was used and revoked"
            );
        }
        for revocation in self.revocations() {
            hold!(
                revocation.index <= self.revision,
                "{} was revoked at {}",
                revocation.principal,
                revocation.index
            );
        }
        Ok(())
    }

    fn check_requests(&self) -> Result<(), String> {
        hold!(
            self.requests.len() <= REMEMBERED_REQUESTS,
            "I-02: {} requests",
            self.requests.len()
        );
        let order: BTreeSet<_> = self.request_order.iter().collect();
        let known: BTreeSet<_> = self.requests.keys().collect();
        hold!(
            order == known,
            "I-02: the order of the requests is not that of the known ones"
        );
        hold!(
            self.request_order.len() == known.len(),
            "I-02: a request is remembered twice"
        );
        Ok(())
    }
}

/// What was met on the way.
#[derive(Default)]
struct Seen<'a> {
    executions: usize,
    pipelines: usize,
    data: usize,
    waiting: BTreeSet<(&'a str, i64)>,
    live: BTreeMap<&'a str, BTreeSet<Fence>>,
}
