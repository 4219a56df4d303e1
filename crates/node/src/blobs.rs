//! The blob store of a node as its server reads and writes it.

use std::sync::Arc;

use blob::{Digest, Manifest};
use bytes::Bytes;
use contract::api::ErrorReason;
use coordinator::Refusal;
use disk::DiskError;
use disk::blobs::Blobs;
use net::ports::Upload;
use prometheus::IntCounter;
use tokio::task::spawn_blocking;

/// The largest source tree that a coordinator stores, in bytes.
const MAX_SOURCE: u64 = 1 << 30;

/// Serves a store. Workers take no uploads: what they hold, they made or fetched.
pub(crate) struct BlobHost {
    blobs: Arc<Blobs>,
    takes_uploads: bool,
    /// Counts bytes that others read, where somebody counts.
    sent: Option<IntCounter>,
}

impl BlobHost {
    /// A store that can be read and written.
    pub(crate) fn of_coordinator(blobs: Arc<Blobs>) -> Self {
        Self {
            blobs,
            takes_uploads: true,
            sent: None,
        }
    }

    /// A store that can be read.
    pub(crate) fn of_worker(blobs: Arc<Blobs>, sent: IntCounter) -> Self {
        Self {
            blobs,
            takes_uploads: false,
            sent: Some(sent),
        }
    }

    /// Does something that waits for the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Blobs) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let blobs = self.blobs.clone();
        match spawn_blocking(move || work(&blobs)).await {
            Ok(result) => result.map_err(|error| refusal(&error)),
            Err(error) => Err(Refusal::new(ErrorReason::InternalFault, error.to_string())),
        }
    }
}

/// What a caller is told of a disk's failure.
fn refusal(error: &DiskError) -> Refusal {
    let reason = match error {
        DiskError::Full { .. } => ErrorReason::DiskFull,
        DiskError::Corrupt { .. } => ErrorReason::BlobLost,
        _ => ErrorReason::InternalFault,
    };
    Refusal::new(reason, error.to_string())
}

#[net::async_trait]
impl net::ports::Blobs for BlobHost {
    async fn size(&self, digest: Digest) -> Result<Option<u64>, Refusal> {
        self.on_disk(move |blobs| Ok(blobs.open_blob(&digest)?.map(|blob| blob.size())))
            .await
    }

    async fn manifest(&self, digest: Digest) -> Result<Option<Manifest>, Refusal> {
        self.on_disk(move |blobs| blobs.manifest(&digest)).await
    }

    async fn read(&self, digest: Digest, offset: u64, length: usize) -> Result<Bytes, Refusal> {
        let read = self.on_disk(move |blobs| match blobs.open_blob(&digest)? {
            Some(blob) => Ok(Some(blob.read_at(offset, length)?)),
            None => Ok(None),
        });
        match read.await? {
            Some(bytes) => {
                if let Some(sent) = &self.sent {
                    sent.inc_by(bytes.len() as u64);
                }
                Ok(bytes.into())
            }
            None => Err(Refusal::not_found(&format!("blob {digest}"))),
        }
    }

    async fn begin(&self, digest: Digest, size: u64) -> Result<Box<dyn Upload>, Refusal> {
        if !self.takes_uploads {
            return Err(Refusal::new(
                ErrorReason::StateForbids,
                "workers take no uploads; send source trees to a coordinator",
            ));
        }
        if size > MAX_SOURCE {
            return Err(Refusal::new(
                ErrorReason::LimitExceeded,
                format!(
                    "a source tree of {size} bytes is too large; at most {MAX_SOURCE} are taken. Large files belong into inputs"
                ),
            ));
        }
        // Beside where it is to stay: not every machine has room, or a place at all, for temporary files elsewhere.
        let beside = self.blobs.dir().to_owned();
        let file = spawn_blocking(move || tempfile::tempfile_in(beside))
            .await
            .map_err(|error| Refusal::new(ErrorReason::InternalFault, error.to_string()))?
            .map_err(|error| Refusal::new(ErrorReason::InternalFault, error.to_string()))?;
        Ok(Box::new(Incoming {
            blobs: self.blobs.clone(),
            digest,
            size,
            file: Some(file),
            received: 0,
        }))
    }
}

/// A blob on its way in: gathered in a nameless file, then taken in as a whole.
struct Incoming {
    blobs: Arc<Blobs>,
    digest: Digest,
    size: u64,
    file: Option<std::fs::File>,
    received: u64,
}

#[net::async_trait]
impl Upload for Incoming {
    async fn write(&mut self, data: Bytes) -> Result<(), Refusal> {
        use std::io::Write as _;
        self.received += data.len() as u64;
        if self.received > self.size {
            return Err(mismatch(&format!(
                "more than the {} bytes that were said came",
                self.size
            )));
        }
        let Some(mut file) = self.file.take() else {
            return Err(Refusal::new(
                ErrorReason::InternalFault,
                "an earlier part could not be written",
            ));
        };
        let written = spawn_blocking(move || file.write_all(&data).map(|()| file)).await;
        match written {
            Ok(Ok(file)) => {
                self.file = Some(file);
                Ok(())
            }
            Ok(Err(error)) => {
                let full = error.kind() == std::io::ErrorKind::StorageFull;
                let reason = if full {
                    ErrorReason::DiskFull
                } else {
                    ErrorReason::InternalFault
                };
                Err(Refusal::new(reason, error.to_string()))
            }
            Err(error) => Err(Refusal::new(ErrorReason::InternalFault, error.to_string())),
        }
    }

    async fn commit(self: Box<Self>) -> Result<(), Refusal> {
        use std::io::Seek as _;
        let Self {
            blobs,
            digest,
            size,
            file,
            received,
        } = *self;
        if received != size {
            return Err(mismatch(&format!("{received} of {size} bytes came")));
        }
        let Some(mut file) = file else {
            return Err(Refusal::new(
                ErrorReason::InternalFault,
                "a part could not be written",
            ));
        };
        let taken = spawn_blocking(move || {
            let internal =
                |error: std::io::Error| Refusal::new(ErrorReason::InternalFault, error.to_string());
            file.rewind().map_err(internal)?;
            let ingested = blobs.ingest_copy(file).map_err(|error| refusal(&error))?;
            if ingested.digest == digest {
                return Ok(());
            }
            // What came is a sound blob under its own name, but nobody asked for it.
            blobs
                .remove(&ingested.digest)
                .map_err(|error| refusal(&error))?;
            Err(mismatch(&format!(
                "the bytes have the digest {}, not {digest}",
                ingested.digest
            )))
        });
        taken
            .await
            .map_err(|error| Refusal::new(ErrorReason::InternalFault, error.to_string()))?
    }
}

fn mismatch(what: &str) -> Refusal {
    Refusal::new(ErrorReason::DigestMismatch, what)
}
