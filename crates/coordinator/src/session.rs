//! A worker's connection: what the worker said last and what it was told last. Nothing here is remembered for longer than
//! the connection; all that matters is in the ledger.

use std::collections::BTreeMap;

use contract::link::{AttemptPhase, Fence, SynchronizeRequest};

/// A fence with an order, to be a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FenceKey {
    execution_id: Vec<u8>,
    attempt: u32,
    index: u64,
}

impl From<&Fence> for FenceKey {
    fn from(fence: &Fence) -> Self {
        Self { execution_id: fence.execution_id.to_vec(), attempt: fence.attempt, index: fence.index }
    }
}

/// One connection of a worker.
#[derive(Debug)]
pub(crate) struct Session {
    /// Name of the worker.
    pub(crate) worker: String,
    /// Incarnation that speaks.
    pub(crate) incarnation: u64,
    /// Generation of the last state that was taken in.
    pub(crate) generation: u64,
    /// Attempts the worker has, as it said last.
    reported: BTreeMap<FenceKey, AttemptPhase>,
    /// What it was told last: each attempt and whether it should stop.
    told: Option<BTreeMap<FenceKey, bool>>,
    /// Generation it was told with.
    told_generation: u64,
    /// Generation it says it has seen.
    seen_generation: u64,
}

impl Session {
    pub(crate) fn new(state: &SynchronizeRequest) -> Self {
        Self {
            worker: state.worker.clone(),
            incarnation: state.incarnation,
            generation: 0,
            reported: BTreeMap::new(),
            told: None,
            told_generation: 0,
            seen_generation: 0,
        }
    }

    /// Takes in a state. An older one than was seen is of no use and answers false.
    pub(crate) fn take_in(&mut self, state: &SynchronizeRequest) -> bool {
        if state.generation <= self.generation {
            return false;
        }
        self.generation = state.generation;
        self.seen_generation = state.desired_generation;
        self.reported = state
            .attempts
            .iter()
            .filter_map(|attempt| Some((FenceKey::from(attempt.fence.as_ref()?), attempt.phase())))
            .collect();
        true
    }

    /// Whether the worker has the attempt, and so knows its assignment.
    pub(crate) fn knows(&self, fence: &FenceKey) -> bool {
        self.reported.contains_key(fence)
    }

    /// Whether the worker must be told: what it should have differs from what it was told last, or it was told and has
    /// neither seen it nor acts on it.
    pub(crate) fn must_be_told(&self, desired: &BTreeMap<FenceKey, bool>) -> bool {
        if self.told.as_ref() != Some(desired) {
            return true;
        }
        let acts = self.reported.keys().eq(desired.keys());
        !acts && self.seen_generation >= self.told_generation
    }

    /// Notes what the worker is being told.
    pub(crate) fn tell(&mut self, desired: BTreeMap<FenceKey, bool>, generation: u64) {
        self.told = Some(desired);
        self.told_generation = generation;
    }
}
