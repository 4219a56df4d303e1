//! What the ledger does not know.

use std::collections::BTreeMap;

/// What the leader sees of its workers. One that is missing counts as out of contact.
pub type Facts = BTreeMap<String, WorkerFact>;

/// What the leader sees of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerFact {
    /// Incarnation that is in contact; none when it is not in contact.
    pub incarnation: Option<u64>,
    /// How many attempts for each of its slots may be assigned ahead, so that it never waits for the coordinator between short steps.
    pub ahead_per_slot: u32,
}
