//! What callers ask of a coordinator and what it answers. One variant per mutating RPC; reads never come here, they are
//! served from the published ledger.

use contract::api;

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
    /// The request was only to be checked, and is good.
    Valid {
        /// Warnings about the file, for people.
        warnings: Vec<String>,
    },
}
