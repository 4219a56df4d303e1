//! A start that was promised.

use std::sync::Arc;

use contract::ledger as pb;

use super::share;

/// A worker is kept for an execution that needs more than is free: nothing that starts there from now on delays it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Environment of the execution; there is one promise in each.
    pub environment: Arc<str>,
    /// Its project.
    pub project: Arc<str>,
    /// Its number.
    pub execution: i64,
    /// Name of the worker.
    pub worker: Arc<str>,
    /// Unix time in milliseconds at which it starts at the latest; 0 when what is in its way has no time limit.
    pub start_time_ms: i64,
}

impl Promise {
    pub(crate) fn record(&self) -> pb::PromiseRecord {
        pb::PromiseRecord {
            environment: self.environment.to_string(),
            project: self.project.to_string(),
            execution: self.execution,
            worker: self.worker.to_string(),
            start_time_ms: self.start_time_ms,
        }
    }

    pub(crate) fn restore(record: pb::PromiseRecord) -> Self {
        Self {
            environment: share(&record.environment),
            project: share(&record.project),
            execution: record.execution,
            worker: share(&record.worker),
            start_time_ms: record.start_time_ms,
        }
    }
}
