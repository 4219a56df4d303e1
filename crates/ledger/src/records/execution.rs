//! One run of one step.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::api::{self, EndReason, State};
use contract::ledger as pb;
use prost::bytes::Bytes;
use uuid::Uuid;

use super::{Attempt, Input, Recipe, digest_bytes};
use crate::ids::{self, Fence};
use crate::transition;

/// One run of one step, its parameters and inputs fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// Project it belongs to.
    pub project: Arc<str>,
    /// Number in the project, from 1.
    pub number: i64,
    /// Its UUID.
    pub execution_id: Uuid,
    /// What it runs.
    pub recipe: Arc<Recipe>,
    /// Inputs with their files, in the order of the step.
    pub inputs: Arc<[Input]>,
    /// Number of its pipeline; 0 means none.
    pub pipeline: i64,
    /// Name of its node; empty outside a pipeline.
    pub node: Arc<str>,
    /// Where it stands. Changed by [`Execution::enter`] alone.
    pub(crate) state: State,
    /// Why it ended.
    pub end_reason: EndReason,
    /// For people.
    pub message: String,
    /// Unix time in milliseconds.
    pub create_time_ms: i64,
    /// Unix time in milliseconds; 0 before.
    pub end_time_ms: i64,
    /// Every try.
    pub attempts: Vec<Attempt>,
    /// Its data, in the order in which they were published.
    pub outputs: Arc<[Uuid]>,
    /// Latest metadata, one JSON object; empty when there is none.
    pub metadata_json: Arc<str>,
    /// Identity digest, once the inputs are known.
    pub identity: Option<[u8; 32]>,
    /// Exit code of the accepted attempt.
    pub exit_code: Option<i32>,
    /// Title for people.
    pub title: Arc<str>,
    /// Words of the user; none when there are none.
    pub(crate) annotations: Option<Arc<BTreeMap<String, String>>>,
    /// Raft index of its last change.
    pub revision: u64,
    /// Why it is being stopped; unspecified when it is not.
    pub stop_reason: EndReason,
    /// Raft index of the entry that created it: its age in the queue.
    pub create_index: u64,
    /// Which of those that wait goes first, of [`crate::PRIORITY_RANGE`]: greater is sooner.
    pub priority: i32,
}

const NO_ANNOTATIONS: &BTreeMap<String, String> = &BTreeMap::new();

impl Execution {
    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The step it runs, every value fixed.
    pub fn template(&self) -> &pb::StepTemplate {
        &self.recipe.template
    }

    /// Shell lines with the values in.
    pub fn commands(&self) -> &[String] {
        &self.recipe.commands
    }

    /// The source tree.
    pub fn source(&self) -> Option<&api::Source> {
        self.recipe.source.as_ref()
    }

    /// Words of the user.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        self.annotations.as_deref().unwrap_or(NO_ANNOTATIONS)
    }

    /// Whether it has reached a state that nothing follows.
    pub fn is_final(&self) -> bool {
        transition::is_final(self.state)
    }

    /// The attempt that a worker has now.
    pub fn live_attempt(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.is_live())
    }

    /// The fence of the attempt that a worker has now.
    pub fn live_fence(&self) -> Option<Fence> {
        self.live_attempt().map(|attempt| self.fence(attempt))
    }

    /// The fence of one of its attempts.
    pub fn fence(&self, attempt: &Attempt) -> Fence {
        Fence {
            execution_id: self.execution_id,
            attempt: attempt.number,
            index: attempt.fence_index,
        }
    }

    /// Whether it waits for a worker.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Queued && self.live_attempt().is_none()
    }

    /// Comes into another state.
    ///
    /// # Panics
    /// When the table forbids it: going on would break what was promised (I-05).
    pub(crate) fn enter(&mut self, state: State) {
        let from = self.state;
        let legal = transition::may(from, state);
        assert!(
            legal,
            "I-05: execution {}#{} went from {from:?} to {state:?}",
            self.project, self.number
        );
        self.state = state;
    }

    pub(crate) fn record(&self) -> pb::ExecutionRecord {
        pb::ExecutionRecord {
            project: self.project.to_string(),
            number: self.number,
            execution_id: ids::wire(self.execution_id),
            template: Some((*self.recipe.template).clone()),
            commands: self.recipe.commands.clone(),
            inputs: self.inputs.iter().map(Input::record).collect(),
            source: self.recipe.source.clone(),
            pipeline: self.pipeline,
            node: self.node.to_string(),
            state: self.state.into(),
            end_reason: self.end_reason.into(),
            message: self.message.clone(),
            create_time_ms: self.create_time_ms,
            end_time_ms: self.end_time_ms,
            attempts: self.attempts.iter().map(Attempt::record).collect(),
            outputs: self
                .outputs
                .iter()
                .map(|id| ids::wire(*id))
                .collect::<Vec<Bytes>>(),
            metadata_json: self.metadata_json.to_string(),
            identity: digest_bytes(self.identity.as_ref()),
            exit_code: self.exit_code,
            title: self.title.to_string(),
            annotations: self.annotations().clone(),
            revision: self.revision,
            stop_reason: self.stop_reason.into(),
            create_index: self.create_index,
            priority: self.priority,
        }
    }
}
