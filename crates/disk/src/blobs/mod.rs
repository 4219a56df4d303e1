//! Files named by their digests.
//!
//! ```text
//! ab/ab12…             a blob: read-only, synced, and its bytes have this digest
//! ab/ab12….manifest    its chunks, if it has more than one
//! ab/ab12….cached      it was only fetched and may go again; used last at this file's time
//! partial/ab12…/       a blob that is being received: data, manifest, and which chunks are here
//! tmp/                 a blob that is being hashed; emptied at the start
//! quarantine/          what was found damaged, kept for a person to look at
//! ```
//!
//! A name appears only over bytes that are synced and whose digest was computed here (I-18); what is served later can be
//! checked chunk by chunk (I-19). The directory itself is the only index: nothing has to be rebuilt after a crash.

mod ingest;

mod partial;

mod copy;

mod cached;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use cached::Cached;
pub use ingest::Hashed;
pub use partial::Partial;

use crate::error::{DiskError, During};
use crate::files;
use blob::{CHUNK, Digest, Manifest, ManifestBuilder};
use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tracing::error;

/// A store of blobs in one directory. Its methods may be called from many threads.
#[derive(Debug)]
pub struct Blobs {
    dir: PathBuf,
    next_tmp: AtomicU64,
    /// Those of blobs whose own names are known to be durable.
    durable_dirs: Mutex<BTreeSet<PathBuf>>,
    /// Whose turn it is to give names and take them away, in each of the directories.
    turns: [Mutex<()>; 256],
}

/// A blob that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// Its name.
    pub digest: Digest,
    /// Its chunks; also tells its size.
    pub manifest: Manifest,
}

/// An open blob. It can be read to its end even if the blob is removed meanwhile.
#[derive(Debug)]
pub struct BlobFile {
    file: File,
    path: PathBuf,
    size: u64,
}

impl BlobFile {
    /// Bytes of the blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to `len` bytes from `offset` on; fewer only at the end. They are not checked: the receiver does.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        let len = self.size.saturating_sub(offset).min(len as u64) as usize;
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, offset)
            .during("reading", &self.path)?;
        Ok(bytes)
    }

    /// The file, for those who can send it without reading it.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Blobs {
    /// Opens the store in `dir`, creating it if there is none. The caller sees to it that only one process does.
    pub fn open(dir: &Path) -> Result<Blobs, DiskError> {
        let blobs = Blobs {
            dir: dir.to_owned(),
            next_tmp: AtomicU64::new(0),
            durable_dirs: Mutex::default(),
            turns: std::array::from_fn(|_| Mutex::default()),
        };
        files::own_dir(dir)?;
        let tmp = blobs.tmp_dir();
        if tmp.exists() {
            fs::remove_dir_all(&tmp).during("emptying", &tmp)?;
        }
        for part in [tmp, blobs.partial_dir(), blobs.quarantine_dir()] {
            files::own_dir(&part)?;
        }
        blobs.sweep()?;
        Ok(blobs)
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.dir.join(&name[..2]).join(name)
    }

    fn manifest_path(&self, digest: &Digest) -> PathBuf {
        files::suffixed(&self.path(digest), "manifest")
    }

    fn tmp_dir(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    fn partial_dir(&self) -> PathBuf {
        self.dir.join("partial")
    }

    fn quarantine_dir(&self) -> PathBuf {
        self.dir.join("quarantine")
    }

    /// A path that nobody else uses until the process ends.
    fn tmp_path(&self) -> PathBuf {
        let number = self.next_tmp.fetch_add(1, Ordering::Relaxed);
        self.tmp_dir().join(number.to_string())
    }

    /// Makes the directory in which a blob's name goes; its own name is durable on return.
    fn make_dir_of(&self, digest: &Digest) -> Result<(), DiskError> {
        let path = self.path(digest);
        let Some(dir) = path.parent() else {
            return Ok(());
        };
        let mut durable = self
            .durable_dirs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !durable.contains(dir) {
            files::own_dir(dir)?;
            durable.insert(dir.to_owned());
        }
        Ok(())
    }

    /// Is the whole blob here?
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Opens a blob; nothing if it is not here.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<BlobFile>, DiskError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.during("opening", &path)?,
        };
        let size = file.metadata().during("asking about", &path)?.len();
        Ok(Some(BlobFile { file, path, size }))
    }

    /// One chunk of a blob; nothing if the blob is not here. Empty past the end. Not checked: the receiver does.
    pub fn read_chunk(&self, digest: &Digest, index: u64) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(blob) = self.open_blob(digest)? else {
            return Ok(None);
        };
        blob.read_at(index.saturating_mul(CHUNK as u64), CHUNK)
            .map(Some)
    }

    /// The chunks of a blob; nothing if it is not here. A manifest that is lost or damaged is made again.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, DiskError> {
        let Some(blob) = self.open_blob(digest)? else {
            return Ok(None);
        };
        if let Some(manifest) = Manifest::of_single_chunk(*digest, blob.size()) {
            return Ok(Some(manifest));
        }
        let stored = fs::read(self.manifest_path(digest)).ok();
        let stored = stored.and_then(|bytes| Manifest::decode(&bytes).ok());
        if let Some(manifest) =
            stored.filter(|m| m.verify(digest).is_ok() && m.size() == blob.size())
        {
            return Ok(Some(manifest));
        }
        let manifest = self.rehash(digest)?;
        if let Some(manifest) = &manifest {
            self.store_manifest(digest, manifest)?;
        }
        Ok(manifest)
    }

    /// Every blob that is here with its size, by digest.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, DiskError> {
        let mut found = Vec::new();
        self.each_file(|file| {
            let name = file.file_name();
            let Some(digest) = name.to_str().and_then(|name| name.parse().ok()) else {
                return Ok(());
            };
            match file.metadata() {
                Ok(meta) => found.push((digest, meta.len())),
                // It was given up a moment ago.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e).during("asking about", &file.path()),
            }
            Ok(())
        })?;
        found.sort_unstable();
        Ok(found)
    }

    /// Looks at every file beside the blobs, and at these.
    fn each_file(
        &self,
        mut look: impl FnMut(&DirEntry) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        for dir in fs::read_dir(&self.dir).during("listing", &self.dir)? {
            let dir = dir.during("listing", &self.dir)?.path();
            if dir.file_name().is_none_or(|name| name.len() != 2) {
                continue;
            }
            for file in fs::read_dir(&dir).during("listing", &dir)? {
                look(&file.during("listing", &dir)?)?;
            }
        }
        Ok(())
    }

    /// Reads a blob and compares its digest. A damaged one is set aside, so that it counts as not here, and is an error.
    pub fn verify(&self, digest: &Digest) -> Result<bool, DiskError> {
        Ok(self.rehash(digest)?.is_some())
    }

    /// Removes a blob, and what was received of it; it may not be here.
    pub fn remove(&self, digest: &Digest) -> Result<(), DiskError> {
        let turn = self.turn(digest);
        files::remove_if_there(&self.path(digest))?;
        self.forget(digest)?;
        drop(turn);
        self.remove_partial(digest)
    }

    fn rehash(&self, digest: &Digest) -> Result<Option<Manifest>, DiskError> {
        let Some(blob) = self.open_blob(digest)? else {
            return Ok(None);
        };
        let (found, manifest) = hash_file(&blob.file, &blob.path)?;
        if found == *digest {
            return Ok(Some(manifest));
        }
        Err(self.quarantine(digest, &format!("its bytes have the digest {found}")))
    }

    /// Sets a damaged blob aside.
    fn quarantine(&self, digest: &Digest, why: &str) -> DiskError {
        let _turn = self.turn(digest);
        let path = self.path(digest);
        let aside = (0u32..)
            .map(|n| self.quarantine_dir().join(format!("{digest}.{n}")))
            .find(|aside| !aside.exists());
        let moved = aside.map_or(Ok(()), |aside| fs::rename(&path, &aside));
        // Without their blob a manifest and a mark mean nothing.
        let _ = self.forget(digest);
        error!(blob = %digest, why, "blob is damaged; set aside");
        match moved.during("setting aside", &path) {
            Ok(()) => DiskError::corrupt(path.display().to_string(), why),
            Err(error) => error,
        }
    }

    fn store_manifest(&self, digest: &Digest, manifest: &Manifest) -> Result<(), DiskError> {
        if manifest.chunk_count() > 1 {
            files::write_whole(&self.manifest_path(digest), &[&manifest.encode()])?;
        }
        Ok(())
    }
}

/// Digest and manifest of a file from its beginning.
fn hash_file(mut file: &File, path: &Path) -> Result<(Digest, Manifest), DiskError> {
    let mut builder = ManifestBuilder::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(builder.finish()),
            Ok(len) => builder.update(&buffer[..len]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e).during("reading", path),
        }
    }
}
