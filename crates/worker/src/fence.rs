//! The name of an attempt, as a value that can be a key.

use std::fmt;

use contract::link;
use thiserror::Error;

/// Names one attempt for ever: no two assignments share a fence. Every message about an attempt carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// UUID of the execution.
    pub execution_id: [u8; 16],
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Raft index of the entry that assigned it.
    pub index: u64,
}

/// A fence on the wire whose execution id is not 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a fence names its execution with 16 bytes, not {0}")]
pub struct FenceError(pub usize);

impl Fence {
    /// The UUID of the execution in its usual form, as programs see it.
    pub fn execution_uuid(&self) -> String {
        uuid_text(&self.execution_id)
    }
}

/// A UUID in its usual form: 32 lower-case digits in five groups.
pub(crate) fn uuid_text(id: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in id.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

impl TryFrom<&link::Fence> for Fence {
    type Error = FenceError;

    fn try_from(fence: &link::Fence) -> Result<Fence, FenceError> {
        let execution_id = <[u8; 16]>::try_from(fence.execution_id.as_ref())
            .map_err(|_| FenceError(fence.execution_id.len()))?;
        Ok(Fence {
            execution_id,
            attempt: fence.attempt,
            index: fence.index,
        })
    }
}

impl From<Fence> for link::Fence {
    fn from(fence: Fence) -> link::Fence {
        link::Fence {
            execution_id: fence.execution_id.to_vec().into(),
            attempt: fence.attempt,
            index: fence.index,
        }
    }
}

/// `11111111/1@7`: the beginning of the execution's id, the attempt, the index. For people and transcripts.
impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uuid = self.execution_uuid();
        write!(f, "{}/{}@{}", &uuid[..8], self.attempt, self.index)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_survives_the_wire_and_a_short_id_does_not() {
        let fence = Fence {
            execution_id: *b"\x01\x97\x4b\xba0123456789ab",
            attempt: 2,
            index: 40,
        };
        let mut wire = link::Fence::from(fence);
        assert_eq!(Fence::try_from(&wire), Ok(fence));
        assert_eq!(fence.to_string(), "01974bba/2@40");
        assert_eq!(
            fence.execution_uuid(),
            "01974bba-3031-3233-3435-363738396162"
        );
        wire.execution_id = b"short".to_vec().into();
        assert_eq!(Fence::try_from(&wire), Err(FenceError(5)));
    }
}
