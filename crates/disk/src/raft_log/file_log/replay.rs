//! From the files to the state: what was synced is all found, or an error names what is missing.
//!
//! The segments whose headers and records follow each other without a gap, up to the newest, are the *chain*. It ends at the
//! first record that is not sound. That is a write which the power cut off, and nothing that anybody was told is durable, *unless*
//!
//! - a record stands anywhere that was written after it: there is only one that is not synced at a time;
//! - or the mark says that the log had come further;
//! - or an entry within the bounds is not in the chain.
//!
//! Each of these is damage. Files outside the chain are spare: they hold what was compacted, or never came to be.

use super::format::{HEADER_LEN, Header, Item, Record, has_later};
use super::segments::Segment;
use crate::error::DiskError;
use crate::raft_log::keys::bounds::Bounds;
use crate::raft_log::mark::Mark;
use crate::raft_log::medium::{Directory, Medium};
use crate::raft_log::recovery::corrupt;
use raft::eraftpb::{Entry, HardState};
use std::collections::{BTreeMap, VecDeque};

/// What was found in a directory.
pub(super) struct Replayed<F> {
    /// The segments that hold the log, oldest first.
    pub(super) chain: VecDeque<Segment<F>>,
    /// The other files, those first that are to be written first.
    pub(super) spare: VecDeque<Segment<F>>,
    /// Of the log; none if there is none.
    pub(super) salt: Option<u64>,
    /// Where the last segment of the chain goes on.
    pub(super) end: u64,
    pub(super) state: State,
}

/// The state of a log.
#[derive(Debug)]
pub(super) struct State {
    pub(super) bounds: Bounds,
    pub(super) hard_state: HardState,
    pub(super) entries: BTreeMap<u64, Entry>,
}

impl State {
    fn new() -> State {
        State {
            bounds: Bounds::new(),
            hard_state: HardState::default(),
            entries: BTreeMap::new(),
        }
    }

    fn apply(&mut self, number: u64, item: Item) {
        match item {
            Item::Bounds(first, last) => {
                self.bounds = Bounds {
                    first,
                    last,
                    writes: number,
                };
                while let Some(oldest) = self.entries.first_entry()
                    && *oldest.key() < first
                {
                    oldest.remove();
                }
                self.cut_after(last);
            }
            Item::HardState(hard_state) => self.hard_state = hard_state,
            Item::Entry(entry) => {
                self.cut_after(entry.index.saturating_sub(1));
                self.entries.insert(entry.index, entry);
            }
        }
    }

    fn cut_after(&mut self, index: u64) {
        while let Some(newest) = self.entries.last_entry()
            && *newest.key() > index
        {
            newest.remove();
        }
    }
}

/// A file, and what its header says.
struct File<F> {
    segment: Segment<F>,
    header: Option<Header>,
}

/// Reads what is in a directory.
pub(super) fn replay<D: Directory>(
    directory: &D,
    mark: &Mark<D::File>,
) -> Result<Replayed<D::File>, DiskError> {
    let mut files = headers(directory)?;
    // Who has the highest number says which log this is.
    let salt = files
        .iter()
        .filter_map(|file| file.header.as_ref())
        .max_by_key(|header| header.bounds.writes)
        .map(|header| header.salt);
    for file in &mut files {
        file.header.take_if(|header| Some(header.salt) != salt);
    }
    // Unsound ones first: they are to be written first.
    files.sort_by_key(|file| file.header.as_ref().map(|header| header.bounds.writes));
    let mut found = Replayed {
        chain: VecDeque::new(),
        spare: VecDeque::new(),
        salt,
        end: 0,
        state: State::new(),
    };
    let mut gap = None;
    for File {
        mut segment,
        header,
    } in files
    {
        let (Some(header), Some(salt)) = (header, salt) else {
            found.spare.push_back(segment);
            continue;
        };
        if header.bounds.writes != found.state.bounds.writes || found.chain.is_empty() {
            if let Some(before) = found.chain.back() {
                gap = Some(format!("{} ends too early", before.name));
            }
            // What comes before a gap says nothing of what comes after it; the header does.
            found.spare.append(&mut found.chain);
            found.state = State {
                bounds: header.bounds,
                hard_state: header.hard_state,
                entries: BTreeMap::new(),
            };
        }
        found.end = read_records(directory, &mut segment, salt, &mut found.state)?;
        found.chain.push_back(segment);
    }
    check(directory, mark, &found, gap)?;
    Ok(found)
}

fn headers<D: Directory>(directory: &D) -> Result<Vec<File<D::File>>, DiskError> {
    let mut names = directory.names()?;
    // What else somebody has put there is none of ours.
    names.retain(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let file = directory.open(&name)?;
        let header = Header::read(&file.read(0, HEADER_LEN)?);
        let len = file.len()?;
        let segment = Segment {
            name,
            file,
            len,
            newest: 0,
        };
        files.push(File { segment, header });
    }
    Ok(files)
}

/// Applies the records of a segment; gives where they end.
fn read_records<D: Directory>(
    directory: &D,
    segment: &mut Segment<D::File>,
    salt: u64,
    state: &mut State,
) -> Result<u64, DiskError> {
    let bytes = segment.file.read(0, segment.len as usize)?;
    let mut at = HEADER_LEN.min(bytes.len());
    while let Some(record) = Record::read(&bytes[at..], salt) {
        if record.number != state.bounds.writes + 1 {
            break;
        }
        for item in record.items() {
            let item = item.map_err(|why| {
                let place = format!("{} at {at}", segment.name);
                corrupt(&directory.place(), &place, why)
            })?;
            if let Item::Entry(entry) = &item {
                segment.newest = segment.newest.max(entry.index);
            }
            state.apply(record.number, item);
        }
        // The padding of the last one may be cut off with the file.
        at = bytes.len().min(at + record.len);
    }
    Ok(at as u64)
}

fn check<D: Directory>(
    directory: &D,
    mark: &Mark<D::File>,
    found: &Replayed<D::File>,
    gap: Option<String>,
) -> Result<(), DiskError> {
    let damaged = |place: &str, why: String| Err(corrupt(&directory.place(), place, why));
    let Bounds {
        first,
        last,
        writes,
    } = found.state.bounds;
    let last_segment = found.chain.back().map(|segment| &*segment.name);
    if let Some(salt) = found.salt {
        for segment in found.spare.iter().chain(found.chain.back()) {
            let from = match last_segment {
                Some(last) if last == segment.name => found.end,
                _ => 0,
            };
            let rest = segment
                .file
                .read(from, segment.len.saturating_sub(from) as usize)?;
            if has_later(&rest, salt, writes) {
                let place = format!("{} at {}", last_segment.unwrap_or("log"), found.end);
                let why = format!(
                    "batch {} is not sound, and later ones are there",
                    writes + 1
                );
                return damaged(&place, why);
            }
        }
    }
    let marked = mark.read()?;
    if writes < marked {
        let place =
            last_segment.map_or("log".to_owned(), |name| format!("{name} at {}", found.end));
        return damaged(
            &place,
            format!("it went back: it has {writes} writes of {marked}"),
        );
    }
    let mut expected = first;
    for index in found.state.entries.keys() {
        if *index != expected {
            break;
        }
        expected += 1;
    }
    if last.checked_add(1) != Some(expected) {
        let why = match gap {
            Some(gap) => format!("missing; {gap}"),
            None => "missing".to_owned(),
        };
        return damaged(&format!("entry {expected}"), why);
    }
    Ok(())
}
