//! Reading the segments at the start: what is there, what a crash left, what is damaged.

use super::archive::{self, pack_path};
use super::format::{self, Content, HEADER_LEN};
use super::horizon::{self, Horizon};
use super::index::{Archived, Index};
use super::pack;
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
    pub(super) horizon: Horizon,
    pub(super) next_pack: u64,
    pub(super) bytes_read: u64,
}

/// Where the sound groups of a segment end, and the number of the next one.
struct End {
    at: usize,
    seq: u64,
}

pub(super) fn recover(dir: &Path) -> Result<Recovered, DiskError> {
    remove_unfinished(dir)?;
    let (horizon, damaged) = horizon::read(dir)?;
    let mut damage = Vec::from_iter(damaged);
    let mut index = Index::default();
    let packs = numbers(dir, ".arc")?;
    let next_pack = packs.last().map_or(1, |newest| newest + 1);
    let mut bytes_read = 0;
    for number in packs {
        bytes_read += take_archive(dir, number, horizon, &mut index, &mut damage)?;
    }
    let numbers = segment_numbers(dir)?;
    let mut gaps: BTreeMap<FeedKey, Damage> = BTreeMap::new();
    let mut last: Option<(u64, Arc<File>, End)> = None;
    for number in numbers {
        let path = segment_path(dir, number);
        let bytes = fs::read(&path).during("reading", &path)?;
        bytes_read += bytes.len() as u64;
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
                if unit.content == (Content::Cut { from: 0 }) {
                    // What is missing of what it was before is not missed.
                    gaps.remove(&unit.key);
                }
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
        index.set_len(number, end.at as u64);
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
        horizon,
        next_pack,
        bytes_read,
    })
}

/// What a crash left of files that had not got their names yet.
fn remove_unfinished(dir: &Path) -> Result<(), DiskError> {
    for found in fs::read_dir(dir).during("listing", dir)? {
        let path = found.during("listing", dir)?.path();
        if path.extension().is_some_and(|suffix| suffix == "tmp") {
            files::remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// Takes in the index of an archive, or makes it anew where it is damaged. Answers with the bytes it read.
fn take_archive(
    dir: &Path,
    number: u64,
    horizon: Horizon,
    index: &mut Index,
    damage: &mut Vec<Damage>,
) -> Result<u64, DiskError> {
    let path = pack_path(dir, number);
    let file = File::open(&path).during("opening", &path)?;
    let (mut entries, bytes_read) = match pack::read_index(&file, &path)? {
        Some(entries) => {
            let len = entries.len() as u64 * pack::ENTRY_LEN as u64;
            (entries, len)
        }
        None => {
            let bytes = fs::read(&path).during("reading", &path)?;
            let found = pack::find_feeds(&bytes);
            let why = format!(
                "the index is damaged; {} feeds were found again",
                found.len()
            );
            damage.push(pack::damage(&path, 0, why));
            if found.is_empty() {
                // Kept for a person to look at.
                let aside = files::suffixed(&path, "damaged");
                fs::rename(&path, &aside).during("renaming to", &aside)?;
                return Ok(bytes.len() as u64);
            }
            // Each block says itself whether it is sound.
            let entries = archive::rewrite(&path, &file, &found)?;
            (entries, bytes.len() as u64)
        }
    };
    entries.retain(|entry| entry.end_time_ms > horizon.purged_until_ms);
    if entries.is_empty() {
        files::remove_if_there(&path)?;
        files::sync_dir(dir)?;
    }
    for entry in entries {
        let pack = number;
        index.archived.insert(entry.key, Archived { pack, entry });
    }
    Ok(bytes_read)
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
    numbers(dir, ".seg")
}

/// Numbers of the files in `dir` whose names end so, rising.
fn numbers(dir: &Path, suffix: &str) -> Result<Vec<u64>, DiskError> {
    let mut numbers = Vec::new();
    for found in fs::read_dir(dir).during("listing", dir)? {
        let path = found.during("listing", dir)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        numbers.extend(
            name.strip_suffix(suffix)
                .and_then(|n| n.parse::<u64>().ok()),
        );
    }
    numbers.sort_unstable();
    Ok(numbers)
}
