//! How much room a file system has.

use crate::error::{DiskError, During};
use std::io;
use std::path::Path;

/// Room on one file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// In all.
    pub total_bytes: u64,
    /// That an ordinary user may still fill.
    pub available_bytes: u64,
}

/// The room on the file system that holds `path`.
pub fn space_of(path: &Path) -> Result<Space, DiskError> {
    let stat = rustix::fs::statvfs(path)
        .map_err(io::Error::from)
        .during("asking room of", path)?;
    Ok(Space {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_room_and_a_missing_path_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let space = space_of(dir.path()).unwrap();
        assert!(space.total_bytes > 0 && space.available_bytes <= space.total_bytes);
        assert!(space_of(&dir.path().join("missing")).is_err());
    }
}
