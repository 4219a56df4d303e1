//! What the bytes of a segment mean.
//!
//! ```text
//! segment: header 512 | record | record | … | zeros up to a page, then zeros or what an earlier life of the file left
//! header:  magic 8 | crc32 u32le of the rest | 0 u32 | salt u64le | number u64le of its first record
//!          | first u64le | last u64le | term u64le | vote u64le | commit u64le, as they were before that record
//! record:  crc32 u32le of salt and the rest | len u32le of the items | number u64le | items | zeros up to 8 bytes
//! item:    kind u8 | len u32le | bytes
//! ```
//!
//! Records are numbered from 1 on without a gap, over all segments and for ever. That is what tells them from the bytes of an
//! earlier life of the same file, whose numbers are lower, and what shows that one is missing. The salt is the log's own, so that
//! bytes of another log, or of a program's making, are no records here.

use crate::error::DiskError;
use crate::raft_log::keys::bounds::Bounds;
use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState};

/// Bytes before the first record of a segment: a sector, which a disk writes whole.
pub(super) const HEADER_LEN: usize = 512;

const MAGIC: &[u8; 8] = b"SHOALRL1";
const FIELDS: usize = 7;
const FIELDS_AT: usize = 16;
const FIELDS_END: usize = FIELDS_AT + FIELDS * 8;

const RECORD_HEAD: usize = 16;
const ITEM_HEAD: usize = 5;
/// Records begin at multiples of this.
const ALIGN: usize = 8;

/// What a segment begins with: all that is known before its first record, but for the entries.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    /// Of the log.
    pub(super) salt: u64,
    /// Bounds before the first record; `writes` is the number of the record before it.
    pub(super) bounds: Bounds,
    /// Term, vote and commit index before the first record.
    pub(super) hard_state: HardState,
}

impl Header {
    /// Puts it at the beginning of `bytes`.
    pub(super) fn write(&self, bytes: &mut [u8]) {
        let Header {
            salt,
            bounds,
            hard_state,
        } = self;
        let fields: [u64; FIELDS] = [
            *salt,
            bounds.writes + 1,
            bounds.first,
            bounds.last,
            hard_state.term,
            hard_state.vote,
            hard_state.commit,
        ];
        bytes[..8].copy_from_slice(MAGIC);
        for (at, field) in (FIELDS_AT..).step_by(8).zip(fields) {
            bytes[at..at + 8].copy_from_slice(&field.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[FIELDS_AT - 4..FIELDS_END]);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    }

    /// The header of a segment; none if there is no sound one.
    pub(super) fn read(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..FIELDS_END)?;
        let sum = crc32fast::hash(&bytes[FIELDS_AT - 4..]);
        if !bytes.starts_with(MAGIC) || u32_at(bytes, 8)? != sum {
            return None;
        }
        let field = |number: usize| u64_at(bytes, FIELDS_AT + number * 8);
        let hard_state = HardState {
            term: field(4)?,
            vote: field(5)?,
            commit: field(6)?,
            ..HardState::default()
        };
        Some(Header {
            salt: field(0)?,
            bounds: Bounds {
                writes: field(1)?.checked_sub(1)?,
                first: field(2)?,
                last: field(3)?,
            },
            hard_state,
        })
    }
}

/// What a record can hold. The numbers are on disks and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// `first u64le | last u64le`, as they are after the record. The first item of each.
    Bounds = 1,
    /// Raft's `HardState`.
    HardState = 2,
    /// Raft's `Entry`. It replaces all entries at and after its index.
    Entry = 3,
}

/// Something that a record holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// First and last index.
    Bounds(u64, u64),
    /// Term, vote and commit index.
    HardState(HardState),
    /// An entry.
    Entry(Entry),
}

/// Appends a record to `out`. `bounds` are those after it, its number among them.
pub(super) fn push_record(
    out: &mut Vec<u8>,
    salt: u64,
    bounds: Bounds,
    hard_state: Option<&HardState>,
    entries: &[Entry],
) -> Result<(), DiskError> {
    let start = out.len();
    out.resize(start + RECORD_HEAD, 0);
    push_item(out, Kind::Bounds, |out| {
        out.extend_from_slice(&bounds.first.to_le_bytes());
        out.extend_from_slice(&bounds.last.to_le_bytes());
        Ok(())
    })?;
    if let Some(hard_state) = hard_state {
        push_item(out, Kind::HardState, |out| hard_state.write_to_vec(out))?;
    }
    for entry in entries {
        push_item(out, Kind::Entry, |out| entry.write_to_vec(out))?;
    }
    let len = length(out.len() - start - RECORD_HEAD)?;
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    out[start + 8..start + 16].copy_from_slice(&bounds.writes.to_le_bytes());
    let sum = checksum(salt, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    out.resize(start + (out.len() - start).next_multiple_of(ALIGN), 0);
    Ok(())
}

fn push_item(
    out: &mut Vec<u8>,
    kind: Kind,
    write: impl FnOnce(&mut Vec<u8>) -> protobuf::ProtobufResult<()>,
) -> Result<(), DiskError> {
    let start = out.len();
    out.push(kind as u8);
    out.resize(start + ITEM_HEAD, 0);
    write(out).map_err(|error| DiskError::Misuse(error.to_string()))?;
    let len = length(out.len() - start - ITEM_HEAD)?;
    out[start + 1..start + ITEM_HEAD].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

fn length(bytes: usize) -> Result<u32, DiskError> {
    u32::try_from(bytes)
        .map_err(|_| DiskError::Misuse(format!("a batch of {bytes} bytes is too long")))
}

/// A record whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Its number.
    pub(super) number: u64,
    /// Bytes up to the next one.
    pub(super) len: usize,
    items: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the beginning of `bytes`; none if there is no sound one.
    pub(super) fn read(bytes: &'a [u8], salt: u64) -> Option<Record<'a>> {
        let len = u32_at(bytes, 4)? as usize;
        let whole = bytes.get(..RECORD_HEAD.checked_add(len)?)?;
        if checksum(salt, &whole[4..]) != u32_at(bytes, 0)? {
            return None;
        }
        Some(Record {
            number: u64_at(bytes, 8)?,
            len: whole.len().next_multiple_of(ALIGN),
            items: &whole[RECORD_HEAD..],
        })
    }

    /// What is in it, in order; or why this program cannot read it, though it is as it was written.
    pub(super) fn items(&self) -> impl Iterator<Item = Result<Item, String>> + 'a {
        let mut rest = self.items;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let item = next_item(&mut rest);
            if item.is_err() {
                rest = &[];
            }
            Some(item)
        })
    }
}

/// Whether there is a record in `bytes` that was written after the one with this number and another one.
pub(super) fn has_later(bytes: &[u8], salt: u64, number: u64) -> bool {
    // No log has as many in the files of one moment.
    let later = number.saturating_add(2)..number.saturating_add(1 << 40);
    (0..bytes.len()).step_by(ALIGN).any(|at| {
        u64_at(bytes, at + 8).is_some_and(|number| later.contains(&number))
            && Record::read(&bytes[at..], salt).is_some()
    })
}

fn next_item(rest: &mut &[u8]) -> Result<Item, String> {
    let len = u32_at(rest, 1).ok_or("an item is cut off")? as usize;
    let (kind, whole) = (rest[0], ITEM_HEAD.saturating_add(len));
    let (item, after) = rest
        .split_at_checked(whole)
        .ok_or("an item is longer than its record")?;
    *rest = after;
    let bytes = &item[ITEM_HEAD..];
    let broken = |error: protobuf::ProtobufError| error.to_string();
    match kind {
        1 => match (u64_at(bytes, 0), u64_at(bytes, 8)) {
            (Some(first), Some(last)) => Ok(Item::Bounds(first, last)),
            _ => Err("bounds are cut off".into()),
        },
        2 => HardState::parse_from_bytes(bytes)
            .map(Item::HardState)
            .map_err(broken),
        3 => Entry::parse_from_bytes(bytes)
            .map(Item::Entry)
            .map_err(broken),
        other => Err(format!(
            "holds an item of kind {other}, which this program does not know"
        )),
    }
}

fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(bytes);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(index: u64, len: usize) -> Entry {
        Entry {
            index,
            term: 3,
            data: vec![7; len].into(),
            ..Entry::default()
        }
    }

    fn hard(term: u64) -> HardState {
        HardState {
            term,
            vote: 2,
            commit: 9,
            ..HardState::default()
        }
    }

    fn bounds(writes: u64) -> Bounds {
        Bounds {
            first: 4,
            last: 11,
            writes,
        }
    }

    proptest! {
        #[test]
        fn a_header_comes_back_and_damage_is_found(salt: u64, number in 0..u64::MAX, at in 0..FIELDS_END, bit in 0..8u8) {
            let header = Header { salt, bounds: bounds(number), hard_state: hard(5) };
            let mut bytes = vec![0; HEADER_LEN];
            header.write(&mut bytes);
            prop_assert_eq!(Header::read(&bytes), Some(header));
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Header::read(&bytes), None);
            prop_assert_eq!(Header::read(&bytes[..at]), None);
        }

        #[test]
        fn a_record_comes_back_and_damage_is_found(
            salt: u64, number: u64, lens in proptest::collection::vec(0..300usize, 0..4), has_hard: bool,
            at in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let entries: Vec<Entry> = (5..).zip(lens).map(|(index, len)| entry(index, len)).collect();
            let hard_state = has_hard.then(|| hard(6));
            let mut bytes = b"before..".to_vec();
            push_record(&mut bytes, salt, bounds(number), hard_state.as_ref(), &entries).unwrap();
            let mut bytes = bytes.split_off(8);
            let record = Record::read(&bytes, salt).unwrap();
            prop_assert_eq!((record.number, record.len), (number, bytes.len()));
            let expected: Vec<Item> = std::iter::once(Item::Bounds(4, 11))
                .chain(hard_state.map(Item::HardState))
                .chain(entries.into_iter().map(Item::Entry))
                .collect();
            let items: Vec<Item> = record.items().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(items, expected);
            let sound = RECORD_HEAD + record.items.len();
            prop_assert_eq!(Record::read(&bytes, salt ^ 1), None, "of another log");
            prop_assert_eq!(Record::read(&bytes[..sound - 1], salt), None, "cut");
            bytes[at.index(sound)] ^= 1 << bit;
            prop_assert_eq!(Record::read(&bytes, salt), None, "damaged");
        }

        #[test]
        fn no_bytes_are_taken_for_what_they_are_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Header::read(&bytes), None);
            prop_assert_eq!(Record::read(&bytes, 1), None);
            prop_assert!(!has_later(&bytes, 1, 0));
        }
    }

    #[test]
    fn a_later_record_is_found_wherever_it_is() {
        let mut bytes = vec![0xff; 64];
        push_record(&mut bytes, 1, bounds(9), None, &[]).unwrap();
        bytes.extend_from_slice(&[3; 40]);
        assert!(has_later(&bytes, 1, 7));
        assert!(!has_later(&bytes, 1, 8), "the next one may be cut off");
        assert!(!has_later(&bytes, 2, 7), "of another log");
    }

    #[test]
    fn what_a_newer_program_wrote_is_no_damage_but_is_not_read() {
        let mut bytes = Vec::new();
        push_record(&mut bytes, 1, bounds(9), None, &[]).unwrap();
        bytes[RECORD_HEAD] = 77;
        let sum = checksum(1, &bytes[4..RECORD_HEAD + 21]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        let record = Record::read(&bytes, 1).unwrap();
        let items: Vec<_> = record.items().collect();
        assert!(matches!(&items[..], [Err(why)] if why.contains("kind 77")));
    }
}
