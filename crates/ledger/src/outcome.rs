//! What applying a command answers.

use std::fmt;
use std::sync::Arc;

use contract::api::{State, TokenRole};
use thiserror::Error;

use crate::changes::Subject;
use crate::ids::Fence;

/// What became of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// One per command, in order.
    pub outcomes: Vec<Result<Outcome, Refused>>,
    /// What changed, each once.
    pub subjects: Vec<Subject>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A pipeline was created or is being cancelled.
    Pipeline {
        /// Its project.
        project: Arc<str>,
        /// Its number.
        number: i64,
    },
    /// An execution was created or is being cancelled.
    Execution {
        /// Its project.
        project: Arc<str>,
        /// Its number.
        number: i64,
    },
    /// A worker was admitted or declared lost.
    Worker {
        /// Its name.
        name: Arc<str>,
    },
    /// A coordinator was admitted or removed, or has moved.
    Member {
        /// Its raft id.
        member_id: u64,
    },
    /// A join token was created or revoked.
    Token {
        /// Its id.
        token_id: Arc<str>,
    },
    /// Somebody joined with a token.
    Joined {
        /// Its id.
        token_id: Arc<str>,
        /// Raft index of the entry that used it up.
        index: u64,
    },
    /// The certificates of a principal were revoked.
    Revoked {
        /// Which.
        principal: Arc<str>,
    },
    /// The feature level was raised.
    FeatureLevel {
        /// To what.
        level: u32,
    },
    /// A worker keeps copies of blobs.
    Copies {
        /// Its name.
        worker: Arc<str>,
        /// Digests of those that were not on record.
        digests: Arc<[[u8; 32]]>,
    },
    /// An attempt was assigned, started, ended, or published outputs.
    Attempt(Fence),
    /// What was asked for was so already.
    Nothing,
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// The entry's index is not after the last one applied.
    #[error("entry {index} was applied before")]
    AlreadyApplied {
        /// Its index.
        index: u64,
    },
    /// The entry or command is of a version this program does not know. Whoever sees this must stop: others may know it.
    #[error("a command of a newer version")]
    Unknown,
    /// A field is missing or out of its range.
    #[error("malformed command: {what}")]
    Malformed {
        /// Which, in words.
        what: String,
    },
    /// The cluster was founded already.
    #[error("the cluster was founded as {cluster_id}")]
    Founded {
        /// Its UUID.
        cluster_id: Arc<str>,
    },
    /// The request id was used with another body.
    #[error("request id {request_id} was used before with another body")]
    RequestIdReused {
        /// The id.
        request_id: uuid::Uuid,
        /// Digest of the request it was first used with.
        known: [u8; 32],
        /// Digest of this one.
        given: [u8; 32],
    },
    /// A named pipeline or execution does not exist.
    #[error("{name} does not exist")]
    NotFound {
        /// Resource name, `projects/p/executions/4`.
        name: String,
    },
    /// An input names a datum that does not exist in the project. There are no aliases yet, so an alias is one.
    #[error("input {input} names {uri}, which does not exist in the project")]
    UnknownDatum {
        /// Name of the input.
        input: String,
        /// The address.
        uri: String,
    },
    /// The step cannot be run with what it was given.
    #[error("{message}")]
    CannotLaunch {
        /// Why, for people.
        message: String,
    },
    /// The attempt was replaced, has ended or never was.
    #[error("the fence is stale")]
    StaleFence {
        /// The live fence of that execution, if there is one.
        current: Option<Fence>,
    },
    /// The attempt is another worker's.
    #[error("the attempt is worker {worker}'s")]
    NotYours {
        /// Whose.
        worker: Arc<str>,
    },
    /// Only an execution that waits for a worker can be assigned.
    #[error("the execution does not wait for a worker: it is {}", .state.as_str_name())]
    NotWaiting {
        /// Where it stands.
        state: State,
    },
    /// No such worker was ever admitted.
    #[error("worker {name} is not known")]
    UnknownWorker {
        /// The name.
        name: String,
    },
    /// The worker has no such device, or somebody has it.
    #[error("device {device_id} of worker {worker} is not free")]
    DeviceTaken {
        /// Name of the worker.
        worker: Arc<str>,
        /// Id of the device.
        device_id: String,
    },
    /// The worker was declared lost and has not come back.
    #[error("worker {name} is lost")]
    WorkerLost {
        /// Its name.
        name: Arc<str>,
    },
    /// Another coordinator is at that address.
    #[error("member {member_id} is at {address}; remove it first if it is gone")]
    AddressTaken {
        /// The address.
        address: Arc<str>,
        /// Who is there.
        member_id: u64,
    },
    /// The coordinator that would be admitted does not know the rules that count here.
    #[error(
        "this cluster is at feature level {level}; the coordinator that would join knows up to {knows}; use version {raised_by} or newer"
    )]
    TooOld {
        /// The cluster's feature level.
        level: u32,
        /// Version of the program that raised it.
        raised_by: Arc<str>,
        /// What the coordinator knows.
        knows: u32,
    },
    /// No such coordinator was ever admitted.
    #[error("there is no member {member_id}")]
    UnknownMember {
        /// The id.
        member_id: u64,
    },
    /// The coordinator was removed; its id never comes back.
    #[error("member {member_id} was removed for good; add the machine as a new member")]
    MemberRemoved {
        /// The id.
        member_id: u64,
    },
    /// Without it there would be no cluster.
    #[error("member {member_id} is the last one")]
    LastMember {
        /// The id.
        member_id: u64,
    },
    /// The token's id is taken.
    #[error("there is a token of that id already")]
    TokenExists,
    /// There are as many tokens as there may be.
    #[error("there are {} join tokens already", crate::MAX_TOKENS)]
    TooManyTokens,
    /// No token has that id and that secret.
    #[error("join token unknown")]
    TokenUnknown,
    /// The token was used.
    #[error("join token already used")]
    TokenUsed,
    /// The token was used, so there is nothing in it to revoke.
    #[error("the token was used by {joiner:?}; revoke that certificate instead")]
    TokenSpent {
        /// Name of who joined with it; empty for a coordinator.
        joiner: Arc<str>,
    },
    /// The token was revoked.
    #[error("join token revoked")]
    TokenRevoked,
    /// The token's time has passed.
    #[error("join token expired")]
    TokenExpired,
    /// The token makes something else of who joins.
    #[error("join token not for this role: it is for {}", role_name(*.role))]
    TokenRole {
        /// What it makes.
        role: TokenRole,
    },
    /// The token is for another name.
    #[error("join token not for this name: it is for {name}")]
    TokenName {
        /// For which.
        name: Arc<str>,
    },
    /// This ledger is not what the leader's was at that index. Whoever sees this must stop: one of the two is wrong.
    #[error("this ledger differs from the leader's at index {index}")]
    Diverged {
        /// Raft index of the last entry in what was compared.
        index: u64,
    },
    /// An older incarnation of the worker is spoken of.
    #[error("the worker's incarnation is {current} by now")]
    StaleIncarnation {
        /// The newest.
        current: u64,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipeline { project, number } => write!(f, "pipeline {project}/{number}"),
            Self::Execution { project, number } => write!(f, "execution {project}#{number}"),
            Self::Worker { name } => write!(f, "worker {name}"),
            Self::Member { member_id } => write!(f, "member {member_id}"),
            Self::Token { token_id } => write!(f, "token {token_id}"),
            Self::Joined { token_id, index } => write!(f, "joined with {token_id} at {index}"),
            Self::FeatureLevel { level } => write!(f, "feature level {level}"),
            Self::Revoked { principal } => write!(f, "revoked {principal}"),
            Self::Copies { worker, digests } => {
                write!(f, "copies at worker {worker}: {}", digests.len())
            }
            Self::Attempt(fence) => write!(f, "attempt {fence}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

/// Refuses with a sentence about a field.
pub(crate) fn malformed(what: impl Into<String>) -> Refused {
    Refused::Malformed { what: what.into() }
}

/// A role as people write it.
fn role_name(role: TokenRole) -> &'static str {
    match role {
        TokenRole::Worker => "worker",
        TokenRole::Coordinator => "coordinator",
        TokenRole::User => "user",
        TokenRole::Admin => "admin",
        TokenRole::Unspecified => "nobody",
    }
}
