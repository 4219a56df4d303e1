//! A new cluster from a backup: the state goes on, everything that could be taken for the old cluster does not.
//!
//! The cluster gets a new id, so members and workers of the old one are not heard. Its log begins far behind the backup's last
//! entry, so that no fence of the old cluster is ever given again (I-07). Workers count as lost: what they run for the old
//! cluster is run again, and they are told to stop it when they come.

use std::path::Path;

use contract::ledger::{Command, Entry, LoseWorker, command::Kind};
use coordinator::Recovered;
use disk::member::Identity;
use disk::raft_log::{self, LogConfig, SnapshotMeta};
use ledger::Ledger;
use prost::Message as _;

use super::recover::FOUNDER;
use crate::Fault;

/// The log of a restored cluster begins at the next multiple of this: the old one has not come so far since the backup.
const STRIDE: u64 = 1 << 32;

/// Version of the one entry that is applied here.
const ENTRY_VERSION: u32 = 1;

/// What was made of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// UUID of the new cluster.
    pub cluster_id: String,
    /// Revision of the state in the backup.
    pub revision: u64,
}

/// Makes the data directory of the only member of a new cluster out of a backup. The directory must be empty.
///
/// # Errors
/// When the backup is damaged or of a newer version, or the directory cannot be written.
pub fn restore(backup: &[u8], data_dir: &Path) -> Result<Restored, Fault> {
    let unreadable = |error: &dyn std::fmt::Display| Fault::new(error.to_string());
    let mut snapshot = net::backup::decode(backup).map_err(|error| unreadable(&error))?;
    let revision = snapshot.applied_index;
    let cluster_id = uuid::Uuid::new_v4().to_string();
    let index = (revision / STRIDE + 1) * STRIDE;
    snapshot.cluster_id.clone_from(&cluster_id);
    snapshot.members.clear();
    snapshot.tokens.clear();
    snapshot.revocations.clear();
    let mut ledger = Ledger::restore(snapshot).map_err(|error| unreadable(&error))?;
    let lost = ledger.workers().map(|worker| Command {
        kind: Some(Kind::LoseWorker(LoseWorker {
            name: worker.name.to_string(),
            incarnation: worker.incarnation,
        })),
    });
    let entry = Entry {
        version: ENTRY_VERSION,
        // Time goes on from where the backup was.
        leader_time_ms: 0,
        commands: lost.collect(),
    };
    ledger.apply(index, &entry);
    let founding = Recovered::founding(&[FOUNDER]);
    let mut hard_state = founding.hard_state;
    hard_state.commit = index;
    let meta = SnapshotMeta {
        index,
        term: founding.base.term,
        members: founding.base.members,
    };
    let mut store = raft_log::open(&data_dir.join("raft"), None, LogConfig::default())?;
    store.store_snapshot(&meta, &ledger.snapshot().encode_to_vec())?;
    store.append(&[], Some(&hard_state))?;
    let identity = Identity {
        cluster_id: cluster_id.clone(),
        member_id: FOUNDER,
        established: true,
    };
    disk::member::set_identity(data_dir, &identity)?;
    Ok(Restored {
        cluster_id,
        revision,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use contract::ledger::FoundCluster;

    use super::super::recover;
    use super::*;

    #[test]
    fn a_restored_cluster_is_another_one_with_the_same_state() {
        let mut ledger = Ledger::new();
        let found = Command {
            kind: Some(Kind::FoundCluster(FoundCluster {
                cluster_id: "old".to_owned(),
            })),
        };
        let entry = Entry {
            version: ENTRY_VERSION,
            leader_time_ms: 5,
            commands: vec![found],
        };
        ledger.apply(7, &entry);
        let dir = tempfile::tempdir().unwrap();
        let restored = restore(&net::backup::encode(&ledger), dir.path()).unwrap();
        assert_eq!(restored.revision, 7);
        assert_ne!(restored.cluster_id, "old");
        let raft = dir.path().join("raft");
        let mut store = raft_log::open(&raft, None, LogConfig::default()).unwrap();
        let start = recover::recover(dir.path(), store.as_mut(), None).unwrap();
        assert_eq!(start.ledger.cluster_id(), restored.cluster_id);
        assert_eq!(start.recovered.base.index, STRIDE);
        assert!(recover::is_alone(&start));
        assert!(restore(b"SHOALBK1 and so on, which is no backup", dir.path()).is_err());
    }
}
