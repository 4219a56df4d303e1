//! What callers ask of a coordinator and what it answers. One variant per mutating RPC; reads never come here, they are
//! served from the published ledger.

use contract::api;
use schedule::Explanation;

/// A mutation that somebody asked for. The fields that the contract marks as required are there; nothing else is checked yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// `PipelineService.CreatePipeline`.
    CreatePipeline(api::CreatePipelineRequest),
    /// `ExecutionService.CreateExecution`.
    CreateExecution(api::CreateExecutionRequest),
    /// `PipelineService.CancelPipeline`.
    CancelPipeline(api::CancelPipelineRequest),
    /// `ExecutionService.CancelExecution`.
    CancelExecution(api::CancelExecutionRequest),
    /// Admits a coordinator: it gets the next raft id, becomes a learner, and a voter once it has caught up.
    AddMember {
        /// UUID the caller chose for this request.
        request_id: String,
        /// `host:port` of its services.
        address: String,
        /// The highest feature level that it knows; 0 when that is not known.
        feature_level: u32,
    },
    /// Removes a coordinator for good.
    RemoveMember {
        /// UUID the caller chose for this request.
        request_id: String,
        /// Its raft id.
        member_id: u64,
    },
    /// Hands leadership over. Changes nothing that lasts, so it has no id.
    TransferLeadership {
        /// Raft id of the voter that should lead; 0 for the one that is furthest along.
        member_id: u64,
    },
    /// `WorkerService.DrainWorker`.
    DrainWorker(api::DrainWorkerRequest),
    /// `ExecutionService.ExplainExecution`. Changes nothing, but only the leader can tell.
    Explain {
        /// Name of the project.
        project: String,
        /// Number of the execution there.
        execution: i64,
    },
    /// `TokenService.CreateToken`.
    CreateToken {
        /// What was asked.
        request: api::CreateTokenRequest,
        /// Who asks, as `user/admin`; empty when the cluster does not tell its users apart.
        creator: String,
    },
    /// `TokenService.RevokeToken`.
    RevokeToken(api::RevokeTokenRequest),
    /// `TokenService.RevokePrincipal`.
    RevokePrincipal(api::RevokePrincipalRequest),
    /// The use of a token, for `JoinService`.
    UseToken(TokenUse),
}

/// Somebody who joins with a token. Its secret and key are known by their hashes only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// Id of the token.
    pub token_id: String,
    /// SHA-256 of the secret that was given.
    pub secret_digest: [u8; 32],
    /// What who joins wants to be.
    pub role: api::TokenRole,
    /// Its name; empty for a coordinator.
    pub name: String,
    /// SHA-256 of its public key.
    pub key_digest: [u8; 32],
}

/// What became of a mutation, given once it is durable. The resource itself is read from the ledger that was published
/// no later than the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A pipeline was created or cancelled.
    Pipeline {
        /// Name of its project.
        project: String,
        /// Its number there.
        number: i64,
        /// Warnings about the file, for people.
        warnings: Vec<String>,
    },
    /// An execution was created or cancelled.
    Execution {
        /// Name of its project.
        project: String,
        /// Its number there.
        number: i64,
        /// Warnings about the file, for people.
        warnings: Vec<String>,
    },
    /// A coordinator was admitted or removed, or leads now.
    Member {
        /// Its raft id.
        member_id: u64,
    },
    /// A token was created or revoked.
    Token {
        /// Its id.
        token_id: String,
    },
    /// Somebody joined with a token.
    Joined {
        /// Raft index of the entry that used it up.
        index: u64,
    },
    /// Where an execution stands.
    Explained {
        /// In the scheduler's words.
        explanation: Explanation,
        /// Revision of the ledger that it was read from.
        revision: u64,
    },
    /// The request was only to be checked, and is good; or there was nothing to do.
    Valid {
        /// Warnings about the file, for people.
        warnings: Vec<String>,
    },
}
