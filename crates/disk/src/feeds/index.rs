//! Which bytes of which segment hold which records: in memory, rebuilt from the segments at the start.

use super::format::{Content, Unit};
use super::pack::Entry;
use super::{Damage, FeedKey};
use feed::Seal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// A run of one feed's units is at most this long, or a single unit: what one read costs, and what one entry of the
/// index stands for. Units of other feeds may lie between.
const RUN_LEN: u64 = 16 * 1024;

/// Records `first .. end_record` of one feed, in `start .. end` of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) segment: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) first: u64,
    pub(super) end_record: u64,
}

/// One feed. `runs` are dense: they hold exactly the records `0 .. length`.
#[derive(Clone, Debug, Default)]
pub(super) struct FeedIndex {
    pub(super) runs: Vec<Run>,
    pub(super) length: u64,
    pub(super) bytes: u64,
    pub(super) seal: Option<Seal>,
    /// The last run holds bytes of records that are no more: it is not made longer.
    is_cut: bool,
    /// It began anew in this segment: what those before it say of it does not count any more.
    born: u64,
}

impl FeedIndex {
    /// Forgets the records from `from` on.
    fn cut(&mut self, from: u64) {
        self.seal = None;
        if from >= self.length {
            return;
        }
        // How long the frames of a part of a run are is not known; nobody counts on it.
        self.bytes = (u128::from(self.bytes) * u128::from(from) / u128::from(self.length)) as u64;
        self.length = from;
        self.runs.retain(|run| run.first < from);
        if let Some(run) = self.runs.last_mut() {
            run.end_record = run.end_record.min(from);
        }
        self.is_cut = true;
    }

    /// Adds records at the end. A run that began before `barrier` is not made longer.
    fn push(&mut self, segment: u64, barrier: u64, unit: &Unit, first: u64, end_record: u64) {
        let (start, end) = (unit.start as u64, unit.end as u64);
        self.length = end_record;
        self.bytes += end - unit.payload_start() as u64;
        match self.runs.last_mut() {
            Some(run)
                if run.segment == segment
                    && run.start >= barrier
                    && end - run.start <= RUN_LEN
                    && !self.is_cut =>
            {
                (run.end, run.end_record) = (end, end_record);
            }
            _ => self.runs.push(Run {
                segment,
                start,
                end,
                first,
                end_record,
            }),
        }
        self.is_cut = false;
    }
}

/// One segment, and why it is still needed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Feeds that have records in it.
    feeds: BTreeSet<FeedKey>,
    /// Feeds that it says are dropped.
    tombstones: BTreeSet<FeedKey>,
    /// Before it there are bytes that are not sound.
    barrier: u64,
    /// Where its groups end, once nothing is written to it any more.
    pub(super) len: u64,
}

/// A feed in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Archived {
    pub(super) pack: u64,
    pub(super) entry: Entry,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) feeds: BTreeMap<FeedKey, FeedIndex>,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// Feeds that are whole in an archive: what segments still say of them does not count.
    pub(super) archived: BTreeMap<FeedKey, Archived>,
    dropped: BTreeSet<FeedKey>,
}

impl Index {
    pub(super) fn add_segment(&mut self, number: u64, path: PathBuf, file: Arc<File>) {
        let (feeds, tombstones) = (BTreeSet::new(), BTreeSet::new());
        let segment = Segment {
            path,
            file,
            feeds,
            tombstones,
            barrier: 0,
            len: 0,
        };
        self.segments.insert(number, segment);
    }

    /// There are bytes before `offset` of segment `number` that no read may go over.
    pub(super) fn set_barrier(&mut self, number: u64, offset: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.barrier = offset;
        }
    }

    /// Nothing is written to segment `number` any more; its groups end at `len`.
    pub(super) fn set_len(&mut self, number: u64, len: u64) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.len = len;
        }
    }

    /// A feed begins anew in segment `number`, with nothing.
    pub(super) fn begin_anew(&mut self, number: u64, key: FeedKey) {
        let feed = FeedIndex {
            born: number,
            ..FeedIndex::default()
        };
        self.feeds.insert(key, feed);
    }

    /// Whether any segment still speaks of a feed.
    pub(super) fn is_mentioned(&self, key: FeedKey) -> bool {
        self.segments.values().any(|s| s.feeds.contains(&key))
    }

    /// The feeds for which segment `number` is still needed.
    pub(super) fn pins(&self, number: u64) -> Vec<FeedKey> {
        let Some(segment) = self.segments.get(&number) else {
            return Vec::new();
        };
        let pins = segment.feeds.iter();
        pins.filter(|key| self.needs(number, **key))
            .copied()
            .collect()
    }

    fn needs(&self, number: u64, key: FeedKey) -> bool {
        let born = self.feeds.get(&key).map_or(0, |feed| feed.born);
        !self.dropped.contains(&key) && !self.archived.contains_key(&key) && number >= born
    }

    pub(super) fn is_dropped(&self, key: FeedKey) -> bool {
        self.dropped.contains(&key)
    }

    /// Takes in a unit of segment `number`; tells of records that lack those before them.
    pub(super) fn add(&mut self, number: u64, unit: &Unit) -> Option<Damage> {
        let segment = self.segments.get_mut(&number)?;
        if unit.content != Content::Dropped && self.archived.contains_key(&unit.key) {
            segment.feeds.insert(unit.key);
            return None;
        }
        match unit.content {
            Content::Records { first, count } => {
                segment.feeds.insert(unit.key);
                if self.dropped.contains(&unit.key) {
                    return None;
                }
                let feed = self.feeds.entry(unit.key).or_default();
                let end_record = first.saturating_add(count.into());
                if first > feed.length {
                    let why = format!(
                        "{}: records {} to {} are missing before it",
                        unit.key,
                        feed.length,
                        first - 1
                    );
                    return Some(Damage {
                        path: segment.path.clone(),
                        offset: unit.start as u64,
                        why,
                    });
                }
                // Records that came again after a repair add nothing if they are here.
                if end_record > feed.length {
                    feed.push(number, segment.barrier, unit, first, end_record);
                }
            }
            Content::Seal {
                record_count,
                digest,
            } => {
                // Without it the records would be a feed that goes on.
                segment.feeds.insert(unit.key);
                if !self.dropped.contains(&unit.key) {
                    self.feeds.entry(unit.key).or_default().seal = Some(Seal {
                        record_count,
                        digest,
                    });
                }
            }
            Content::Cut { from: 0 } if !self.dropped.contains(&unit.key) => {
                segment.feeds.insert(unit.key);
                self.begin_anew(number, unit.key);
            }
            Content::Cut { from } => {
                if let Some(feed) = self.feeds.get_mut(&unit.key) {
                    feed.cut(from);
                    // It must stay for as long as what it cuts off.
                    segment.feeds.insert(unit.key);
                }
            }
            Content::Dropped => {
                segment.tombstones.insert(unit.key);
                self.feeds.remove(&unit.key);
                self.dropped.insert(unit.key);
            }
        }
        None
    }

    /// Takes out the segments that nobody needs: all their feeds are dropped, and what they say is dropped is nowhere
    /// else. The newest one stays: it is written to.
    pub(super) fn take_unneeded(&mut self) -> Vec<PathBuf> {
        let mut taken = Vec::new();
        while let Some(number) = self.unneeded() {
            let Some(segment) = self.segments.remove(&number) else {
                break;
            };
            taken.push(segment.path);
            let forgotten = segment.tombstones.union(&segment.feeds);
            for key in forgotten {
                let known = |s: &Segment| s.tombstones.contains(key) || s.feeds.contains(key);
                if !self.segments.values().any(known) {
                    self.dropped.remove(key);
                }
            }
        }
        taken
    }

    fn unneeded(&self) -> Option<u64> {
        let newest = *self.segments.last_key_value()?.0;
        let elsewhere = |number: u64, key: &FeedKey| {
            self.segments
                .iter()
                .any(|(n, s)| *n != number && s.feeds.contains(key))
        };
        let unneeded = |number: u64, segment: &Segment| {
            number != newest
                && !segment.feeds.iter().any(|key| self.needs(number, *key))
                && !segment.tombstones.iter().any(|key| elsewhere(number, key))
        };
        self.segments
            .iter()
            .find(|(n, s)| unneeded(**n, s))
            .map(|(n, _)| *n)
    }
}
