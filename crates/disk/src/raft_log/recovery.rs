//! What every log does with what it found: which entries it takes, and how they go with its snapshots.

use super::Recovered;
use super::keys::bounds::Bounds;
use super::snapshots::SnapshotMeta;
use crate::error::DiskError;
use raft::eraftpb::{Entry, HardState};

/// The state of a member whose log held `entries`, dense within `bounds`, and whose newest sound snapshot is `latest`. If the
/// snapshot replaces the entries, also the index after which the log has to go on.
pub(super) fn beside(
    dir: &str,
    latest: Option<SnapshotMeta>,
    bounds: Bounds,
    hard_state: HardState,
    mut entries: Vec<Entry>,
) -> Result<(Recovered, Option<u64>), DiskError> {
    let covered = latest.as_ref().map_or(0, |snapshot| snapshot.index);
    if covered + 1 < bounds.first {
        let place = format!("entries {} to {}", covered + 1, bounds.first - 1);
        let why = match latest {
            None => "compacted, and no snapshot is sound",
            Some(_) => "compacted, and the snapshot that had them is not sound",
        };
        return Err(corrupt(dir, &place, why));
    }
    let mut replaced = None;
    if let Some(snapshot) = &latest {
        // It came from a leader whose log goes another or a longer way than these entries.
        let same = entries.iter().find(|entry| entry.index == snapshot.index);
        let other_way = match same {
            Some(entry) => entry.term != snapshot.term,
            // It may also be just before the first entry.
            None => bounds.last < snapshot.index,
        };
        if other_way {
            replaced = Some(snapshot.index);
            entries.clear();
        }
        entries.retain(|entry| entry.index > snapshot.index);
    }
    let recovered = Recovered {
        hard_state,
        snapshot: latest,
        entries,
        written: bounds.writes > 0,
    };
    Ok((recovered, replaced))
}

/// What every store refuses: entries that leave a gap, or reach before its first index.
pub(super) fn check_dense(bounds: Bounds, entries: &[Entry]) -> Result<(), DiskError> {
    let Some(first) = entries.first() else {
        return Ok(());
    };
    if !(bounds.first..=bounds.last + 1).contains(&first.index) {
        let Bounds {
            first: low, last, ..
        } = bounds;
        let why = format!("entry {} does not follow {low}..={last}", first.index);
        return Err(DiskError::Misuse(why));
    }
    match entries
        .windows(2)
        .find(|pair| pair[0].index + 1 != pair[1].index)
    {
        Some(pair) => {
            let why = format!("entry {} does not follow {}", pair[1].index, pair[0].index);
            Err(DiskError::Misuse(why))
        }
        None => Ok(()),
    }
}

/// Damage at a place of a log, and what to do about it.
pub(super) fn corrupt(dir: &str, place: &str, why: impl std::fmt::Display) -> DiskError {
    DiskError::corrupt(
        format!("{dir}, {place}"),
        format!(
            "{why}. Do not repair it: replace this member by a new one, which gets the state from the others"
        ),
    )
}
