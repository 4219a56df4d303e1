//! Blobs that were only fetched: they may go when the room is wanted, because they can be fetched again.
//!
//! Such a blob has a mark beside it, an empty file whose time is that of the last use. A blob without one is kept for good:
//! somebody relies on its being here. So the mark is durable before the blob's name appears, and the name is gone for good
//! before the mark goes; whatever a power cut leaves, an unmarked blob is never one that was only fetched, and a blob that was
//! told to be kept is never marked. A mark without its blob means nothing, and goes at the next start.
//!
//! Whatever gives a blob its name, or takes it away, does so under the lock of its directory: who gives a blob up and who
//! begins to rely on it come one after the other.

use super::Blobs;
use crate::error::{DiskError, During};
use crate::files;
use blob::Digest;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;
use tracing::debug;

/// What is added to a blob's name for its mark.
const MARK: &str = "cached";

/// A blob that was only fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Its name.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// When it was fetched or last used, by the machine's clock.
    pub used: SystemTime,
}

impl Blobs {
    /// Keeps a blob for good from now on, durable on return; whether it is here whole. If it is not, nothing has changed.
    ///
    /// # Errors
    /// When the disk fails. Then it may be kept or not.
    pub fn keep(&self, digest: &Digest) -> Result<bool, DiskError> {
        let _turn = self.turn(digest);
        if !self.has(digest) {
            return Ok(false);
        }
        files::remove_if_there(&self.mark(digest))?;
        // Also where there was no mark: whoever took it away may have been killed before that was durable.
        files::sync_parent(&self.path(digest))?;
        Ok(true)
    }

    /// Removes a blob if it was only fetched; whether it did. It is gone for good on return. Those who have it open read on.
    ///
    /// # Errors
    /// When the disk fails. Then the blob may be gone or not, and is marked still if it is not.
    pub fn give_up(&self, digest: &Digest) -> Result<bool, DiskError> {
        let _turn = self.turn(digest);
        if !self.is_cached(digest) {
            return Ok(false);
        }
        let path = self.path(digest);
        fs::remove_file(&path).during("removing", &path)?;
        files::sync_parent(&path)?;
        self.forget(digest)?;
        Ok(true)
    }

    /// Is the whole blob here, and was it only fetched?
    pub fn is_cached(&self, digest: &Digest) -> bool {
        self.has(digest) && self.mark(digest).is_file()
    }

    /// Every blob that was only fetched, the longest unused first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn cached(&self) -> Result<Vec<Cached>, DiskError> {
        let mut found = Vec::new();
        self.each_mark(|digest, mark| {
            // Either may go meanwhile, and both do when a blob is given up.
            let looked = fs::metadata(self.path(&digest)).and_then(|blob| {
                let used = fs::metadata(mark)?.modified()?;
                Ok((blob.len(), used))
            });
            match looked {
                Ok((size, used)) => found.push(Cached { digest, size, used }),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e).during("asking about", mark),
            }
            Ok(())
        })?;
        found.sort_unstable_by_key(|blob| (blob.used, blob.digest));
        Ok(found)
    }

    /// Notes that a blob is used now, if it was only fetched. Not synced: what is lost decides no more than which of two goes first.
    pub fn used(&self, digest: &Digest) {
        let mark = self.mark(digest);
        let noted = File::options()
            .write(true)
            .open(&mark)
            .and_then(|file| file.set_modified(SystemTime::now()));
        match noted {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                debug!("{}: its time cannot be set: {e}", mark.display());
            }
            _ => {}
        }
    }

    /// Waits until nobody else gives names in the blob's directory, or takes them away.
    pub(super) fn turn(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        let of_dir = &self.turns[usize::from(digest.as_bytes()[0])];
        of_dir.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a blob that is not here yet; durable on return. The caller has the turn.
    pub(super) fn set_mark(&self, digest: &Digest) -> Result<(), DiskError> {
        let mark = self.mark(digest);
        let file = File::create(&mark).during("creating", &mark)?;
        // The kernel sets its time, too, but in coarser steps.
        let _ = file.set_modified(SystemTime::now());
        file.sync_all().during_sync(&mark)?;
        files::sync_parent(&mark)
    }

    /// Takes the mark away, if there is one; durable on return. The caller has the turn.
    pub(super) fn unmark(&self, digest: &Digest) -> Result<(), DiskError> {
        let mark = self.mark(digest);
        match fs::remove_file(&mark) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e).during("removing", &mark),
            Ok(()) => files::sync_parent(&mark),
        }
    }

    /// Takes away what stood beside a blob that is gone. The mark goes last: it leads to the rest at the next start.
    pub(super) fn forget(&self, digest: &Digest) -> Result<(), DiskError> {
        files::remove_if_there(&self.manifest_path(digest))?;
        files::remove_if_there(&self.mark(digest))
    }

    /// Takes away what a crash has left of blobs that were only fetched. For the start, when nobody else is here.
    pub(super) fn sweep(&self) -> Result<(), DiskError> {
        self.each_mark(|digest, _| match self.has(&digest) {
            true => Ok(()),
            false => self.forget(&digest),
        })
    }

    fn mark(&self, digest: &Digest) -> PathBuf {
        files::suffixed(&self.path(digest), MARK)
    }

    fn each_mark(
        &self,
        mut tell: impl FnMut(Digest, &Path) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        self.each_file(|file| {
            let name = file.file_name();
            let of = name
                .to_str()
                .and_then(|name| name.strip_suffix(MARK)?.strip_suffix('.'));
            match of.and_then(|of| of.parse().ok()) {
                Some(digest) => tell(digest, &file.path()),
                None => Ok(()),
            }
        })
    }
}
