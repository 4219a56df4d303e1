//! Mutations on their way to the loop: what only disks can tell is checked here.

use coordinator::{Answer, Refusal, Request};

use super::engine::Engine;
use super::sources::Sources;

/// The way to the loop.
pub(super) struct Requests {
    pub(super) engine: Engine,
    pub(super) sources: Sources,
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
            | Request::DrainWorker(_)
            | Request::Explain { .. }
            | Request::CreateToken { .. }
            | Request::RevokeToken(_)
            | Request::RevokePrincipal(_)
            | Request::UseToken(_) => None,
        };
        if let Some(source) = source {
            self.sources.require(source).await?;
        }
        self.engine.request(request).await
    }
}
