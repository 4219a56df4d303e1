//! Mutations on their way to the loop: what only the disk can tell is checked here.

use std::sync::Arc;

use blob::Digest;
use contract::api::{ErrorReason, Source};
use coordinator::{Answer, Refusal, Request};
use disk::blobs::Blobs;

use super::engine::Engine;

/// The way to the loop.
pub(super) struct Requests {
    pub(super) engine: Engine,
    pub(super) blobs: Arc<Blobs>,
}

#[net::async_trait]
impl net::ports::Mutations for Requests {
    async fn request(&self, request: Request) -> Result<Answer, Refusal> {
        let source = match &request {
            Request::CreatePipeline(request) => request.source.as_ref(),
            Request::CreateExecution(request) => request.source.as_ref(),
            Request::CancelPipeline(_)
            | Request::CancelExecution(_)
            | Request::AddMember { .. }
            | Request::RemoveMember { .. }
            | Request::TransferLeadership { .. }
            | Request::CreateToken { .. }
            | Request::RevokeToken(_)
            | Request::RevokePrincipal(_)
            | Request::UseToken(_) => None,
        };
        if let Some(source) = source {
            self.check_source(source)?;
        }
        self.engine.request(request).await
    }
}

impl Requests {
    /// A source tree must be stored before anything that needs it is accepted.
    fn check_source(&self, source: &Source) -> Result<(), Refusal> {
        if source.digest.is_empty() {
            return Ok(());
        }
        let digest = <[u8; 32]>::try_from(source.digest.as_ref())
            .map(Digest)
            .map_err(|_| {
                Refusal::invalid_field(
                    "source.digest",
                    format!("expected 32 bytes, got {}", source.digest.len()),
                )
            })?;
        if self.blobs.has(&digest) {
            return Ok(());
        }
        Err(Refusal::new(ErrorReason::BlobMissing, format!("the source tree {digest} is not stored here; send it with BlobService.WriteBlob first"))
            .with("subject", format!("blobs/blake3/{digest}")))
    }
}
