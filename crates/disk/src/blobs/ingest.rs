//! Taking files and streams in.
//!
//! In this order: hash, sync, manifest, name, sync the name's directory. A crash in between leaves no name, or a whole
//! blob. Whoever takes in several files as one whole first calls [`Blobs::hash`] for each, writes down what is to become
//! of them, and then [`Blobs::adopt`]s them: after a crash, a file that is not where it was is the blob written down.
//!
//! What is taken in was made here, so it is kept for good: if the blob is here and was only fetched, it loses its mark before
//! the file leaves its place.

use super::{Blobs, Ingested, hash_file};
use crate::error::{DiskError, During};
use crate::files;
use blob::{CHUNK, Digest, Manifest, ManifestBuilder};
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A file that was hashed and synced where it lies. Nobody may write to it any more.
#[derive(Debug)]
pub struct Hashed {
    path: PathBuf,
    /// Device, inode, size and time of the last change: that it is still the file that was hashed.
    identity: (u64, u64, u64, i64, i64),
    ingested: Ingested,
}

impl Hashed {
    /// What it will be.
    pub fn ingested(&self) -> &Ingested {
        &self.ingested
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn identity(meta: &Metadata) -> (u64, u64, u64, i64, i64) {
    (
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
    )
}

impl Blobs {
    /// Hashes and syncs a file where it lies, as the first half of taking it in.
    pub fn hash(&self, path: &Path) -> Result<Hashed, DiskError> {
        let file = File::open(path).during("opening", path)?;
        let identity = identity(&file.metadata().during("asking about", path)?);
        let (digest, manifest) = hash_file(&file, path)?;
        file.sync_all().during_sync(path)?;
        Ok(Hashed {
            path: path.to_owned(),
            identity,
            ingested: Ingested { digest, manifest },
        })
    }

    /// Moves hashed files to their names; durable on return. Where a file lies on another file system it is copied and
    /// removed. After an error some may have moved: they are whole blobs, and the others are where they were.
    pub fn adopt(&self, hashed: Vec<Hashed>) -> Result<Vec<Ingested>, DiskError> {
        let mut dirs = BTreeSet::new();
        for file in &hashed {
            dirs.extend(self.adopt_one(file)?);
        }
        dirs.iter().try_for_each(|dir| files::sync_dir(dir))?;
        Ok(hashed.into_iter().map(|file| file.ingested).collect())
    }

    /// Hashes and adopts one file.
    pub fn ingest_move(&self, path: &Path) -> Result<Ingested, DiskError> {
        let mut one = self.ingest_many(&[path])?;
        one.pop()
            .ok_or_else(|| DiskError::Misuse("nothing was taken in".into()))
    }

    /// Hashes and adopts several files; gives them in the same order.
    pub fn ingest_many(&self, paths: &[impl AsRef<Path>]) -> Result<Vec<Ingested>, DiskError> {
        let hashed = paths
            .iter()
            .map(|path| self.hash(path.as_ref()))
            .collect::<Result<_, _>>()?;
        self.adopt(hashed)
    }

    /// Gives the directory that is to be synced.
    fn adopt_one(&self, file: &Hashed) -> Result<Option<PathBuf>, DiskError> {
        let Hashed {
            path,
            ingested: Ingested { digest, manifest },
            ..
        } = file;
        let meta = fs::symlink_metadata(path).during("asking about", path)?;
        if identity(&meta) != file.identity {
            let why = format!("{} was changed after it was hashed", path.display());
            return Err(DiskError::Misuse(why));
        }
        match self.give_name(path, digest, manifest) {
            Err(DiskError::Io { source, .. }) if source.kind() == ErrorKind::CrossesDevices => {
                let from = File::open(path).during("opening", path)?;
                let (at, copied) = self.copy_to_tmp(from)?;
                if copied.digest != *digest {
                    files::remove_if_there(&at)?;
                    let why = format!("{} was changed after it was hashed", path.display());
                    return Err(DiskError::Misuse(why));
                }
                let dir = self.give_name(&at, digest, manifest)?;
                files::remove_if_there(path)?;
                Ok(dir)
            }
            other => other,
        }
    }

    /// Takes in what a reader gives.
    pub fn ingest_copy(&self, reader: impl Read) -> Result<Ingested, DiskError> {
        let (at, ingested) = self.copy_to_tmp(reader)?;
        let dir = self.give_name(&at, &ingested.digest, &ingested.manifest)?;
        dir.iter().try_for_each(|dir| files::sync_dir(dir))?;
        Ok(ingested)
    }

    /// Copies to a path of ours, synced.
    fn copy_to_tmp(&self, reader: impl Read) -> Result<(PathBuf, Ingested), DiskError> {
        let at = self.tmp_path();
        let copied = copy_hashed(reader, &at).inspect_err(|_| {
            // Room for others; the error that matters is the one at hand.
            let _ = fs::remove_file(&at);
        });
        copied.map(|ingested| (at, ingested))
    }

    /// Renames the file at `at`, which is synced and has this digest. Gives the directory that is to be synced.
    fn give_name(
        &self,
        at: &Path,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<Option<PathBuf>, DiskError> {
        let _turn = self.turn(digest);
        self.unmark(digest)?;
        // If the blob is here it may have come a moment ago, by a thread that has not synced the directory yet.
        if self.has(digest) {
            self.make_dir_of(digest)?;
            files::remove_if_there(at)?;
        } else {
            self.finish_name(at, digest, manifest)?;
        }
        Ok(self.path(digest).parent().map(Path::to_owned))
    }

    /// Manifest, mode, name. The file at `at` is synced and has this digest; the caller has the turn.
    pub(super) fn finish_name(
        &self,
        at: &Path,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<(), DiskError> {
        let path = self.path(digest);
        self.make_dir_of(digest)?;
        self.store_manifest(digest, manifest)?;
        fs::set_permissions(at, Permissions::from_mode(0o444)).during("making read-only", at)?;
        fs::rename(at, &path).during("renaming to", &path)
    }
}

/// Copies what `reader` gives to a new file at `at`, synced, hashing on the way.
fn copy_hashed(mut reader: impl Read, at: &Path) -> Result<Ingested, DiskError> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(at)
        .during("creating", at)?;
    let mut builder = ManifestBuilder::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                builder.update(&buffer[..len]);
                file.write_all(&buffer[..len]).during("writing", at)?;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e).during("reading what is copied to", at),
        }
    }
    file.sync_all().during_sync(at)?;
    let (digest, manifest) = builder.finish();
    Ok(Ingested { digest, manifest })
}
