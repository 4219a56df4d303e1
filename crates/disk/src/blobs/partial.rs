//! A blob on its way here, chunk by chunk, in any order; goes on after a crash.
//!
//! Only a [`VerifiedChunk`] can be written, and only a full set of them sealed. The set on the disk is a hint: after a
//! restart the chunks in it are read and verified again, because they may have been named there before their bytes were.

use super::Blobs;
use crate::error::{DiskError, During};
use crate::files;
use blob::{ChunkSet, Digest, Manifest, VerifiedChunk};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// A blob that is being received. `present ⊆ written`, and every chunk in it was verified.
#[derive(Debug)]
pub struct Partial {
    manifest: Manifest,
    present: ChunkSet,
    pub(super) dir: PathBuf,
    file: File,
}

impl Blobs {
    /// Begins to receive the blob of a verified `manifest`, or goes on with it. One at a time for each blob.
    pub fn receive(&self, manifest: Manifest) -> Result<Partial, DiskError> {
        let dir = self.partial_dir().join(manifest.digest().to_string());
        files::create_dir(&dir)?;
        files::write_whole(&dir.join("manifest"), &[&manifest.encode()])?;
        let path = dir.join("data");
        let mut options = File::options();
        let file = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let file = file.during("opening", &path)?;
        file.set_len(manifest.size()).during("sizing", &path)?;
        let present = ChunkSet::empty(manifest.chunk_count());
        let mut partial = Partial {
            manifest,
            present,
            dir,
            file,
        };
        partial.verify_hinted()?;
        Ok(partial)
    }

    /// The manifest of a blob that was being received, by which to go on; nothing if there is none that is sound.
    pub fn partial_manifest(&self, digest: &Digest) -> Option<Manifest> {
        let path = self.partial_dir().join(digest.to_string()).join("manifest");
        let manifest = Manifest::decode(&fs::read(path).ok()?).ok()?;
        manifest.verify(digest).is_ok().then_some(manifest)
    }

    /// Blobs that were being received.
    pub fn partials(&self) -> Result<Vec<Digest>, DiskError> {
        let dir = self.partial_dir();
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).during("listing", &dir)? {
            let name = entry.during("listing", &dir)?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<Digest>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Forgets what was received of a blob.
    pub fn remove_partial(&self, digest: &Digest) -> Result<(), DiskError> {
        let dir = self.partial_dir().join(digest.to_string());
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => other.during("removing", &dir),
        }
    }

    /// Gives a received blob its name and keeps it for good; durable on return. Every chunk must be there, otherwise it is
    /// [`Misuse`](DiskError::Misuse) and the partial stays on the disk.
    pub fn seal(&self, partial: Partial) -> Result<(), DiskError> {
        self.seal_as(&partial, false)
    }

    /// As [`seal`](Blobs::seal), of a blob that may be [given up](Blobs::give_up) again until somebody relies on it. One that is here
    /// by now, because it was made here meanwhile, stays what it is.
    pub fn seal_cached(&self, partial: Partial) -> Result<(), DiskError> {
        self.seal_as(&partial, true)
    }

    fn seal_as(&self, partial: &Partial, cached: bool) -> Result<(), DiskError> {
        let digest = partial.digest();
        if !partial.present.is_full() {
            let (len, count) = (partial.present.len(), partial.present.count());
            let why =
                format!("I-19: blob {digest} has {len} of {count} chunks, it cannot be sealed");
            return Err(DiskError::Misuse(why));
        }
        let data = partial.dir.join("data");
        partial.file.sync_all().during_sync(&data)?;
        let turn = self.turn(&digest);
        if !(cached && self.has(&digest)) {
            self.make_dir_of(&digest)?;
            match cached {
                true => self.set_mark(&digest)?,
                false => self.unmark(&digest)?,
            }
            self.finish_name(&data, &digest, &partial.manifest)?;
        }
        files::sync_parent(&self.path(&digest))?;
        drop(turn);
        self.remove_partial(&digest)
    }
}

impl Partial {
    /// The blob.
    pub fn digest(&self) -> Digest {
        self.manifest.digest()
    }

    /// Its chunks.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Chunks that are here and verified.
    pub fn present(&self) -> &ChunkSet {
        &self.present
    }

    /// Writes a chunk at its place. It survives the end of the process, and a power cut after [`save`](Partial::save).
    pub fn write(&mut self, chunk: &VerifiedChunk<'_>) -> Result<(), DiskError> {
        if chunk.blob() != self.digest() {
            let why = format!(
                "a chunk of blob {} is no part of blob {}",
                chunk.blob(),
                self.digest()
            );
            return Err(DiskError::Misuse(why));
        }
        let path = self.dir.join("data");
        self.file
            .write_all_at(chunk.data(), chunk.offset())
            .during("writing", &path)?;
        self.present.insert(chunk.index());
        Ok(())
    }

    /// Remembers which chunks are here, so that they need not come again after a restart; cheap, and not synced.
    pub fn save(&self) -> Result<(), DiskError> {
        let path = self.dir.join("present");
        fs::write(&path, self.present.encode()).during("writing", &path)
    }

    /// A chunk that is here, for others that want it; nothing if it is not.
    pub fn read_chunk(&self, index: u64) -> Result<Option<Vec<u8>>, DiskError> {
        if !self.present.contains(index) {
            return Ok(None);
        }
        self.read_raw(index).map(Some)
    }

    fn read_raw(&self, index: u64) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; self.manifest.chunk_len(index)];
        let offset = index * blob::CHUNK as u64;
        self.file
            .read_exact_at(&mut bytes, offset)
            .during("reading", &self.dir.join("data"))?;
        Ok(bytes)
    }

    fn verify_hinted(&mut self) -> Result<(), DiskError> {
        let Ok(hint) = fs::read(self.dir.join("present")) else {
            return Ok(());
        };
        let Ok(hint) = ChunkSet::decode(self.manifest.chunk_count(), &hint) else {
            return Ok(());
        };
        for index in hint.iter() {
            let bytes = self.read_raw(index)?;
            if self.manifest.verify_chunk(index, &bytes).is_ok() {
                self.present.insert(index);
            }
        }
        Ok(())
    }
}
