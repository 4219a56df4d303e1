//! `ClusterService`.

use contract::api;
use contract::api::cluster_service_server::ClusterService;
use tonic::{Request, Response, Status, async_trait};

use crate::context::{Context, checked};
use crate::convert::int64;

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
}
