//! What can go wrong with a disk, by what the caller has to do about it.

use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// An error of a disk.
#[derive(Debug, Error)]
pub enum DiskError {
    /// There is no room. Nothing that was acknowledged is touched; try again when there is.
    #[error("disk full while {doing} {path}", path = path.display())]
    Full {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The disk did not confirm that it has the bytes, and will not say so truthfully if asked again. **End the process.**
    #[error("the disk failed to sync {path}; what is on it is unknown now", path = path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is on the disk is not what was written. It is not served.
    #[error("state lost or corrupt at {place}: {why}")]
    Corrupt {
        /// The file, and the place in it.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// Another process has the files open.
    #[error("{path} is in use by another process", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The caller asked for what cannot be, such as records out of order.
    #[error("{0}")]
    Misuse(String),
    /// Any other failure of the file system.
    #[error("{doing} {path} failed", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DiskError {
    /// The process must end: what is on the disk is not known.
    pub fn is_fatal(&self) -> bool {
        matches!(self, DiskError::Sync { .. })
    }

    /// It may work again once there is room.
    pub fn is_full(&self) -> bool {
        matches!(self, DiskError::Full { .. })
    }

    /// Damage at a place.
    pub(crate) fn corrupt(place: impl Into<String>, why: impl Into<String>) -> DiskError {
        DiskError::Corrupt {
            place: place.into(),
            why: why.into(),
        }
    }
}

/// Says what was being done to which file when an [`io::Error`] came.
pub(crate) trait During<T> {
    /// Anything but a sync.
    fn during(self, doing: &'static str, path: &Path) -> Result<T, DiskError>;
    /// A sync, whose failure is fatal.
    fn during_sync(self, path: &Path) -> Result<T, DiskError>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| {
            let path = path.to_owned();
            if is_full(&source) {
                DiskError::Full { doing, path }
            } else {
                DiskError::Io {
                    doing,
                    path,
                    source,
                }
            }
        })
    }

    fn during_sync(self, path: &Path) -> Result<T, DiskError> {
        // Full or not: after a failed sync the kernel forgets which pages were not written.
        self.map_err(|source| DiskError::Sync {
            path: path.to_owned(),
            source,
        })
    }
}

/// No space, or no quota left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_what_to_do() {
        let errno = |e: rustix::io::Errno| io::Error::from(e);
        let path = Path::new("/x");
        let during = |e| Err::<(), _>(errno(e)).during("writing", path);
        assert!(during(rustix::io::Errno::NOSPC).is_err_and(|e| e.is_full() && !e.is_fatal()));
        assert!(during(rustix::io::Errno::DQUOT).is_err_and(|e| e.is_full()));
        assert!(during(rustix::io::Errno::IO).is_err_and(|e| !e.is_full() && !e.is_fatal()));
        let sync = Err::<(), _>(errno(rustix::io::Errno::NOSPC)).during_sync(path);
        assert!(sync.is_err_and(|e| e.is_fatal()));
        let shown = DiskError::corrupt("/x, entry 7", "checksum").to_string();
        assert_eq!(shown, "state lost or corrupt at /x, entry 7: checksum");
    }
}
