//! How a value is wrapped: its kind, and a checksum over key and value, so that a value in the wrong place is found too.

/// `kind u8 | crc32 u32le of key and payload | payload`
pub(super) const OVERHEAD: usize = 5;

/// What a value is for. The numbers are on disks and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Bounds = 1,
    HardState = 2,
    EntryPart = 3,
}

pub(super) fn wrap(kind: Kind, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(OVERHEAD + payload.len());
    out.push(kind as u8);
    out.extend_from_slice(&checksum(kind, key, payload).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// The payload, or what is wrong.
pub(super) fn unwrap<'a>(kind: Kind, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    let Some((&[found, c0, c1, c2, c3], payload)) = value.split_first_chunk::<OVERHEAD>() else {
        return Err(format!("value of {} bytes is too short", value.len()));
    };
    if found != kind as u8 {
        return Err(format!("value is of kind {found}, not {}", kind as u8));
    }
    if u32::from_le_bytes([c0, c1, c2, c3]) != checksum(kind, key, payload) {
        return Err("checksum does not match".into());
    }
    Ok(payload)
}

fn checksum(kind: Kind, key: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind as u8]);
    crc.update(key);
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_comes_back_and_damage_is_found(key: [u8; 11], payload in proptest::collection::vec(any::<u8>(), 0..50), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let good = wrap(Kind::HardState, &key, &payload);
            prop_assert_eq!(unwrap(Kind::HardState, &key, &good), Ok(&payload[..]));
            prop_assert!(unwrap(Kind::Bounds, &key, &good).is_err());
            let mut elsewhere = key;
            elsewhere[at.index(key.len())] ^= 1 << bit;
            prop_assert!(unwrap(Kind::HardState, &elsewhere, &good).is_err(), "misplaced");
            let mut bad = good.clone();
            bad[at.index(good.len())] ^= 1 << bit;
            prop_assert!(unwrap(Kind::HardState, &key, &bad).is_err(), "damaged");
            prop_assert!(unwrap(Kind::HardState, &key, &good[..at.index(good.len())]).is_err(), "cut");
        }
    }
}
