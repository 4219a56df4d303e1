//! What the ledger does not know.

/// What the leader sees of its workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// One for each worker that was ever seen; one that is missing counts as out of contact.
    pub workers: Vec<WorkerFact>,
}

/// What the leader sees of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFact {
    /// Its name.
    pub name: String,
    /// Whether it is in contact.
    pub connected: bool,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// How many more may be assigned ahead, so that it never waits for the coordinator between short steps.
    pub backlog: u32,
    /// Whether it takes no new attempts.
    pub draining: bool,
    /// Whether its disk has too little room for anything new.
    pub disk_full: bool,
}
