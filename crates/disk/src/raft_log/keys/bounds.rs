//! First and last index: what must be there. Entries outside are leftovers, a missing one inside is a loss.

use super::Pair;
use crate::raft_log::value::{Kind, unwrap, wrap};

pub(in crate::raft_log) const KEY: &[u8] = &[0];
const FORMAT: u32 = 1;
const LEN: usize = 28;

/// Indexes of the entries stored: `first ..= last`, none if `last + 1 == first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::raft_log) struct Bounds {
    pub(in crate::raft_log) first: u64,
    pub(in crate::raft_log) last: u64,
    /// Batches written to this log since it was made. It never goes back; see [`super::super::mark`].
    pub(in crate::raft_log) writes: u64,
}

impl Bounds {
    /// Of a log that was just made.
    pub(in crate::raft_log) fn new() -> Bounds {
        Bounds {
            first: 1,
            last: 0,
            writes: 0,
        }
    }

    /// After one more batch, with these indexes.
    pub(in crate::raft_log) fn next(self, first: u64, last: u64) -> Bounds {
        Bounds {
            first,
            last,
            writes: self.writes + 1,
        }
    }
}

pub(in crate::raft_log) fn encode(bounds: Bounds) -> Pair {
    let mut payload = FORMAT.to_le_bytes().to_vec();
    for number in [bounds.first, bounds.last, bounds.writes] {
        payload.extend_from_slice(&number.to_le_bytes());
    }
    (KEY.to_vec(), wrap(Kind::Bounds, KEY, &payload))
}

pub(in crate::raft_log) fn decode(value: &[u8]) -> Result<Bounds, String> {
    let payload = unwrap(Kind::Bounds, KEY, value)?;
    let Some(format) = payload
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
    else {
        return Err("bounds are too short".into());
    };
    if format != FORMAT {
        return Err(format!(
            "written in format {format}; this program knows {FORMAT}"
        ));
    }
    if payload.len() != LEN {
        return Err(format!("bounds have {} bytes, not {LEN}", payload.len()));
    }
    let (numbers, _) = payload[4..].as_chunks::<8>();
    let &[first, last, writes] = numbers else {
        return Err("bounds are too short".into());
    };
    let [first, last, writes] = [first, last, writes].map(u64::from_le_bytes);
    match last.checked_add(1) {
        Some(end) if end >= first && first > 0 => Ok(Bounds {
            first,
            last,
            writes,
        }),
        _ => Err(format!("impossible bounds {first}..={last}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bounds_round_trip(first in 1..u64::MAX / 2, len in 0..1000u64, writes: u64) {
            let bounds = Bounds { first, last: first + len - 1, writes };
            prop_assert_eq!(decode(&encode(bounds).1), Ok(bounds));
        }
    }

    #[test]
    fn impossible_bounds_are_refused() {
        assert!(
            decode(
                &encode(Bounds {
                    first: 9,
                    last: 7,
                    writes: 1
                })
                .1
            )
            .is_err()
        );
        assert!(
            decode(
                &encode(Bounds {
                    first: 0,
                    last: 7,
                    writes: 1
                })
                .1
            )
            .is_err()
        );
        assert!(
            decode(
                &encode(Bounds {
                    first: 9,
                    last: u64::MAX,
                    writes: 1
                })
                .1
            )
            .is_err()
        );
    }
}
