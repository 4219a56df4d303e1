//! The log on a disk that forgets, at every moment at which its power can fail, and on one that damages what it holds.

mod cuts;

mod damage;

mod forgetful;

use super::segments::{Segments, Sizes};
use crate::error::DiskError;
use forgetful::Forgetful;
use raft::eraftpb::{Entry, HardState};
use std::collections::BTreeMap;

/// Files so small that a few batches fill one.
const SIZES: Sizes = Sizes {
    segment_len: 8192,
    spare_len: 3 * 8192,
    reserve_bytes: 0,
};

/// What a log says it holds.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    first: u64,
    last: u64,
    hard_state: HardState,
    entries: BTreeMap<u64, Entry>,
}

impl Held {
    fn nothing() -> Held {
        Held {
            first: 1,
            last: 0,
            hard_state: HardState::default(),
            entries: BTreeMap::new(),
        }
    }

    fn after(&self, step: &Step) -> Held {
        let mut held = self.clone();
        match step {
            Step::Append(entries, hard_state) => {
                if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                    held.entries.split_off(&first.index);
                    held.last = last.index;
                }
                let new = entries.iter().map(|entry| (entry.index, entry.clone()));
                held.entries.extend(new);
                if let Some(hard_state) = hard_state {
                    held.hard_state = hard_state.clone();
                }
            }
            Step::Forget(first) => {
                held.first = *first;
                held.entries = held.entries.split_off(first);
            }
            Step::Restart(index) => {
                held.entries.clear();
                (held.first, held.last) = (index + 1, *index);
            }
        }
        held
    }

    /// Whether `found` is this, but that entries before `self.first` may have come back.
    fn is(&self, found: &Held) -> bool {
        let mut found = found.clone();
        if found.first < self.first && self.first <= found.last + 1 {
            found = found.after(&Step::Forget(self.first));
        }
        *self == found
    }
}

/// Something that is asked of a log.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Entry>, Option<HardState>),
    Forget(u64),
    Restart(u64),
}

fn entry(index: u64, term: u64, len: usize) -> Entry {
    let data: Vec<u8> = (0..len)
        .map(|at| (at as u64 * 7 + index + term) as u8)
        .collect();
    Entry {
        index,
        term,
        data: data.into(),
        ..Entry::default()
    }
}

fn hard(term: u64, commit: u64) -> HardState {
    HardState {
        term,
        vote: 1 + term % 3,
        commit,
        ..HardState::default()
    }
}

type Log = Segments<Forgetful>;

fn open(directory: &Forgetful) -> Result<(Log, Held), DiskError> {
    let (log, entries) = Segments::open(directory.clone(), directory.mark(), SIZES)?;
    let bounds = log.bounds();
    let held = Held {
        first: bounds.first,
        last: bounds.last,
        hard_state: log.hard_state().clone(),
        entries,
    };
    Ok((log, held))
}

fn take(log: &mut Log, step: &Step) -> Result<(), DiskError> {
    match step {
        Step::Append(entries, hard_state) => log.append(entries, hard_state.as_ref()),
        Step::Forget(first) => log.forget_before(*first),
        Step::Restart(index) => log.restart_after(*index),
    }
}
