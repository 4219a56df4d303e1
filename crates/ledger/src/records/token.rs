//! Join tokens, and principals whose certificates do not count any more.

use std::sync::Arc;

use contract::api::TokenRole;
use contract::ledger as pb;
use uuid::Uuid;

use super::{digest, digest_bytes, id, share};
use crate::ids;
use crate::snapshot::RestoreError;

/// A join token. Its secret is nowhere: only what it hashes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub token_id: Arc<str>,
    /// SHA-256 of its secret.
    pub secret_digest: [u8; 32],
    /// What it makes of who joins with it.
    pub role: TokenRole,
    /// The only name that may join with it; empty means any.
    pub name: Arc<str>,
    /// When it was created, Unix milliseconds.
    pub create_time_ms: i64,
    /// From when on it cannot be used, Unix milliseconds.
    pub expire_time_ms: i64,
    /// Who created it, as `user/admin`; empty when the cluster does not tell its users apart.
    pub creator: Arc<str>,
    /// The request that created it.
    pub request_id: Uuid,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Who joined with it.
    pub used: Option<Use>,
}

/// The one use of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// SHA-256 of the public key of who joined.
    pub key_digest: [u8; 32],
    /// Name of who joined; empty for a coordinator.
    pub name: Arc<str>,
    /// Raft index of the entry: certificates of this joiner carry it, so that a revocation tells them from later ones.
    pub index: u64,
}

/// A principal whose certificates were revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// `worker/{name}`, `user/{name}` or `coordinator/{id}`.
    pub principal: Arc<str>,
    /// Raft index of the entry that revoked them: those of who joined up to it do not count.
    pub index: u64,
    /// The request that revoked them.
    pub request_id: Uuid,
}

impl Token {
    /// Whether its time has passed at `now_ms`, Unix milliseconds.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        now_ms >= self.expire_time_ms
    }

    pub(crate) fn record(&self) -> pb::TokenRecord {
        let used = self.used.as_ref();
        pb::TokenRecord {
            token_id: self.token_id.to_string(),
            secret_digest: digest_bytes(Some(&self.secret_digest)),
            role: self.role.into(),
            name: self.name.to_string(),
            create_time_ms: self.create_time_ms,
            expire_time_ms: self.expire_time_ms,
            creator: self.creator.to_string(),
            revoked: self.revoked,
            key_digest: digest_bytes(used.map(|used| &used.key_digest)),
            joiner: used.map(|used| used.name.to_string()).unwrap_or_default(),
            consume_index: used.map(|used| used.index).unwrap_or_default(),
            request_id: ids::wire(self.request_id),
        }
    }

    pub(crate) fn restore(record: pb::TokenRecord) -> Result<Self, RestoreError> {
        Ok(Self {
            role: TokenRole::try_from(record.role)
                .map_err(|_| RestoreError::Malformed("token.role"))?,
            token_id: share(&record.token_id),
            secret_digest: digest(&record.secret_digest)
                .ok_or(RestoreError::Malformed("token.secret_digest"))?,
            name: share(&record.name),
            create_time_ms: record.create_time_ms,
            expire_time_ms: record.expire_time_ms,
            creator: share(&record.creator),
            request_id: id(&record.request_id, "token.request_id")?,
            revoked: record.revoked,
            used: digest(&record.key_digest).map(|key_digest| Use {
                key_digest,
                name: share(&record.joiner),
                index: record.consume_index,
            }),
        })
    }
}

impl Revocation {
    pub(crate) fn record(&self) -> pb::RevocationRecord {
        pb::RevocationRecord {
            principal: self.principal.to_string(),
            index: self.index,
            request_id: ids::wire(self.request_id),
        }
    }

    pub(crate) fn restore(record: pb::RevocationRecord) -> Result<Self, RestoreError> {
        Ok(Self {
            principal: share(&record.principal),
            index: record.index,
            request_id: id(&record.request_id, "revocation.request_id")?,
        })
    }
}
