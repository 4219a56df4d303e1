//! The few moves of files that must be made in the right order to survive a power cut.

use crate::error::{DiskError, During};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Creates `dir` and what is missing above it; syncs the directories so that it stays.
pub(crate) fn create_dir(dir: &Path) -> Result<(), DiskError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.during("creating", dir),
    }?;
    sync_parent(dir)
}

/// As [`create_dir`], and also makes the name of a directory durable that is there: who made it may have been killed before it had.
pub(crate) fn own_dir(dir: &Path) -> Result<(), DiskError> {
    create_dir(dir)?;
    match sync_parent(dir) {
        // Whoever gave us a directory in one that we may not read has made it long before.
        Err(DiskError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), DiskError> {
    File::open(dir)
        .during("opening", dir)?
        .sync_all()
        .during_sync(dir)
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), DiskError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Puts a file with these bytes at `path`, whole or not at all, durable on return. `parts` are written one after the other.
pub(crate) fn write_whole(path: &Path, parts: &[&[u8]]) -> Result<(), DiskError> {
    let tmp = suffixed(path, "tmp");
    let mut file = File::create(&tmp).during("creating", &tmp)?;
    let written = parts
        .iter()
        .try_for_each(|part| file.write_all(part))
        .during("writing", &tmp);
    if let Err(error) = written {
        // Room for others; the error that matters is the one at hand.
        let _ = fs::remove_file(&tmp);
        return Err(error);
    }
    file.sync_all().during_sync(&tmp)?;
    fs::rename(&tmp, path).during("renaming to", path)?;
    sync_parent(path)
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other.during("removing", path),
    }
}

/// The path with `.suffix` added to its last part.
pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// A place where a test can end the process: between two moves that a crash may come between. Nothing in a build that is no test.
#[cfg(not(test))]
pub(crate) fn point(_: &Path) -> Result<(), DiskError> {
    Ok(())
}

#[cfg(test)]
pub(crate) use crash::point;

/// A process that ends at a chosen move.
#[cfg(test)]
pub(crate) mod crash {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
        static ENDED: Cell<bool> = const { Cell::new(false) };
    }

    /// Lets the move after `moves` more fail, and all after it.
    pub(crate) fn after(moves: u64) {
        LEFT.set(Some(moves));
    }

    /// Nothing fails any more. Says whether something did.
    pub(crate) fn never() -> bool {
        LEFT.set(None);
        ENDED.replace(false)
    }

    pub(crate) fn point(path: &Path) -> Result<(), DiskError> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => {
                ENDED.set(true);
                Err(std::io::Error::other("the process has ended")).during("touching", path)
            }
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }
}
