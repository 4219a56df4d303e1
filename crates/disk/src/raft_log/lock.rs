//! One process at a time has a log open.

use crate::error::{DiskError, During};
use fs4::fs_std::FileExt as _;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// Locks a directory, waiting for a process that is just ending. Held as long as the file is open.
pub(super) fn lock(dir: &Path, until: Instant) -> Result<File, DiskError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .during("opening", &path)?;
    retry(until, || {
        file.try_lock_exclusive()
            .during("locking", &path)
            .map(|got| got.then_some(()))
    })?
    .ok_or_else(|| DiskError::InUse {
        path: dir.to_owned(),
    })?;
    Ok(file)
}

/// Tries until there is something, or it is time. A file's lock tells nobody when it is let go.
pub(super) fn retry<T>(
    until: Instant,
    mut attempt: impl FnMut() -> Result<Option<T>, DiskError>,
) -> Result<Option<T>, DiskError> {
    loop {
        let got = attempt()?;
        if got.is_some() || Instant::now() >= until {
            return Ok(got);
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "a file's lock tells nobody when it is let go"
        )]
        std::thread::sleep(Duration::from_millis(10));
    }
}
