//! The memory of a request.

use std::sync::Arc;

use contract::ledger as pb;
use uuid::Uuid;

use super::{digest, id, share};
use crate::ids;
use crate::outcome::Outcome;
use crate::snapshot::RestoreError;

/// What a request was and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// UUID the caller chose.
    pub request_id: Uuid,
    /// BLAKE3 digest of the request without its id.
    pub digest: [u8; 32],
    /// Project of what it made or changed.
    pub project: Arc<str>,
    /// Number of the execution it made or changed; 0 when it was a pipeline.
    pub execution: i64,
    /// Number of the pipeline it made or changed; 0 when it was an execution.
    pub pipeline: i64,
    /// Raft id of the coordinator it admitted or removed; 0 when it was about something else.
    pub member_id: u64,
    /// Name of the worker it drained, or let take attempts again; empty when it was about something else.
    pub worker: Arc<str>,
    /// Raft index of the entry.
    pub index: u64,
}

impl Request {
    /// What the first one was answered.
    pub fn outcome(&self) -> Outcome {
        let project = self.project.clone();
        match self.pipeline {
            _ if self.member_id != 0 => Outcome::Member {
                member_id: self.member_id,
            },
            _ if !self.worker.is_empty() => Outcome::Worker {
                name: self.worker.clone(),
            },
            0 => Outcome::Execution {
                project,
                number: self.execution,
            },
            number => Outcome::Pipeline { project, number },
        }
    }

    pub(crate) fn record(&self) -> pb::RequestRecord {
        pb::RequestRecord {
            request_id: ids::wire(self.request_id),
            digest: prost::bytes::Bytes::copy_from_slice(&self.digest),
            project: self.project.to_string(),
            execution: self.execution,
            pipeline: self.pipeline,
            index: self.index,
            member_id: self.member_id,
            worker: self.worker.to_string(),
        }
    }

    pub(crate) fn restore(record: pb::RequestRecord) -> Result<Self, RestoreError> {
        Ok(Self {
            request_id: id(&record.request_id, "request_id")?,
            digest: digest(&record.digest).ok_or(RestoreError::Malformed("request.digest"))?,
            project: share(&record.project),
            execution: record.execution,
            pipeline: record.pipeline,
            index: record.index,
            member_id: record.member_id,
            worker: share(&record.worker),
        })
    }
}
