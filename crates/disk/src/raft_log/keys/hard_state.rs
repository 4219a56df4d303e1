//! Term, vote and commit index.

use super::Pair;
use crate::raft_log::value::{Kind, unwrap, wrap};
use protobuf::Message as _;
use raft::eraftpb::HardState;

pub(in crate::raft_log) const KEY: &[u8] = &[1];

pub(in crate::raft_log) fn encode(hard_state: &HardState) -> Result<Pair, String> {
    let payload = hard_state.write_to_bytes().map_err(|e| e.to_string())?;
    Ok((KEY.to_vec(), wrap(Kind::HardState, KEY, &payload)))
}

pub(in crate::raft_log) fn decode(value: &[u8]) -> Result<HardState, String> {
    HardState::parse_from_bytes(unwrap(Kind::HardState, KEY, value)?).map_err(|e| e.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hard_states_round_trip(term: u64, vote: u64, commit: u64) {
            let hard_state = HardState { term, vote, commit, ..HardState::default() };
            prop_assert_eq!(decode(&encode(&hard_state).unwrap().1), Ok(hard_state));
        }
    }
}
