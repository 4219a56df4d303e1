//! Reading the segments at the start: what is there, what a crash left, what is damaged.

use super::format::{self, HEADER_LEN};
use super::index::Index;
use super::writer::{SEGMENT_LEN, Writer, segment_path};
use super::{Damage, FeedKey};
use crate::error::{DiskError, During};
use crate::files;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) writer: Writer,
    pub(super) damage: Vec<Damage>,
}

/// Where the sound groups of a segment end, and the number of the next one.
struct End {
    at: usize,
    seq: u64,
}

pub(super) fn recover(dir: &Path) -> Result<Recovered, DiskError> {
    let numbers = segment_numbers(dir)?;
    let mut index = Index::default();
    let mut damage = Vec::new();
    let mut gaps: BTreeMap<FeedKey, Damage> = BTreeMap::new();
    let mut last: Option<(u64, Arc<File>, End)> = None;
    for number in numbers {
        let path = segment_path(dir, number);
        let bytes = fs::read(&path).during("reading", &path)?;
        let Some(first_seq) = format::decode_header(&bytes, number) else {
            if format::find_group(&bytes, 0, 0).is_none() {
                // A crash came while it was begun, and nothing was ever written to it.
                files::remove_if_there(&path)?;
            } else {
                // Kept as it is, for a person to look at; nothing is written to it.
                damage.push(Damage {
                    path,
                    offset: 0,
                    why: "the segment's header is damaged".into(),
                });
            }
            continue;
        };
        if let Some((before, _, end)) = &last
            && before + 1 == number
            && end.seq != first_seq
        {
            let why = format!(
                "groups {} to {} are missing",
                end.seq,
                first_seq.saturating_sub(1)
            );
            damage.push(Damage {
                path: segment_path(dir, *before),
                offset: end.at as u64,
                why,
            });
        }
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .during("opening", &path)?;
        let file = Arc::new(file);
        index.add_segment(number, path.clone(), file.clone());
        let end = scan(&bytes, first_seq, |step| match step {
            Step::Unit(unit) => {
                if let Some(gap) = index.add(number, &unit) {
                    gaps.entry(unit.key).or_insert(gap);
                }
            }
            Step::Broken { start, end, seq } => {
                index.set_barrier(number, end as u64);
                let why = format!("{} bytes are damaged, up to group {seq}", end - start);
                damage.push(Damage {
                    path: path.clone(),
                    offset: start as u64,
                    why,
                });
            }
        });
        last = Some((number, file, end));
    }
    // The beginning of a dropped feed may be gone with its segment.
    damage.extend(
        gaps.into_iter()
            .filter(|(key, _)| !index.is_dropped(*key))
            .map(|(_, gap)| gap),
    );
    let writer = resume(dir, last, &mut index)?;
    // Drops whose segments were still to be removed when the process ended.
    for path in index.take_unneeded() {
        files::remove_if_there(&path)?;
    }
    Ok(Recovered {
        index,
        writer,
        damage,
    })
}

/// Cuts off the torn tail of the last segment and goes on there, or begins another.
fn resume(
    dir: &Path,
    last: Option<(u64, Arc<File>, End)>,
    index: &mut Index,
) -> Result<Writer, DiskError> {
    let newest_file = segment_numbers(dir)?.last().copied();
    let (next_number, seq) = match last {
        None => (newest_file.map_or(1, |n| n + 1), 1),
        Some((number, file, end)) => {
            let is_newest = newest_file == Some(number);
            let path = segment_path(dir, number);
            if is_newest && (end.at as u64) < SEGMENT_LEN {
                file.set_len(end.at as u64).during("cutting", &path)?;
            }
            // The last group may have been written and not synced by a process that was killed in between.
            file.sync_all().during_sync(&path)?;
            if is_newest && (end.at as u64) < SEGMENT_LEN {
                return Ok(Writer::resume(dir, number, file, end.at as u64, end.seq));
            }
            (newest_file.unwrap_or(number) + 1, end.seq)
        }
    };
    let (writer, begun) = Writer::begin(dir, next_number, seq)?;
    index.add_segment(begun.number, begun.path, begun.file);
    Ok(writer)
}

/// What is met on the way through a segment.
enum Step {
    Unit(format::Unit),
    /// Damage at `start .. end`, after which comes the sound group `seq`.
    Broken {
        start: usize,
        end: usize,
        seq: u64,
    },
}

/// Walks the groups of a segment. After a broken one it looks for a later one: if there is, that is damage.
fn scan(bytes: &[u8], first_seq: u64, mut met: impl FnMut(Step)) -> End {
    let mut end = End {
        at: HEADER_LEN,
        seq: first_seq,
    };
    loop {
        if let Some(group) = format::group_at(bytes, end.at).filter(|group| group.seq == end.seq) {
            group
                .units
                .into_iter()
                .for_each(|unit| met(Step::Unit(unit)));
            end = End {
                at: group.end,
                seq: end.seq + 1,
            };
            continue;
        }
        let rest = bytes.get(end.at..).unwrap_or_default();
        if rest.iter().all(|byte| *byte == 0) {
            return end;
        }
        let Some(later) = format::find_group(bytes, end.at, end.seq) else {
            return end;
        };
        let seq = format::group_at(bytes, later).map_or(end.seq, |group| group.seq);
        met(Step::Broken {
            start: end.at,
            end: later,
            seq,
        });
        end = End { at: later, seq };
    }
}

/// Numbers of the segments in `dir`, rising.
fn segment_numbers(dir: &Path) -> Result<Vec<u64>, DiskError> {
    let mut numbers = Vec::new();
    for found in fs::read_dir(dir).during("listing", dir)? {
        let path = found.during("listing", dir)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        numbers.extend(
            name.strip_suffix(".seg")
                .and_then(|n| n.parse::<u64>().ok()),
        );
    }
    numbers.sort_unstable();
    Ok(numbers)
}
