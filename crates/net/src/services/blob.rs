//! `BlobService`, of workers and coordinators alike.

use std::sync::Arc;

use blob::Digest;
use bytes::Bytes;
use contract::api::blob_service_server::BlobService;
use contract::api::{self, ErrorReason};
use coordinator::Refusal;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::context::{checked, unsigned};
use crate::convert::int64;
use crate::ports::{Blobs, Upload};
use crate::required;
use crate::status::status;
use crate::stream::{self, Answers};

/// Bytes in one message of a download.
const PART: usize = 1 << 20;

/// Messages of a download that are read ahead.
const QUEUE: usize = 2;

/// Most digests in one question about missing blobs.
const MAX_DIGESTS: usize = 10_000;

pub(crate) struct BlobEnd {
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) stopping: CancellationToken,
}

#[async_trait]
impl BlobService for BlobEnd {
    type ReadBlobStream = Answers<api::ReadBlobResponse>;

    async fn read_blob(
        &self,
        request: Request<api::ReadBlobRequest>,
    ) -> Result<Response<Self::ReadBlobStream>, Status> {
        let request = checked(request)?;
        let digest = digest("digest", &request.digest).map_err(status)?;
        let offset = unsigned("read_offset", request.read_offset).map_err(status)?;
        let limit = unsigned("read_limit", request.read_limit).map_err(status)?;
        let size = self.size(digest).await.map_err(status)?;
        if offset > size {
            let message = format!("the blob has {size} bytes, there is none at {offset}");
            let refusal =
                Refusal::new(ErrorReason::PastEnd, message).with("size_bytes", size.to_string());
            return Err(status(refusal));
        }
        let end = if limit == 0 {
            size
        } else {
            offset.saturating_add(limit).min(size)
        };
        let (blobs, stopping) = (self.blobs.clone(), self.stopping.clone());
        Ok(Response::new(stream::fill(QUEUE, move |out| async move {
            let mut at = offset;
            while at < end {
                let length = usize::try_from(end - at).unwrap_or(PART).min(PART);
                let data = blobs.read(digest, at, length).await?;
                if data.is_empty() {
                    return Err(Refusal::new(
                        ErrorReason::InternalFault,
                        format!("blob {digest} ends at byte {at} of {size}"),
                    ));
                }
                at += data.len() as u64;
                tokio::select! {
                    sent = out.send(Ok(api::ReadBlobResponse { data })) => if sent.is_err() {
                        return Ok(());
                    },
                    () = stopping.cancelled() => return Err(stream::stopping()),
                }
            }
            Ok(())
        })))
    }

    async fn get_blob_manifest(
        &self,
        request: Request<api::GetBlobManifestRequest>,
    ) -> Result<Response<api::GetBlobManifestResponse>, Status> {
        let digest = digest("digest", &checked(request)?.digest).map_err(status)?;
        let manifest = self.blobs.manifest(digest).await.map_err(status)?;
        let manifest = manifest.ok_or_else(|| status(not_found(digest)))?;
        Ok(Response::new(api::GetBlobManifestResponse {
            size_bytes: int64(manifest.size()),
            chunk_digests: manifest.chunks().concat().into(),
        }))
    }

    async fn write_blob(
        &self,
        request: Request<Streaming<api::WriteBlobRequest>>,
    ) -> Result<Response<api::WriteBlobResponse>, Status> {
        let mut parts = request.into_inner();
        let first = parts.message().await?.unwrap_or_default();
        required::check(&first).map_err(status)?;
        let digest = digest("digest", &first.digest).map_err(status)?;
        let size = unsigned("size_bytes", first.size_bytes).map_err(status)?;
        if self.blobs.size(digest).await.map_err(status)?.is_some() {
            return Ok(Response::new(api::WriteBlobResponse { existed: true }));
        }
        let mut upload = self.blobs.begin(digest, size).await.map_err(status)?;
        let mut received = 0;
        take(&mut *upload, first.data, &mut received, size)
            .await
            .map_err(status)?;
        while let Some(part) = parts.message().await? {
            take(&mut *upload, part.data, &mut received, size)
                .await
                .map_err(status)?;
        }
        if received != size {
            return Err(status(wrong_size(received, size)));
        }
        upload.commit().await.map_err(status)?;
        Ok(Response::new(api::WriteBlobResponse { existed: false }))
    }

    async fn find_missing_blobs(
        &self,
        request: Request<api::FindMissingBlobsRequest>,
    ) -> Result<Response<api::FindMissingBlobsResponse>, Status> {
        let request = checked(request)?;
        if request.digests.len() > MAX_DIGESTS {
            let words = format!("at most {MAX_DIGESTS}, got {}", request.digests.len());
            return Err(status(Refusal::invalid_field("digests", words)));
        }
        let mut missing_digests = Vec::new();
        for (at, bytes) in request.digests.into_iter().enumerate() {
            let digest = digest(&format!("digests[{at}]"), &bytes).map_err(status)?;
            if self.blobs.size(digest).await.map_err(status)?.is_none() {
                missing_digests.push(bytes);
            }
        }
        Ok(Response::new(api::FindMissingBlobsResponse {
            missing_digests,
        }))
    }
}

impl BlobEnd {
    async fn size(&self, digest: Digest) -> Result<u64, Refusal> {
        self.blobs
            .size(digest)
            .await?
            .ok_or_else(|| not_found(digest))
    }
}

/// Takes the next bytes of an upload, never more than it said.
async fn take(
    upload: &mut dyn Upload,
    data: Bytes,
    received: &mut u64,
    size: u64,
) -> Result<(), Refusal> {
    if data.is_empty() {
        return Ok(());
    }
    *received += data.len() as u64;
    if *received > size {
        return Err(wrong_size(*received, size));
    }
    upload.write(data).await
}

fn wrong_size(received: u64, size: u64) -> Refusal {
    Refusal::invalid_field("size_bytes", format!("said {size} bytes, sent {received}"))
}

fn not_found(digest: Digest) -> Refusal {
    Refusal::not_found(&format!("blobs/blake3/{digest}"))
}

/// Reads a digest from the field of a request.
pub(crate) fn digest(field: &str, bytes: &[u8]) -> Result<Digest, Refusal> {
    let refused = |_| {
        Refusal::invalid_field(
            field,
            format!("a BLAKE3 digest is 32 bytes, got {}", bytes.len()),
        )
    };
    bytes.try_into().map(Digest).map_err(refused)
}
