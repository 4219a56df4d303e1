//! Planted bugs: ways in which a host can break its part of the contract with a mind. Tests plant each of them and expect it to
//! be caught; without that, a run without violations would say little.

use std::fmt;

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The coordinator's disk says that a batch is stored when it has only been handed over.
    AckBeforeStored,
    /// A restarted coordinator forgets the newest entry that it had stored.
    ForgetLastEntry,
    /// A restarted coordinator starts from its newest snapshot and never reads the log after it.
    ForgetLogAfterSnapshot,
    /// A push of records is answered before they are stored.
    AckRecordsBeforeStored,
    /// A push that repeats what is on its way to the disk is answered at once, with what is on the disk.
    AnswerRepeatsAtOnce,
    /// A pushed batch is stored as it comes, without a look at what is there already.
    StoreEveryPush,
    /// A daemon that crashes takes the directories of its attempts with it.
    ForgetDirectories,
    /// The mark that a program was launched is not written.
    ForgetLaunchMark,
    /// A worker's orders are also given to another worker.
    DuplicateFence,
    /// A worker's orders to stop never reach it.
    DropStops,
    /// The end of a program is told before the rest of its log was read.
    EndBeforeTail,
    /// Outputs are told to be stored and are not.
    OutputsNotStored,
    /// One of several outputs is left out.
    LoseAnOutput,
    /// A caller that repeats a request takes a new request id.
    NewIdForRetry,
    /// A subscriber that comes back goes on with the record after the next.
    ResumeTooLate,
    /// A subscriber that comes back is given its last record again.
    ResumeTooEarly,
    /// A broken link is never opened again.
    NeverDialAgain,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::AckBeforeStored,
        Self::ForgetLastEntry,
        Self::ForgetLogAfterSnapshot,
        Self::AckRecordsBeforeStored,
        Self::AnswerRepeatsAtOnce,
        Self::StoreEveryPush,
        Self::ForgetDirectories,
        Self::ForgetLaunchMark,
        Self::DuplicateFence,
        Self::DropStops,
        Self::EndBeforeTail,
        Self::OutputsNotStored,
        Self::LoseAnOutput,
        Self::NewIdForRetry,
        Self::ResumeTooLate,
        Self::ResumeTooEarly,
        Self::NeverDialAgain,
    ];
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
