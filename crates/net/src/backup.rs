//! Backups: the whole replicated state as one file, which proves itself.
//!
//! ```text
//! magic 8 | BLAKE3 32 of the rest | shoal.ledger.v1.Snapshot, encoded
//! ```

use bytes::Bytes;
use contract::ledger::Snapshot;
use ledger::Ledger;
use prost::Message as _;
use thiserror::Error;

const MAGIC: &[u8; 8] = b"SHOALBK1";
const HEADER: usize = MAGIC.len() + 32;

/// What is no backup.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BackupError {
    /// It begins in another way.
    #[error("it is no backup of shoal")]
    Foreign,
    /// It was cut or changed.
    #[error("it is damaged: its digest does not match")]
    Damaged,
    /// What it holds cannot be read.
    #[error("what it holds cannot be read: {0}")]
    Unreadable(String),
}

/// The backup of a ledger.
pub fn encode(ledger: &Ledger) -> Bytes {
    let snapshot = ledger.snapshot();
    let mut bytes = Vec::with_capacity(HEADER + snapshot.encoded_len());
    bytes.extend_from_slice(MAGIC);
    bytes.resize(HEADER, 0);
    // A vector grows as it must.
    let _ = snapshot.encode(&mut bytes);
    let digest = blake3::hash(&bytes[HEADER..]);
    bytes[MAGIC.len()..HEADER].copy_from_slice(digest.as_bytes());
    bytes.into()
}

/// The state in a backup.
///
/// # Errors
/// When it is none, or was changed.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, BackupError> {
    let (header, rest) = bytes.split_at_checked(HEADER).ok_or(BackupError::Foreign)?;
    let digest = header.strip_prefix(MAGIC).ok_or(BackupError::Foreign)?;
    if blake3::hash(rest).as_bytes()[..] != *digest {
        return Err(BackupError::Damaged);
    }
    Snapshot::decode(rest).map_err(|error| BackupError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_backup_is_read_back_and_a_changed_one_refused() {
        let ledger = Ledger::new();
        let mut bytes = encode(&ledger).to_vec();
        assert_eq!(decode(&bytes).unwrap(), ledger.snapshot());
        assert_eq!(decode(b"SHOAL"), Err(BackupError::Foreign));
        assert_eq!(decode(&[0; 50]), Err(BackupError::Foreign));
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(BackupError::Damaged));
    }
}
