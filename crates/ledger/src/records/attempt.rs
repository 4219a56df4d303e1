//! One try at an execution.

use std::sync::Arc;

use contract::api::{EndReason, State};
use contract::ledger as pb;

use super::{digest, digest_bytes, reason, share, state};
use crate::snapshot::RestoreError;
use crate::transition;

/// One try at an execution on one worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Number from 1.
    pub number: u32,
    /// Name of the worker.
    pub worker: Arc<str>,
    /// Raft index of the entry that assigned it.
    pub fence_index: u64,
    /// QUEUED until its program started, then STARTED, then a final one.
    pub state: State,
    /// Why it ended.
    pub end_reason: EndReason,
    /// For people.
    pub message: String,
    /// Unix time in milliseconds.
    pub assign_time_ms: i64,
    /// Unix time in microseconds, on the worker's clock; 0 before.
    pub prepare_time_us: i64,
    /// Unix time in microseconds, on the worker's clock; 0 before.
    pub start_time_us: i64,
    /// Unix time in microseconds, on the worker's clock; 0 before.
    pub exit_time_us: i64,
    /// Unix time in milliseconds; 0 before.
    pub end_time_ms: i64,
    /// Exit code; none when a signal ended it or it never started.
    pub exit_code: Option<i32>,
    /// Signal; 0 means none.
    pub signal: i32,
    /// Number of records of its feed, once sealed.
    pub record_count: u64,
    /// Digest of its feed's frames, once sealed.
    pub feed_digest: Option<[u8; 32]>,
    /// Digest of its image; empty where it ran in none.
    pub image_digest: Arc<str>,
    /// Devices that it has, or had, for itself.
    pub device_ids: Box<[Arc<str>]>,
}

impl Attempt {
    /// Whether its worker may still report.
    pub fn is_live(&self) -> bool {
        !transition::is_final(self.state)
    }

    pub(crate) fn record(&self) -> pb::AttemptRecord {
        pb::AttemptRecord {
            number: self.number,
            worker: self.worker.to_string(),
            fence_index: self.fence_index,
            state: self.state.into(),
            end_reason: self.end_reason.into(),
            message: self.message.clone(),
            assign_time_ms: self.assign_time_ms,
            prepare_time_us: self.prepare_time_us,
            start_time_us: self.start_time_us,
            exit_time_us: self.exit_time_us,
            end_time_ms: self.end_time_ms,
            exit_code: self.exit_code,
            signal: self.signal,
            record_count: self.record_count,
            feed_digest: digest_bytes(self.feed_digest.as_ref()),
            image_digest: self.image_digest.to_string(),
            device_ids: self.device_ids.iter().map(|id| id.to_string()).collect(),
        }
    }

    pub(crate) fn restore(
        record: pb::AttemptRecord,
        worker: Arc<str>,
    ) -> Result<Self, RestoreError> {
        Ok(Self {
            number: record.number,
            worker,
            fence_index: record.fence_index,
            state: state(record.state)?,
            end_reason: reason(record.end_reason)?,
            message: record.message,
            assign_time_ms: record.assign_time_ms,
            prepare_time_us: record.prepare_time_us,
            start_time_us: record.start_time_us,
            exit_time_us: record.exit_time_us,
            end_time_ms: record.end_time_ms,
            exit_code: record.exit_code,
            signal: record.signal,
            record_count: record.record_count,
            feed_digest: digest(&record.feed_digest),
            image_digest: record.image_digest.into(),
            device_ids: record.device_ids.iter().map(|id| share(id)).collect(),
        })
    }
}
