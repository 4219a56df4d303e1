//! Names of things: UUIDs that are derived, never drawn, and the fence of an attempt.

use std::fmt;

use contract::link;
use uuid::Uuid;

/// Names one attempt for ever: no two assignments share a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// The execution.
    pub execution_id: Uuid,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Raft index of the entry that assigned it.
    pub index: u64,
}

impl From<Fence> for link::Fence {
    fn from(fence: Fence) -> Self {
        Self {
            execution_id: wire(fence.execution_id),
            attempt: fence.attempt,
            index: fence.index,
        }
    }
}

impl TryFrom<&link::Fence> for Fence {
    type Error = uuid::Error;

    /// Fails when the execution's id is not 16 bytes.
    fn try_from(fence: &link::Fence) -> Result<Self, uuid::Error> {
        Ok(Self {
            execution_id: Uuid::from_slice(&fence.execution_id)?,
            attempt: fence.attempt,
            index: fence.index,
        })
    }
}

impl fmt::Display for Fence {
    /// `1b4e28ba.2@17`: the first digits of the execution's id, the attempt, the index.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.execution_id.as_bytes()[..4] {
            write!(f, "{byte:02x}")?;
        }
        write!(f, ".{}@{}", self.attempt, self.index)
    }
}

/// What an id is for; part of what it is derived from.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Project,
    Pipeline,
    Execution,
    Datum,
}

/// Derives the id of the `ordinal`th thing that the entry at `index` makes: the same everywhere and on every replay.
pub(crate) fn derive(cluster_id: &str, index: u64, ordinal: u32, kind: Kind) -> Uuid {
    let kind: &[u8] = match kind {
        Kind::Project => b"project",
        Kind::Pipeline => b"pipeline",
        Kind::Execution => b"execution",
        Kind::Datum => b"datum",
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(cluster_id.len() as u64).to_le_bytes());
    hasher.update(cluster_id.as_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(&ordinal.to_le_bytes());
    hasher.update(kind);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// An id in the 16 bytes of the messages.
pub(crate) fn wire(id: Uuid) -> prost::bytes::Bytes {
    prost::bytes::Bytes::copy_from_slice(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_an_id_is_derived_from_matters() {
        let ids = [
            derive("c", 1, 0, Kind::Execution),
            derive("d", 1, 0, Kind::Execution),
            derive("c", 2, 0, Kind::Execution),
            derive("c", 1, 1, Kind::Execution),
            derive("c", 1, 0, Kind::Pipeline),
            derive("c", 1, 0, Kind::Project),
            derive("c", 1, 0, Kind::Datum),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id));
            assert_eq!(
                (id.get_version_num(), id.get_variant()),
                (8, uuid::Variant::RFC4122)
            );
        }
        // Replicas of other versions derive the same.
        assert_eq!(ids[0].to_string(), "00f3abd5-e62c-8e2d-b962-4045c562591c");
    }
}
