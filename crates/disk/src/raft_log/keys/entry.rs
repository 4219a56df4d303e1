//! Entries, in parts that are short enough for sled.
//!
//! The payload of every part begins with the number of parts and the length of the whole entry.

use super::{PART_LEN, Pair};
use crate::raft_log::value::{Kind, unwrap, wrap};
use protobuf::Message as _;
use raft::eraftpb::Entry;

/// All keys of entries begin with it.
pub(in crate::raft_log) const PREFIX: u8 = 2;
/// `parts u16le | len u32le`
pub(in crate::raft_log) const HEAD_LEN: usize = 6;
const KEY_LEN: usize = 11;

/// The key of one part.
pub(in crate::raft_log) fn key(index: u64, part: u16) -> [u8; KEY_LEN] {
    let mut key = [PREFIX; KEY_LEN];
    key[1..9].copy_from_slice(&index.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Index and part of a key.
pub(in crate::raft_log) fn parse_key(key: &[u8]) -> Option<(u64, u16)> {
    let [PREFIX, i0, i1, i2, i3, i4, i5, i6, i7, p0, p1] = *key else {
        return None;
    };
    let index = u64::from_be_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
    Some((index, u16::from_be_bytes([p0, p1])))
}

/// The parts of `entry`.
pub(in crate::raft_log) fn encode(entry: &Entry) -> Result<Vec<Pair>, String> {
    let bytes = entry.write_to_bytes().map_err(|e| e.to_string())?;
    let too_long = || format!("entry {} of {} bytes is too long", entry.index, bytes.len());
    let len = u32::try_from(bytes.len()).map_err(|_| too_long())?;
    let parts = u16::try_from(bytes.len().div_ceil(PART_LEN).max(1)).map_err(|_| too_long())?;
    let pair = |part: u16| {
        let start = usize::from(part) * PART_LEN;
        let mut payload = parts.to_le_bytes().to_vec();
        payload.extend_from_slice(&len.to_le_bytes());
        payload.extend_from_slice(&bytes[start..bytes.len().min(start + PART_LEN)]);
        let key = key(entry.index, part);
        (key.to_vec(), wrap(Kind::EntryPart, &key, &payload))
    };
    Ok((0..parts).map(pair).collect())
}

/// Puts the parts of one entry together, given in the order of their keys.
#[derive(Debug, Default)]
pub(in crate::raft_log) struct Assembler {
    bytes: Vec<u8>,
    seen: u16,
}

impl Assembler {
    /// Takes the next part; gives the entry if it was the last.
    pub(in crate::raft_log) fn push(
        &mut self,
        index: u64,
        part: u16,
        value: &[u8],
    ) -> Result<Option<Entry>, String> {
        let payload = unwrap(Kind::EntryPart, &key(index, part), value)?;
        let Some((&[p0, p1, l0, l1, l2, l3], piece)) = payload.split_first_chunk::<HEAD_LEN>()
        else {
            return Err("a part is too short".into());
        };
        if part != self.seen {
            return Err(format!("part {} is missing", self.seen));
        }
        self.bytes.extend_from_slice(piece);
        self.seen += 1;
        if self.seen < u16::from_le_bytes([p0, p1]) {
            return Ok(None);
        }
        let Assembler { bytes, .. } = std::mem::take(self);
        if bytes.len() != u32::from_le_bytes([l0, l1, l2, l3]) as usize {
            return Err("its parts do not have its length".into());
        }
        let entry = Entry::parse_from_bytes(&bytes).map_err(|e| e.to_string())?;
        if entry.index != index {
            return Err(format!("it says it is entry {}", entry.index));
        }
        Ok(Some(entry))
    }

    /// Parts of an entry were taken and others are to come.
    pub(in crate::raft_log) fn is_midway(&self) -> bool {
        self.seen > 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::MAX_VALUE_LEN;
    use super::*;
    use proptest::prelude::*;

    fn entry(index: u64, len: usize) -> Entry {
        let data: Vec<u8> = (0..len).map(|i| (i * 13) as u8).collect();
        Entry {
            index,
            term: 3,
            data: data.into(),
            ..Entry::default()
        }
    }

    fn assemble(index: u64, pairs: &[Pair]) -> Result<Option<Entry>, String> {
        let mut assembler = Assembler::default();
        let mut done = None;
        for (key, value) in pairs {
            let (found, part) = parse_key(key).unwrap();
            assert_eq!(found, index);
            done = assembler.push(index, part, value)?;
        }
        Ok(done)
    }

    proptest! {
        #[test]
        fn entries_round_trip(index: u64, len in prop_oneof![0..100usize, PART_LEN - 30..PART_LEN + 3, 0..5 * PART_LEN]) {
            let entry = entry(index, len);
            let pairs = encode(&entry).unwrap();
            prop_assert!(pairs.iter().all(|(_, value)| value.len() <= MAX_VALUE_LEN));
            prop_assert!(pairs.windows(2).all(|w| w[0].0 < w[1].0));
            prop_assert_eq!(assemble(index, &pairs), Ok(Some(entry)));
            if pairs.len() > 1 {
                prop_assert_eq!(assemble(index, &pairs[..pairs.len() - 1]), Ok(None));
                prop_assert!(assemble(index, &pairs[1..]).is_err());
            }
        }

        #[test]
        fn keys_sort_by_index_and_part(a: (u64, u16), b: (u64, u16)) {
            prop_assert_eq!(key(a.0, a.1).cmp(&key(b.0, b.1)), a.cmp(&b));
            prop_assert_eq!(parse_key(&key(a.0, a.1)), Some(a));
        }
    }

    #[test]
    fn an_entry_under_the_wrong_index_is_refused() {
        let (_, value) = encode(&entry(5, 10)).unwrap().remove(0);
        assert!(Assembler::default().push(6, 0, &value).is_err());
        assert_eq!(parse_key(&[1; 11]), None);
        assert_eq!(parse_key(&[2; 10]), None);
    }
}
