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
    /// A feed is sealed although records of it are missing.
    SealBeforeRecords,
    /// A coordinator whose disk was lost starts again under its old id.
    RejoinWithOldId,
    /// A coordinator whose disk was put back to an old copy starts as if nothing had happened.
    RollBackUnnoticed,
    /// A vote is not on the disk when it is told.
    ForgetVote,
    /// A snapshot of another coordinator is told to be stored, and its ledger is not taken over.
    SnapshotWithoutLedger,
    /// Whoever is asked for a fresh ledger answers with the one it has.
    ReadWithoutQuorum,
    /// A leader counts itself as a majority.
    AckBeforeQuorum,
    /// A learner that has got nothing yet is taken for one that has caught up.
    PromoteLagging,
    /// A snapshot lacks the request ids that were answered.
    ForgetRequestIds,
    /// The result of a former attempt is taken for one of the attempt that runs.
    StaleResult,
    /// What a caller repeats under a new leader is taken for something new.
    NewIdUnderNewLeader,
    /// A cancel that was lost with its leader is answered as if it had been carried out.
    AckLostCancel,
    /// A coordinator that starts does not look at the checksums of its log and its snapshot.
    IgnoreFlippedBits,
    /// Records of a feed are read without a look at their checksums.
    ServeFlippedBits,
    /// A leader is told that members know more than they do.
    RaiseTooEarly,
    /// A coordinator's program takes itself for a newer one.
    HideOldProgram,
    /// What a worker has and nobody wants any more is left out of what it says.
    HideWhatStops,
    /// A result comes without its metadata.
    LoseMetadata,
    /// A worker that lives is taken for gone when a copy of its directory speaks.
    TakeInCopies,
    /// Chunks that a fetch before a restart has left are taken without a look.
    TrustOldParts,
    /// A worker says that it keeps a copy before it has it.
    CopyTooEarly,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 38] = [
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
        Self::SealBeforeRecords,
        Self::RejoinWithOldId,
        Self::RollBackUnnoticed,
        Self::ForgetVote,
        Self::SnapshotWithoutLedger,
        Self::ReadWithoutQuorum,
        Self::AckBeforeQuorum,
        Self::PromoteLagging,
        Self::ForgetRequestIds,
        Self::StaleResult,
        Self::NewIdUnderNewLeader,
        Self::AckLostCancel,
        Self::IgnoreFlippedBits,
        Self::ServeFlippedBits,
        Self::RaiseTooEarly,
        Self::HideOldProgram,
        Self::HideWhatStops,
        Self::LoseMetadata,
        Self::TakeInCopies,
        Self::TrustOldParts,
        Self::CopyTooEarly,
    ];

    /// What is wrong, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::AckBeforeStored => {
                "the coordinator's disk says that a batch is stored when it has only been handed over"
            }
            Self::ForgetLastEntry => {
                "a restarted coordinator forgets the newest entry that it had stored"
            }
            Self::ForgetLogAfterSnapshot => {
                "a restarted coordinator starts from its newest snapshot and never reads the log after it"
            }
            Self::AckRecordsBeforeStored => "a push of records is answered before they are stored",
            Self::AnswerRepeatsAtOnce => {
                "a push that repeats what is on its way to the disk is answered at once, with what is on the disk"
            }
            Self::StoreEveryPush => {
                "a pushed batch is stored as it comes, without a look at what is there already"
            }
            Self::ForgetDirectories => {
                "a daemon that crashes takes the directories of its attempts with it"
            }
            Self::ForgetLaunchMark => "the mark that a program was launched is not written",
            Self::DuplicateFence => "a worker's orders are also given to another worker",
            Self::DropStops => "a worker's orders to stop never reach it",
            Self::EndBeforeTail => {
                "the end of a program is told before the rest of its log was read"
            }
            Self::OutputsNotStored => "outputs are told to be stored and are not",
            Self::LoseAnOutput => "one of several outputs is left out",
            Self::NewIdForRetry => "a caller that repeats a request takes a new request id",
            Self::ResumeTooLate => {
                "a subscriber that comes back goes on with the record after the next"
            }
            Self::ResumeTooEarly => "a subscriber that comes back is given its last record again",
            Self::NeverDialAgain => "a broken link is never opened again",
            Self::SealBeforeRecords => "a feed is sealed although records of it are missing",
            Self::RejoinWithOldId => {
                "a coordinator whose disk was lost starts again under its old id"
            }
            Self::RollBackUnnoticed => {
                "a coordinator whose disk was put back to an old copy starts as if nothing had happened"
            }
            Self::ForgetVote => "a vote is not on the disk when it is told",
            Self::SnapshotWithoutLedger => {
                "a snapshot of another coordinator is told to be stored, and its ledger is not taken over"
            }
            Self::ReadWithoutQuorum => {
                "whoever is asked for a fresh ledger answers with the one it has"
            }
            Self::AckBeforeQuorum => "a leader counts itself as a majority",
            Self::PromoteLagging => {
                "a learner that has got nothing yet is taken for one that has caught up"
            }
            Self::ForgetRequestIds => "a snapshot lacks the request ids that were answered",
            Self::StaleResult => {
                "the result of a former attempt is taken for one of the attempt that runs"
            }
            Self::NewIdUnderNewLeader => {
                "what a caller repeats under a new leader is taken for something new"
            }
            Self::AckLostCancel => {
                "a cancel that was lost with its leader is answered as if it had been carried out"
            }
            Self::IgnoreFlippedBits => {
                "a coordinator that starts does not look at the checksums of its log and its snapshot"
            }
            Self::ServeFlippedBits => {
                "records of a feed are read without a look at their checksums"
            }
            Self::RaiseTooEarly => "a leader is told that members know more than they do",
            Self::HideOldProgram => "a coordinator's program takes itself for a newer one",
            Self::HideWhatStops => {
                "what a worker has and nobody wants any more is left out of what it says"
            }
            Self::LoseMetadata => "a result comes without its metadata",
            Self::TakeInCopies => {
                "a worker that lives is taken for gone when a copy of its directory speaks"
            }
            Self::TrustOldParts => {
                "chunks that a fetch before a restart has left are taken without a look"
            }
            Self::CopyTooEarly => "a worker says that it keeps a copy before it has it",
        }
    }

    /// The script that catches it, where seeds seldom hit the moment; empty for all others.
    pub fn elsewhere(self) -> &'static str {
        match self {
            Self::AnswerRepeatsAtOnce => "I-08, by the script pushed-twice",
            Self::HideWhatStops => "I-15, by the script lost-devices",
            Self::TrustOldParts => "I-19, by the script torn-parts",
            Self::RollBackUnnoticed => "I-04, by the script rolled-back",
            _ => "",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
