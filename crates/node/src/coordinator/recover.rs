//! From what a coordinator's disk holds to the state its mind starts from.

use coordinator::{Base, Recovered};
use disk::raft_log::{LogStore, SnapshotMeta};
use ledger::Ledger;
use prost::Message as _;

use crate::Fault;

/// The Raft id of the member that founds a cluster.
pub(super) const FOUNDER: u64 = 1;

/// Reads a member's state, or founds it where there is none and `found` allows it.
pub(super) fn recover(store: &mut dyn LogStore, found: bool) -> Result<(Recovered, Ledger), Fault> {
    let mut state = store.load()?;
    if state.is_empty() {
        if !found {
            return Err(Fault::new(
                "the data directory holds no coordinator; start with --bootstrap to found a new cluster in it",
            ));
        }
        establish(store)?;
        state = store.load()?;
    }
    let Some((meta, data)) = store.latest_snapshot()? else {
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
    Ok((
        Recovered {
            hard_state: state.hard_state,
            base,
            entries,
        },
        ledger,
    ))
}

/// Writes what every founding member starts from: the snapshot of an empty ledger that names the members.
fn establish(store: &mut dyn LogStore) -> Result<(), Fault> {
    let founding = Recovered::founding(&[FOUNDER]);
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

    #[test]
    fn an_empty_directory_is_founded_only_when_asked_to() {
        let mut store = MemoryLog::default();
        let refused = recover(&mut store, false).unwrap_err();
        assert!(refused.to_string().contains("--bootstrap"), "{refused}");
        let (founded, ledger) = recover(&mut store, true).unwrap();
        assert_eq!(founded.base.members.voters, [FOUNDER]);
        assert_eq!(ledger.revision(), 0);
        let (again, _) = recover(&mut store, false).unwrap();
        assert_eq!(again.base, founded.base);
    }
}
