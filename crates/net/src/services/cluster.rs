//! `ClusterService`.

use contract::api::cluster_service_server::ClusterService;
use contract::api::{self, ErrorReason};
use coordinator::{Answer, Refusal, Request as Mutation};
use tonic::{Request, Response, Status, async_trait};

use crate::backup;
use crate::context::{Context, checked, unsigned};
use crate::convert::int64;
use crate::status::status;
use crate::stream::{self, Answers};

/// Bytes of a backup in one message.
const PART: usize = 1 << 20;

pub(crate) struct Cluster(pub(crate) Context);

#[async_trait]
impl ClusterService for Cluster {
    async fn get_cluster(
        &self,
        request: Request<api::GetClusterRequest>,
    ) -> Result<Response<api::GetClusterResponse>, Status> {
        checked(request)?;
        let revision = int64(self.0.ledger().revision());
        Ok(Response::new(api::GetClusterResponse {
            cluster: Some(self.0.surroundings.cluster()),
            revision,
        }))
    }

    async fn add_member(
        &self,
        request: Request<api::AddMemberRequest>,
    ) -> Result<Response<api::AddMemberResponse>, Status> {
        let api::AddMemberRequest {
            request_id,
            address,
            feature_level,
        } = checked(request)?;
        let feature_level = feature_level.max(0).cast_unsigned();
        let member_id = self
            .change(Mutation::AddMember {
                request_id,
                address,
                feature_level,
            })
            .await?;
        let ledger = self.0.ledger();
        Ok(Response::new(api::AddMemberResponse {
            member_id: int64(member_id),
            cluster_id: ledger.cluster_id().to_owned(),
            revision: int64(ledger.revision()),
        }))
    }

    async fn remove_member(
        &self,
        request: Request<api::RemoveMemberRequest>,
    ) -> Result<Response<api::RemoveMemberResponse>, Status> {
        let request = checked(request)?;
        let member_id = unsigned("member_id", request.member_id).map_err(status)?;
        self.change(Mutation::RemoveMember {
            request_id: request.request_id,
            member_id,
        })
        .await?;
        Ok(Response::new(api::RemoveMemberResponse {
            revision: int64(self.0.ledger().revision()),
        }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<api::TransferLeadershipRequest>,
    ) -> Result<Response<api::TransferLeadershipResponse>, Status> {
        let member_id = unsigned("member_id", checked(request)?.member_id).map_err(status)?;
        self.change(Mutation::TransferLeadership { member_id })
            .await?;
        Ok(Response::new(api::TransferLeadershipResponse {}))
    }

    type ReadSnapshotStream = Answers<api::ReadSnapshotResponse>;

    async fn read_snapshot(
        &self,
        request: Request<api::ReadSnapshotRequest>,
    ) -> Result<Response<Self::ReadSnapshotStream>, Status> {
        checked(request)?;
        let ledger = self.0.fresh.fresh().await.map_err(status)?;
        Ok(Response::new(stream::fill(2, |out| async move {
            let mut bytes = tokio::task::spawn_blocking(move || backup::encode(&ledger))
                .await
                .map_err(|error| Refusal::new(ErrorReason::InternalFault, error.to_string()))?;
            while !bytes.is_empty() {
                let data = bytes.split_to(PART.min(bytes.len()));
                if out
                    .send(Ok(api::ReadSnapshotResponse { data }))
                    .await
                    .is_err()
                {
                    break;
                }
            }
            Ok(())
        })))
    }
}

impl Cluster {
    /// Asks for a change of the group; answers with the member it was about.
    async fn change(&self, request: Mutation) -> Result<u64, Status> {
        match self.0.mutations.request(request).await.map_err(status)? {
            Answer::Member { member_id } => Ok(member_id),
            _ => Err(status(Refusal::new(
                ErrorReason::InternalFault,
                "the answer does not fit the request",
            ))),
        }
    }
}
