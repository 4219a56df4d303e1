//! A worker's connection: what the worker said last and what it was told last. Nothing here is remembered for longer than
//! the connection; all that matters is in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use contract::link::SynchronizeRequest;
use ledger::{Digest, Fence};

/// One connection of a worker.
#[derive(Debug)]
pub(crate) struct Session {
    /// Name of the worker.
    pub(crate) worker: String,
    /// Incarnation that speaks.
    pub(crate) incarnation: u64,
    /// What its daemon drew at its start.
    pub(crate) instance_id: Bytes,
    /// Generation of the last state that was taken in.
    pub(crate) generation: u64,
    /// Attempts the worker has, as it said last.
    reported: BTreeSet<Fence>,
    /// What it was told last: each attempt and whether it should stop.
    told: Option<BTreeMap<Fence, bool>>,
    /// Digests of the copies that it was told to keep.
    told_copies: BTreeSet<Digest>,
    /// Generation it was told with.
    told_generation: u64,
    /// Generation it says it has seen.
    seen_generation: u64,
    /// Generation of its state that was answered last: a state is answered once.
    answered: u64,
    /// Revision of the ledger, numbers of the standing and the copies, and generation of the state when it was last seen to what the worker must be
    /// told.
    looked_at: Option<(u64, u64, u64, u64)>,
    /// Number of the standing of the coordinators that it was told.
    told_standing: u64,
    /// It must know that it is heard: every state is answered.
    pub(crate) counts_answers: bool,
}

impl Session {
    pub(crate) fn new(state: &SynchronizeRequest) -> Self {
        Self {
            worker: state.worker.clone(),
            incarnation: state.incarnation,
            instance_id: state.instance_id.clone(),
            generation: 0,
            reported: BTreeSet::new(),
            told: None,
            told_copies: BTreeSet::new(),
            told_generation: 0,
            seen_generation: 0,
            answered: 0,
            looked_at: None,
            told_standing: 0,
            counts_answers: false,
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
            .filter_map(|attempt| Fence::try_from(attempt.fence.as_ref()?).ok())
            .collect();
        true
    }

    /// Whether the worker has the attempt, and so knows its assignment.
    pub(crate) fn knows(&self, fence: &Fence) -> bool {
        self.reported.contains(fence)
    }

    /// Whether the worker has not got the attempt and never will: on this connection it has read that it should not, and then said that it has
    /// not. A state alone does not show it: an assignment may be on its way to a worker that stands still, and a connection begins with what
    /// was said last on the one before (I-15).
    pub(crate) fn is_rid_of(&self, fence: &Fence) -> bool {
        let has_read = self.seen_generation >= self.told_generation;
        let told = self.told.as_ref();
        has_read && told.is_some_and(|told| !told.contains_key(fence)) && !self.knows(fence)
    }

    /// Whether the ledger, at `revision`, the standing of the coordinators, what is asked of copies or the worker's state has moved since this was
    /// asked last.
    pub(crate) fn must_be_looked_at(&mut self, revision: u64, standing: u64, copies: u64) -> bool {
        let now = Some((revision, standing, copies, self.generation));
        std::mem::replace(&mut self.looked_at, now) != now
    }

    /// Whether the worker must be told: what it should have differs from what it was told last, or it was told and has
    /// neither seen it nor acts on it.
    pub(crate) fn must_be_told(
        &self,
        desired: &BTreeMap<Fence, bool>,
        copies: &BTreeSet<Digest>,
        standing: u64,
    ) -> bool {
        if self.told.as_ref() != Some(desired)
            || self.told_copies != *copies
            || self.told_standing != standing
        {
            return true;
        }
        if self.counts_answers && self.generation > self.answered {
            return true;
        }
        let acts = self.reported.iter().eq(desired.keys());
        !acts && self.seen_generation >= self.told_generation && self.generation > self.answered
    }

    /// Notes what the worker is being told.
    pub(crate) fn tell(
        &mut self,
        desired: BTreeMap<Fence, bool>,
        copies: BTreeSet<Digest>,
        generation: u64,
        standing: u64,
    ) {
        self.told = Some(desired);
        self.told_copies = copies;
        self.told_standing = standing;
        self.told_generation = generation;
        self.answered = self.generation;
    }
}
