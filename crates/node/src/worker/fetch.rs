//! Bytes from elsewhere: blobs from other nodes, verified as they come, and files from the web.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use blob::{Digest, Manifest, VerifiedChunk};
use disk::blobs::{Blobs, Partial};
use net::{ChunkSink, HttpError, HttpFetcher, HttpLimits, HttpSink, PeerBlobs, PeerError, Wanted};
use pki::Dialer;
use prometheus::IntCounter;
use tokio::runtime::Handle;

use super::cache::BlobCache;
use super::checksum::Checksums;
use super::prepare::{Missing, unwritable};
use crate::Fault;

/// How many chunks arrive between two notes of what is here.
const SAVE_EVERY: u32 = 64;

/// Counts bytes that came from other nodes, and from the web, where somebody counts.
pub(crate) type Fetched = Option<(IntCounter, IntCounter)>;

/// Fetches for one worker. Called from threads that may wait.
pub(crate) struct Fetcher {
    blobs: Arc<Blobs>,
    /// None where what is fetched is kept for good.
    cache: Option<Arc<BlobCache>>,
    peers: PeerBlobs,
    web: HttpFetcher,
    pool: Handle,
    seed: u64,
    fetched: Fetched,
    /// One fetch of a blob at a time; others wait for it and then find the blob.
    busy: Mutex<BTreeMap<Digest, Arc<Mutex<()>>>>,
}

impl Fetcher {
    /// A fetcher into a store, which keeps for good what comes. `seed` should differ between workers.
    pub(crate) fn new(
        blobs: Arc<Blobs>,
        pool: Handle,
        seed: u64,
        dialer: Dialer,
        fetched: Fetched,
    ) -> Result<Self, Fault> {
        let web = HttpFetcher::new(HttpLimits::default())
            .map_err(|error| Fault::new(error.to_string()))?;
        Ok(Self {
            blobs,
            cache: None,
            peers: PeerBlobs::default().by(dialer),
            web,
            pool,
            seed,
            fetched,
            busy: Mutex::default(),
        })
    }

    /// From now on what comes may go again, as the cache of the same store sees fit.
    pub(super) fn caching(self, cache: Arc<BlobCache>) -> Self {
        Self {
            cache: Some(cache),
            ..self
        }
    }

    /// Sees to it that a blob is in the store. Where it may go again, the caller has a lease of it.
    pub(crate) fn ensure(
        &self,
        digest: &Digest,
        size: u64,
        sources: &[String],
    ) -> Result<(), Missing> {
        if self.blobs.has(digest) {
            self.blobs.used(digest);
            return Ok(());
        }
        let turn = lock(&self.busy).entry(*digest).or_default().clone();
        let fetched = {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            if self.blobs.has(digest) {
                Ok(())
            } else {
                self.fetch(*digest, size, sources)
            }
        };
        lock(&self.busy).remove(digest);
        fetched
    }

    fn fetch(&self, digest: Digest, size: u64, sources: &[String]) -> Result<(), Missing> {
        // What an interrupted fetch left is verified again when it is opened, and need not come again.
        let mut sink = BlobSink {
            blobs: self.blobs.clone(),
            partial: None,
            unsaved: 0,
            fetched: self.fetched.as_ref().map(|(node, _)| node.clone()),
        };
        let mut present = None;
        if let Some(manifest) = self.blobs.partial_manifest(&digest) {
            let partial = self.blobs.receive(manifest.clone())?;
            present = Some((manifest, partial.present().clone()));
            sink.partial = Some(partial);
        }
        let wanted = Wanted {
            digest,
            size,
            sources: sources.to_vec(),
            seed: self.seed,
            present,
        };
        self.pool
            .block_on(self.peers.fetch(wanted, &mut sink))
            .map_err(missing_blob)?;
        match (sink.partial, &self.cache) {
            (Some(partial), Some(cache)) => {
                self.blobs.seal_cached(partial)?;
                cache.fetched();
                Ok(())
            }
            (Some(partial), None) => Ok(self.blobs.seal(partial)?),
            (None, _) => Err(Missing::new(
                format!("blob {digest} came without a manifest"),
                true,
            )),
        }
    }

    /// Fetches a file from the web to its place.
    pub(super) fn download(&self, address: &str, to: &Path) -> Result<Checksums, Missing> {
        let file = File::create(to).map_err(|error| unwritable(to, &error))?;
        let fetched = self.fetched.as_ref().map(|(_, web)| web.clone());
        let mut sink = FileSink { file, fetched };
        self.pool
            .block_on(self.web.fetch(address, &mut sink))
            .map_err(missing_file)?;
        // A fetch may have begun again from the first byte, so the sums are made of what lies there in the end.
        let mut file = File::open(to).map_err(|error| unwritable(to, &error))?;
        let mut sums = Checksums::hasher();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file
                .read(&mut buffer)
                .map_err(|error| unwritable(to, &error))?
            {
                0 => return Ok(sums.finish()),
                length => sums.update(&buffer[..length]),
            }
        }
    }
}

fn missing_blob(error: PeerError) -> Missing {
    let full = matches!(&error, PeerError::Sink { source, .. } if source.kind() == io::ErrorKind::StorageFull);
    Missing {
        disk_full: full,
        ..Missing::new(error.to_string(), true)
    }
}

fn missing_file(error: HttpError) -> Missing {
    let full =
        matches!(&error, HttpError::Sink(source) if source.kind() == io::ErrorKind::StorageFull);
    // The fetch has tried again by itself; another attempt would meet the same server.
    Missing {
        disk_full: full,
        ..Missing::new(error.to_string(), false)
    }
}

/// Takes verified chunks into the store.
struct BlobSink {
    blobs: Arc<Blobs>,
    partial: Option<Partial>,
    unsaved: u32,
    fetched: Option<IntCounter>,
}

#[net::async_trait]
impl ChunkSink for BlobSink {
    async fn begin(&mut self, manifest: &Manifest) -> io::Result<()> {
        if self.partial.is_none() {
            self.partial = Some(self.blobs.receive(manifest.clone()).map_err(io_error)?);
        }
        Ok(())
    }

    async fn write(&mut self, chunk: VerifiedChunk<'_>) -> io::Result<()> {
        let Some(partial) = self.partial.as_mut() else {
            return Err(io::Error::other("a chunk came before its manifest"));
        };
        partial.write(&chunk).map_err(io_error)?;
        if let Some(fetched) = &self.fetched {
            fetched.inc_by(chunk.data().len() as u64);
        }
        self.unsaved += 1;
        if self.unsaved >= SAVE_EVERY {
            self.unsaved = 0;
            partial.save().map_err(io_error)?;
        }
        Ok(())
    }
}

fn io_error(error: disk::DiskError) -> io::Error {
    let kind = if error.is_full() {
        io::ErrorKind::StorageFull
    } else {
        io::ErrorKind::Other
    };
    io::Error::new(kind, error)
}

/// Takes bytes of the web into a file.
struct FileSink {
    file: File,
    fetched: Option<IntCounter>,
}

#[net::async_trait]
impl HttpSink for FileSink {
    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        if let Some(fetched) = &self.fetched {
            fetched.inc_by(data.len() as u64);
        }
        self.file.write_all(data)
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()
    }
}

/// Nobody leaves the map half changed, so a panic elsewhere does not matter here.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
