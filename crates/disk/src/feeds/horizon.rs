//! Up to when feeds were removed because their time was over: two times in a small file, so that what is gone stays gone whatever else is
//! lost, and nobody has to remember feeds one by one.

use super::Damage;
use crate::error::{DiskError, During};
use crate::files;
use std::fs;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"SHOALFH1";
const LEN: usize = 28;

/// `purged_until_ms ≤ absent_until_ms`; Unix times in milliseconds, neither ever falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Horizon {
    /// Feeds whose attempts ended at this time or before are removed.
    pub purged_until_ms: i64,
    /// Those that ended at this time or before and are not whole here will not be: the other coordinators have removed them.
    pub absent_until_ms: i64,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("horizon")
}

fn encode(horizon: Horizon) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&horizon.purged_until_ms.to_le_bytes());
    bytes[16..24].copy_from_slice(&horizon.absent_until_ms.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What the file says. A damaged one is told, and says nothing: what was removed is then asked of the other coordinators once more.
pub(super) fn read(dir: &Path) -> Result<(Horizon, Option<Damage>), DiskError> {
    let path = path(dir);
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok((Horizon::default(), None));
        }
        other => other.during("reading", &path)?,
    };
    let number = |at: usize| {
        let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| i64::from_le_bytes(*bytes))
    };
    let horizon = Horizon {
        purged_until_ms: number(8),
        absent_until_ms: number(16),
    };
    if bytes == encode(horizon) {
        return Ok((horizon, None));
    }
    let why = "up to when feeds were removed is damaged".to_owned();
    Ok((
        Horizon::default(),
        Some(Damage {
            path,
            offset: 0,
            why,
        }),
    ))
}

/// Durable on return.
pub(super) fn write(dir: &Path, horizon: Horizon) -> Result<(), DiskError> {
    let path = path(dir);
    files::point(&path)?;
    files::write_whole(&path, &[&encode(horizon)])?;
    files::point(&path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_was_written_or_told_to_be_damaged() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), (Horizon::default(), None));
        let horizon = Horizon {
            purged_until_ms: 5,
            absent_until_ms: 9,
        };
        write(dir.path(), horizon).unwrap();
        assert_eq!(read(dir.path()).unwrap(), (horizon, None));
        let sound = fs::read(path(dir.path())).unwrap();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            fs::write(path(dir.path()), &bytes).unwrap();
            let (found, damage) = read(dir.path()).unwrap();
            assert!(found == Horizon::default() && damage.is_some(), "byte {at}");
        }
        fs::write(path(dir.path()), &sound[..20]).unwrap();
        assert!(read(dir.path()).unwrap().1.is_some());
    }
}
