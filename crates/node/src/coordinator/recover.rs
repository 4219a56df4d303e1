//! From what a coordinator's disk holds to the state its mind starts from, or to the reason why it must not start.

use std::path::Path;

use contract::ledger::{Entry, command::Kind};
use coordinator::{Base, Recovered};
use disk::member::Identity;
use disk::raft_log::{self, LogStore, SnapshotMeta};
use ledger::{Knows, Ledger};
use prost::Message as _;
use raft::eraftpb::EntryType;

use super::peers::lost_state;
use crate::Fault;

/// The Raft id of the member that founds a cluster.
pub(super) const FOUNDER: u64 = 1;

/// What a member starts from.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) identity: Identity,
    pub(super) recovered: Recovered,
    pub(super) ledger: Ledger,
}

/// Reads a member's state, or founds it where there is none and `found` is the id of the new cluster.
pub(super) fn recover(
    dir: &Path,
    store: &mut dyn LogStore,
    found: Option<&str>,
) -> Result<Start, Fault> {
    let state = store.load()?;
    match (disk::member::identity(dir)?, state.is_empty()) {
        (None, true) => {
            let Some(cluster_id) = found else {
                return Err(Fault::new(format!(
                    "{} holds no coordinator; start with --bootstrap to found a new cluster in it, or with --join ADDRESS to join one",
                    dir.display()
                )));
            };
            establish(store, FOUNDER)?;
            let identity = Identity {
                cluster_id: cluster_id.to_owned(),
                member_id: FOUNDER,
                established: true,
            };
            disk::member::set_identity(dir, &identity)?;
            let founded = store.load()?;
            read(store, founded, identity)
        }
        // It was founded before members had a file that says who they are, or the founding was cut short.
        (None, false) => {
            let mut start = read(
                store,
                state,
                Identity {
                    cluster_id: String::new(),
                    member_id: FOUNDER,
                    established: true,
                },
            )?;
            let members = &start.recovered.base.members;
            if members.voters != [FOUNDER] || !members.learners.is_empty() {
                return Err(Fault::new(format!(
                    "{} does not say any more which member it belongs to: the file `member` is missing. Remove the member from the \
                     cluster with `shoal cluster remove`, empty the directory, and start it with --join ADDRESS",
                    dir.display()
                )));
            }
            start.identity.cluster_id = cluster_of(&start)
                .or_else(|| found.map(str::to_owned))
                .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            disk::member::set_identity(dir, &start.identity)?;
            Ok(start)
        }
        // Snapshots may have been left of it.
        (Some(identity), _) if identity.established && !state.written => Err(lost_state(
            dir,
            identity.member_id,
            "the directory says whose it is, but the log is gone",
        )),
        // It has joined and got nothing yet.
        (Some(identity), true) => Ok(Start {
            identity,
            recovered: Recovered::default(),
            ledger: Ledger::new(),
        }),
        (Some(identity), false) => {
            let start = read(store, state, identity)?;
            match cluster_of(&start) {
                Some(cluster) if cluster != start.identity.cluster_id => Err(Fault::new(format!(
                    "{} belongs to cluster {} but holds the log of {cluster}: files of two members were mixed",
                    dir.display(),
                    start.identity.cluster_id
                ))),
                _ => Ok(start),
            }
        }
    }
}

/// Whether the member was the only one when it ended, so that it leads at once.
pub(super) fn is_alone(start: &Start) -> bool {
    let members = &start.recovered.base.members;
    let changes = |kind| {
        matches!(
            kind,
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2
        )
    };
    members.voters == [start.identity.member_id]
        && members.learners.is_empty()
        && !start
            .recovered
            .entries
            .iter()
            .any(|entry| changes(entry.get_entry_type()))
}

/// Checks that this program knows the rules of the cluster whose state it found: of the snapshot, and of the entries that are known to be committed.
pub(super) fn check_feature_level(
    knows: &Knows,
    recovered: &Recovered,
    ledger: &Ledger,
) -> Result<(), Fault> {
    let check = |level, raised_by: &str| {
        let checked = knows.check(level, raised_by);
        checked.map_err(|too_old| Fault::new(too_old.to_string()))
    };
    check(ledger.feature_level(), ledger.feature_version())?;
    let committed = recovered.entries.iter().filter(|entry| {
        entry.index <= recovered.hard_state.commit
            && entry.get_entry_type() == EntryType::EntryNormal
    });
    let commands = committed
        .filter_map(|entry| Entry::decode(&entry.data[..]).ok())
        .flat_map(|entry| entry.commands);
    for command in commands {
        if let Some(Kind::RaiseFeatureLevel(raise)) = command.kind {
            check(raise.level, &raise.version)?;
        }
    }
    Ok(())
}

/// The cluster that the state is of, as its ledger or its log says.
fn cluster_of(start: &Start) -> Option<String> {
    let known = start.ledger.cluster_id();
    if !known.is_empty() {
        return Some(known.to_owned());
    }
    let normal = start
        .recovered
        .entries
        .iter()
        .filter(|entry| entry.get_entry_type() == EntryType::EntryNormal);
    normal
        .filter_map(|entry| Entry::decode(&entry.data[..]).ok())
        .flat_map(|entry| entry.commands)
        .find_map(|command| match command.kind {
            Some(Kind::FoundCluster(found)) => Some(found.cluster_id),
            _ => None,
        })
}

fn read(
    store: &mut dyn LogStore,
    state: raft_log::Recovered,
    identity: Identity,
) -> Result<Start, Fault> {
    let Some((meta, data)) = store.latest_snapshot()? else {
        if state.entries.is_empty() && identity.member_id != FOUNDER {
            // It has joined, has heard of a term, and has got nothing else yet.
            return Ok(Start {
                identity,
                recovered: Recovered {
                    hard_state: state.hard_state,
                    ..Recovered::default()
                },
                ledger: Ledger::new(),
            });
        }
        return Err(Fault::new(
            "the data directory holds a log without the snapshot it began with; it is damaged",
        ));
    };
    let ledger = if data.is_empty() {
        Ledger::new()
    } else {
        restore(&data)?
    };
    let base = Base {
        index: meta.index,
        term: meta.term,
        members: meta.members,
    };
    let entries = state
        .entries
        .into_iter()
        .filter(|entry| entry.index > base.index)
        .collect();
    Ok(Start {
        identity,
        recovered: Recovered {
            hard_state: state.hard_state,
            base,
            entries,
        },
        ledger,
    })
}

/// Writes what a founding member starts from: the snapshot of an empty ledger that names it.
fn establish(store: &mut dyn LogStore, founder: u64) -> Result<(), Fault> {
    let founding = Recovered::founding(&[founder]);
    let Base {
        index,
        term,
        members,
    } = founding.base;
    store.store_snapshot(
        &SnapshotMeta {
            index,
            term,
            members,
        },
        &[],
    )?;
    store.append(&[], Some(&founding.hard_state))?;
    Ok(())
}

fn restore(data: &[u8]) -> Result<Ledger, Fault> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Fault::new(format!(
            "the snapshot of the ledger cannot be read: {error}"
        ))
    };
    let snapshot = contract::ledger::Snapshot::decode(data).map_err(|error| unreadable(&error))?;
    Ledger::restore(snapshot).map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use disk::raft_log::MemoryLog;

    use super::*;

    const CLUSTER: &str = "0b0e4a9e-cafe";

    fn founded() -> (tempfile::TempDir, MemoryLog) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = MemoryLog::default();
        recover(dir.path(), &mut store, Some(CLUSTER)).unwrap();
        (dir, store)
    }

    #[test]
    fn an_empty_directory_is_founded_only_when_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = MemoryLog::default();
        let refused = recover(dir.path(), &mut store, None).unwrap_err();
        assert!(refused.to_string().contains("--bootstrap"), "{refused}");
        let founded = recover(dir.path(), &mut store, Some(CLUSTER)).unwrap();
        assert_eq!(founded.recovered.base.members.voters, [FOUNDER]);
        assert_eq!(founded.ledger.revision(), 0);
        assert!(is_alone(&founded));
        let again = recover(dir.path(), &mut store, None).unwrap();
        assert_eq!(again.recovered.base, founded.recovered.base);
        assert_eq!(again.identity.cluster_id, CLUSTER);
    }

    /// I-12: in the snapshot or in the log.
    #[test]
    fn a_program_that_knows_too_little_does_not_start() {
        let knows = |level| Knows {
            level,
            version: "0.1.0".into(),
        };
        let mut ledger = Ledger::new();
        let raise = contract::ledger::RaiseFeatureLevel {
            level: 4,
            version: "0.4.0".to_owned(),
        };
        let entry = Entry {
            version: ledger::ENTRY_VERSION,
            leader_time_ms: 1,
            commands: vec![contract::ledger::Command {
                kind: Some(Kind::RaiseFeatureLevel(raise)),
            }],
        };
        let mut recovered = Recovered::founding(&[FOUNDER]);
        let index = recovered.base.index + 1;
        recovered.entries.push(raft::eraftpb::Entry {
            index,
            data: entry.encode_to_vec().into(),
            ..Default::default()
        });
        check_feature_level(&knows(3), &recovered, &ledger).unwrap();
        recovered.hard_state.commit = index;
        let words = "this cluster is at feature level 4; this shoal (0.1.0) knows up to 3; use version 0.4.0 or newer";
        let refused = check_feature_level(&knows(3), &recovered, &ledger).unwrap_err();
        assert_eq!(refused.to_string(), words);
        check_feature_level(&knows(4), &recovered, &ledger).unwrap();
        ledger.apply(index, &entry);
        let founding = Recovered::founding(&[FOUNDER]);
        let refused = check_feature_level(&knows(3), &founding, &ledger).unwrap_err();
        assert_eq!(refused.to_string(), words);
    }

    #[test]
    fn a_member_that_lost_its_log_does_not_start() {
        let (dir, _) = founded();
        let refused = recover(dir.path(), &mut MemoryLog::default(), Some("new")).unwrap_err();
        assert!(
            refused.to_string().contains("shoal cluster remove 1"),
            "{refused}"
        );
    }

    #[test]
    fn nor_does_one_of_which_only_snapshots_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let raft = dir.path().join("raft");
        let open = || raft_log::open(&raft, None, raft_log::LogConfig::default()).unwrap();
        recover(dir.path(), open().as_mut(), Some(CLUSTER)).unwrap();
        std::fs::remove_dir_all(raft.join("segments")).unwrap();
        std::fs::remove_file(raft.join("mark")).unwrap();
        let refused = recover(dir.path(), open().as_mut(), None).unwrap_err();
        assert!(refused.to_string().contains("the log is gone"), "{refused}");
    }

    #[test]
    fn one_that_joined_and_got_nothing_yet_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster_id: CLUSTER.to_owned(),
            member_id: 3,
            established: false,
        };
        disk::member::set_identity(dir.path(), &identity).unwrap();
        let start = recover(dir.path(), &mut MemoryLog::default(), None).unwrap();
        assert_eq!(start.identity, identity);
        assert!(start.recovered.base.members.voters.is_empty());
        assert!(!is_alone(&start));
        let mut store = MemoryLog::default();
        let heard = raft::eraftpb::HardState {
            term: 7,
            ..Default::default()
        };
        store.append(&[], Some(&heard)).unwrap();
        let start = recover(dir.path(), &mut store, None).unwrap();
        assert_eq!(start.recovered.hard_state.term, 7);
        assert_eq!(start.recovered.base.index, 0);
    }

    #[test]
    fn a_directory_from_before_members_were_named_is_the_founders_or_nobodys() {
        let (dir, mut store) = founded();
        std::fs::remove_file(dir.path().join("member")).unwrap();
        let start = recover(dir.path(), &mut store, None).unwrap();
        assert_eq!(start.identity.member_id, FOUNDER);
        std::fs::remove_file(dir.path().join("member")).unwrap();
        let mut meta = store.latest_snapshot().unwrap().unwrap().0;
        meta.index += 1;
        meta.members.voters = vec![1, 2, 3];
        store.store_snapshot(&meta, &[]).unwrap();
        let refused = recover(dir.path(), &mut store, None).unwrap_err();
        assert!(refused.to_string().contains("which member"), "{refused}");
    }
}
