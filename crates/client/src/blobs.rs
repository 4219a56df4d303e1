//! Bytes: storing them, and fetching them verified.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use contract::api;
use contract::api::blob_service_client::BlobServiceClient;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::backoff::Backoff;
use crate::dial::Ways;
use crate::{Client, Error, Kind};

/// How many bytes travel in a message.
const PART: usize = 1 << 20;

/// Most messages of an upload that wait to be sent.
const QUEUE: usize = 2;

/// Where the bytes of an upload are.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which must not change meanwhile.
    File(PathBuf),
}

/// Is told how many bytes of an upload were handed over; begins anew when the upload does.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

impl Client {
    /// Stores bytes with the cluster and gives their BLAKE3 digest and size. Bytes that are there already do not travel.
    ///
    /// # Errors
    /// `LIMIT_EXCEEDED`, `DISK_FULL`; kind [`Kind::Local`] when the file cannot be read.
    pub async fn upload_blob(&self, source: &BlobSource) -> Result<([u8; 32], u64), Error> {
        self.upload_blob_telling(source, Arc::new(|_| {})).await
    }

    /// The same; `progress` is told how far it is.
    ///
    /// # Errors
    /// As for [`Client::upload_blob`].
    pub async fn upload_blob_telling(
        &self,
        source: &BlobSource,
        progress: Progress,
    ) -> Result<([u8; 32], u64), Error> {
        let (digest, size) = digest_of(source).await?;
        let name = Bytes::copy_from_slice(&digest);
        let missing = self
            .call(|channel| {
                let request = api::FindMissingBlobsRequest {
                    digests: vec![name.clone()],
                };
                async move {
                    BlobServiceClient::new(channel)
                        .find_missing_blobs(request)
                        .await
                }
            })
            .await?;
        if !missing.missing_digests.is_empty() {
            self.long_call(|channel| {
                let (source, name, progress) = (source.clone(), name.clone(), progress.clone());
                async move {
                    let parts = parts(source, name, size, progress);
                    BlobServiceClient::new(channel)
                        .write_blob(Request::new(parts))
                        .await
                }
            })
            .await?;
        }
        Ok((digest, size))
    }

    /// Fetches the bytes of a datum into `into`, from the start of it on, and verifies them. Each of its locations is tried,
    /// and a location that is lost on the way is followed by another from the same byte on; the datum is asked for again
    /// when all are lost. `progress` is told how many bytes are there.
    ///
    /// # Errors
    /// Kind [`Kind::DataLoss`] when no location has the right bytes; [`Kind::Unavailable`] when none can be reached for as long
    /// as the client is patient; [`Kind::Local`] when `into` fails.
    pub async fn download<W>(
        &self,
        datum: &api::Datum,
        into: &mut W,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Error>
    where
        W: AsyncWrite + AsyncSeek + Unpin + Send,
    {
        let mut download = Download {
            ways: self.connection.ways.clone(),
            silence: self.options.silence,
            digest: datum.digest.clone(),
            size: u64::try_from(datum.size_bytes).unwrap_or_default(),
            hasher: blake3::Hasher::new(),
            into,
            progress,
        };
        let mut locations = datum.locations.clone();
        let mut liars = BTreeSet::new();
        let mut heard = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let mut failure = lost(datum);
            for location in &locations {
                if liars.contains(location) {
                    continue;
                }
                let before = download.received();
                match download.from(location).await {
                    Ok(()) => return Ok(()),
                    Err(error) if error.kind == Kind::Local => return Err(error),
                    Err(error) => {
                        if error.kind == Kind::DataLoss {
                            liars.insert(location.clone());
                        }
                        if download.received() > before {
                            heard = Instant::now();
                            backoff.reset();
                        }
                        failure = error;
                    }
                }
            }
            let all_lie =
                !locations.is_empty() && locations.iter().all(|location| liars.contains(location));
            if all_lie || heard.elapsed() > self.options.patience {
                return Err(failure);
            }
            sleep(backoff.wait(None)).await;
            let request = api::GetDatumRequest {
                name: datum.name.clone(),
                ..api::GetDatumRequest::default()
            };
            locations = self
                .get_datum(request)
                .await?
                .datum
                .unwrap_or_default()
                .locations;
        }
    }
}

fn lost(datum: &api::Datum) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("no node that has {} is in contact", datum.file_name),
    )
    .with_hint("bring back a worker that has it, or run the execution again that made it")
}

/// A download under way.
struct Download<'a, W> {
    ways: Ways,
    silence: std::time::Duration,
    digest: Bytes,
    size: u64,
    /// Has taken exactly the bytes that were written.
    hasher: blake3::Hasher,
    into: &'a mut W,
    progress: &'a mut (dyn FnMut(u64) + Send),
}

impl<W: AsyncWrite + AsyncSeek + Unpin + Send> Download<'_, W> {
    fn received(&self) -> u64 {
        self.hasher.count()
    }

    /// Fetches what is missing from one location.
    async fn from(&mut self, location: &str) -> Result<(), Error> {
        if self.received() < self.size {
            let mut client = BlobServiceClient::new(self.ways.connect_for_blobs(location).await?);
            let read_offset = i64::try_from(self.received()).unwrap_or(i64::MAX);
            let request = api::ReadBlobRequest {
                digest: self.digest.clone(),
                read_offset,
                read_limit: 0,
            };
            let mut parts = client.read_blob(request).await?.into_inner();
            while let Some(part) = timeout(self.silence, parts.message())
                .await
                .map_err(|_| Error::new(Kind::Unavailable, format!("{location} fell silent")))??
            {
                self.hasher.update(&part.data);
                self.into.write_all(&part.data).await?;
                (self.progress)(self.hasher.count());
            }
        }
        if self.received() < self.size {
            return Err(Error::new(
                Kind::Unavailable,
                format!("{location} stopped early"),
            ));
        }
        if self.hasher.finalize().as_bytes()[..] != self.digest[..] {
            // Nobody can tell which of the bytes are wrong: the next location starts over.
            self.hasher.reset();
            self.into.rewind().await?;
            (self.progress)(0);
            return Err(Error::new(
                Kind::DataLoss,
                format!("{location} has other bytes than it says"),
            )
            .with_hint("run the execution again that made it"));
        }
        self.into.flush().await?;
        Ok(())
    }
}

async fn digest_of(source: &BlobSource) -> Result<([u8; 32], u64), Error> {
    let mut hasher = blake3::Hasher::new();
    match source {
        BlobSource::Bytes(bytes) => {
            hasher.update(bytes);
        }
        BlobSource::File(path) => {
            let mut file = open(path).await?;
            let mut part = vec![0; PART];
            loop {
                let length = file.read(&mut part).await?;
                if length == 0 {
                    break;
                }
                hasher.update(&part[..length]);
            }
        }
    }
    Ok((*hasher.finalize().as_bytes(), hasher.count()))
}

async fn open(path: &PathBuf) -> Result<File, Error> {
    File::open(path)
        .await
        .map_err(|error| Error::new(Kind::Local, format!("{}: {error}", path.display())))
}

/// The messages of an upload. When the file cannot be read they end early, and the server refuses what is not whole.
fn parts(
    source: BlobSource,
    digest: Bytes,
    size: u64,
    progress: Progress,
) -> ReceiverStream<api::WriteBlobRequest> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut parts = Parts {
        sender,
        handed_over: 0,
        progress,
    };
    tokio::spawn(async move {
        let size_bytes = i64::try_from(size).unwrap_or(i64::MAX);
        let first = api::WriteBlobRequest {
            digest,
            size_bytes,
            data: Bytes::new(),
        };
        if parts.sender.send(first).await.is_err() {
            return;
        }
        let sent = match source {
            BlobSource::Bytes(bytes) => parts.send_bytes(bytes).await,
            BlobSource::File(path) => parts.send_file(&path).await,
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "an upload ends early");
        }
    });
    ReceiverStream::new(receiver)
}

/// The parts of an upload on their way.
struct Parts {
    sender: mpsc::Sender<api::WriteBlobRequest>,
    handed_over: u64,
    progress: Progress,
}

impl Parts {
    /// Sends one part; says whether anybody still takes them.
    async fn send(&mut self, data: Bytes) -> bool {
        self.handed_over += data.len() as u64;
        let part = api::WriteBlobRequest {
            data,
            ..api::WriteBlobRequest::default()
        };
        let taken = self.sender.send(part).await.is_ok();
        (self.progress)(self.handed_over);
        taken
    }

    async fn send_bytes(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let part = bytes.split_to(PART.min(bytes.len()));
            if !self.send(part).await {
                break;
            }
        }
        Ok(())
    }

    async fn send_file(&mut self, path: &PathBuf) -> Result<(), Error> {
        let mut file = open(path).await?;
        loop {
            let mut part = bytes::BytesMut::with_capacity(PART);
            while part.len() < PART && file.read_buf(&mut part).await? > 0 {}
            if part.is_empty() || !self.send(part.freeze()).await {
                return Ok(());
            }
        }
    }
}
