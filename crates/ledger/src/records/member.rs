//! A coordinator as the ledger knows it.

use std::sync::Arc;

use contract::ledger as pb;

use super::share;

/// A coordinator: a member of the group, or one that was. Who votes is raft's own matter; this says who should.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Raft id; never reused.
    pub member_id: u64,
    /// `host:port` of its services.
    pub address: Arc<str>,
    /// When it was admitted, Unix milliseconds.
    pub admit_time_ms: i64,
    /// When it was removed, Unix milliseconds; 0 while it is a member.
    pub remove_time_ms: i64,
}

impl Member {
    /// Whether it was removed for good.
    pub fn is_removed(&self) -> bool {
        self.remove_time_ms != 0
    }

    pub(crate) fn record(&self) -> pb::MemberRecord {
        pb::MemberRecord {
            member_id: self.member_id,
            address: self.address.to_string(),
            admit_time_ms: self.admit_time_ms,
            remove_time_ms: self.remove_time_ms,
        }
    }

    pub(crate) fn restore(record: pb::MemberRecord) -> Self {
        Self {
            member_id: record.member_id,
            address: share(&record.address),
            admit_time_ms: record.admit_time_ms,
            remove_time_ms: record.remove_time_ms,
        }
    }
}
