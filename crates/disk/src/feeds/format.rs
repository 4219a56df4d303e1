//! The bytes of a segment.
//!
//! ```text
//! segment = header, then groups, then zeros
//! header  = "SHOALFD1" | segment number u64le | sequence number of its first group u64le | crc32 u32le | zeros to 32
//! group   = unit "GRP1", then the units that were written by one call; synced before the next group is begun
//! unit    = tag 4 | key 20 | number u64le | count u32le | len u32le | crc32 u32le of all this and the payload | payload
//!
//! tag     key                    number           count     payload
//! GRP1    bytes of its units     sequence number  units     -
//! REC1    execution, attempt     first record     records   frames
//! SEA1    execution, attempt     records in all   0         digest
//! DRP1    execution, attempt     0                0         -
//! CUT1    execution, attempt     first record     0         -
//!                                that is no more
//! ```
//!
//! Groups are numbered one after the other through all segments. A broken group with a good one of a higher number after
//! it had been synced: that is damage. A broken one with nothing after it was being written: that is a torn tail.

use super::FeedKey;

pub(super) const HEADER_LEN: usize = 32;
pub(super) const UNIT_LEN: usize = 44;
const MAGIC: &[u8; 8] = b"SHOALFD1";
const GROUP_TAG: &[u8; 4] = b"GRP1";

/// What one unit says about a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Records { first: u64, count: u32 },
    Seal { record_count: u64, digest: [u8; 32] },
    Dropped,
    Cut { from: u64 },
}

/// One unit about a feed, found at `start .. end` of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) key: FeedKey,
    pub(super) content: Content,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Unit {
    /// Where its payload begins.
    pub(super) fn payload_start(&self) -> usize {
        self.start + UNIT_LEN
    }
}

pub(super) fn encode_header(number: u64, first_seq: u64) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&first_seq.to_le_bytes());
    let crc = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The sequence number of the first group of segment `number`.
pub(super) fn decode_header(bytes: &[u8], number: u64) -> Option<u64> {
    let header = bytes.first_chunk::<HEADER_LEN>()?;
    let first_seq = u64_at(header, 16)?;
    (*header == encode_header(number, first_seq)).then_some(first_seq)
}

/// A unit's fixed part: tag, key, number, count, payload.
pub(super) fn push_unit(
    out: &mut Vec<u8>,
    tag: &[u8; 4],
    key: &[u8; 20],
    number: u64,
    count: u32,
    payload: &[u8],
) {
    let start = out.len();
    out.extend_from_slice(tag);
    out.extend_from_slice(key);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out[start..]);
    crc.update(payload);
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.extend_from_slice(payload);
}

/// Appends a unit about a feed. `frames` are the payload of records, and ignored otherwise.
pub(super) fn encode_unit(out: &mut Vec<u8>, key: FeedKey, content: Content, frames: &[u8]) {
    let key = key.to_bytes();
    match content {
        Content::Records { first, count } => push_unit(out, b"REC1", &key, first, count, frames),
        Content::Seal {
            record_count,
            digest,
        } => {
            push_unit(out, b"SEA1", &key, record_count, 0, &digest);
        }
        Content::Dropped => push_unit(out, b"DRP1", &key, 0, 0, &[]),
        Content::Cut { from } => push_unit(out, b"CUT1", &key, from, 0, &[]),
    }
}

/// The unit that goes before the units of a group.
pub(super) fn encode_group(seq: u64, units: u32, body_len: usize) -> Vec<u8> {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&(body_len as u64).to_le_bytes());
    let mut out = Vec::with_capacity(UNIT_LEN + body_len);
    push_unit(&mut out, GROUP_TAG, &key, seq, units, &[]);
    out
}

/// A unit at `at` with a good checksum: its end and its parts.
pub(super) struct Raw<'a> {
    pub(super) tag: [u8; 4],
    pub(super) key: [u8; 20],
    pub(super) number: u64,
    pub(super) count: u32,
    pub(super) payload: &'a [u8],
    pub(super) end: usize,
}

pub(super) fn raw_unit(bytes: &[u8], at: usize) -> Option<Raw<'_>> {
    let unit = bytes.get(at..)?.first_chunk::<UNIT_LEN>()?;
    let payload_start = at + UNIT_LEN;
    let end = payload_start.checked_add(u32_at(unit, 36)? as usize)?;
    let payload = bytes.get(payload_start..end)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&unit[..40]);
    crc.update(payload);
    (crc.finalize() == u32_at(unit, 40)?).then_some(Raw {
        tag: *unit.first_chunk()?,
        key: *unit[4..].first_chunk()?,
        number: u64_at(unit, 24)?,
        count: u32_at(unit, 32)?,
        payload,
        end,
    })
}

/// What stands at `at`: a unit about a feed, a group's beginning (`Ok(Err(end))`), or nothing sound.
pub(super) fn unit_at(bytes: &[u8], at: usize) -> Option<Result<Unit, usize>> {
    let raw = raw_unit(bytes, at)?;
    let content = match &raw.tag {
        GROUP_TAG => return Some(Err(raw.end)),
        b"REC1" => Content::Records {
            first: raw.number,
            count: raw.count,
        },
        b"SEA1" => Content::Seal {
            record_count: raw.number,
            digest: raw.payload.try_into().ok()?,
        },
        b"DRP1" => Content::Dropped,
        b"CUT1" => Content::Cut { from: raw.number },
        _ => return None,
    };
    Some(Ok(Unit {
        key: FeedKey::from_bytes(&raw.key),
        content,
        start: at,
        end: raw.end,
    }))
}

/// A whole, sound group.
pub(super) struct Group {
    pub(super) seq: u64,
    pub(super) units: Vec<Unit>,
    pub(super) end: usize,
}

/// The group at `at`, if every byte of it is sound.
pub(super) fn group_at(bytes: &[u8], at: usize) -> Option<Group> {
    let head = raw_unit(bytes, at).filter(|raw| &raw.tag == GROUP_TAG)?;
    let body_len = usize::try_from(u64_at(&head.key, 0)?).ok()?;
    let end = head
        .end
        .checked_add(body_len)
        .filter(|end| *end <= bytes.len())?;
    let mut units = Vec::new();
    let mut next = head.end;
    while next < end {
        let unit = unit_at(bytes, next)?.ok()?;
        next = unit.end;
        units.push(unit);
    }
    (next == end && units.len() == head.count as usize).then_some(Group {
        seq: head.number,
        units,
        end,
    })
}

/// The first sound group after `at` with a number of `seq` or more.
pub(super) fn find_group(bytes: &[u8], at: usize, seq: u64) -> Option<usize> {
    let mut from = at;
    loop {
        let rest = bytes.get(from..)?;
        let found = from
            + rest
                .windows(GROUP_TAG.len())
                .position(|window| window == GROUP_TAG)?;
        if group_at(bytes, found).is_some_and(|group| group.seq >= seq) {
            return Some(found);
        }
        from = found + 1;
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(seq: u64, units: &[(FeedKey, Content, Vec<u8>)]) -> Vec<u8> {
        let mut body = Vec::new();
        units
            .iter()
            .for_each(|(key, content, frames)| encode_unit(&mut body, *key, *content, frames));
        let mut out = encode_group(seq, units.len() as u32, body.len());
        out.extend(body);
        out
    }

    fn any_unit() -> impl Strategy<Value = (FeedKey, Content, Vec<u8>)> {
        let key = (any::<[u8; 16]>(), any::<u32>())
            .prop_map(|(execution, attempt)| FeedKey { execution, attempt });
        let content = prop_oneof![
            (any::<u64>(), any::<u32>())
                .prop_map(|(first, count)| Content::Records { first, count }),
            (any::<u64>(), any::<[u8; 32]>()).prop_map(|(record_count, digest)| Content::Seal {
                record_count,
                digest
            }),
            Just(Content::Dropped),
            any::<u64>().prop_map(|from| Content::Cut { from }),
        ];
        (key, content, proptest::collection::vec(any::<u8>(), 0..40))
    }

    proptest! {
        #[test]
        fn groups_round_trip_and_damage_is_found(seq: u64, units in proptest::collection::vec(any_unit(), 0..4), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = vec![7; 5];
            bytes.extend(group(seq, &units));
            let found = group_at(&bytes, 5).unwrap();
            prop_assert_eq!((found.seq, found.end), (seq, bytes.len()));
            let contents: Vec<_> = found.units.iter().map(|unit| (unit.key, unit.content)).collect();
            let expected: Vec<_> = units.iter().map(|(key, content, _)| (*key, *content)).collect();
            prop_assert_eq!(contents, expected);
            prop_assert_eq!(find_group(&bytes, 0, seq), Some(5));
            prop_assert!(group_at(&bytes[..bytes.len() - 1], 5).is_none(), "cut");
            let at = 5 + at.index(bytes.len() - 5);
            bytes[at] ^= 1 << bit;
            prop_assert!(group_at(&bytes, 5).is_none(), "damaged");
        }

        #[test]
        fn any_bytes_are_a_group_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..210usize) {
            prop_assert!(group_at(&bytes, at).is_none());
            prop_assert!(decode_header(&bytes, 3).is_none());
        }
    }

    #[test]
    fn a_header_is_of_one_segment() {
        let header = encode_header(7, 99);
        assert_eq!(decode_header(&header, 7), Some(99));
        assert_eq!(decode_header(&header, 8), None);
        assert_eq!(decode_header(&header[..31], 7), None);
    }
}
