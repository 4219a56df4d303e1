//! Where the cluster is.

use crate::Error;

/// Says where the cluster is, whenever a connection is needed. It may have moved since the last time: an embedded node that
/// ended is started again by its resolver, on another port.
#[tonic::async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// Addresses of coordinators, `host:port`, the best first.
    ///
    /// # Errors
    /// What is wrong when there can be none. An error of kind [`crate::Kind::Unavailable`] is tried again.
    async fn resolve(&self) -> Result<Vec<String>, Error>;

    /// Whether the cluster may have more coordinators than those that are resolved; then the cluster is asked who they are.
    fn has_others(&self) -> bool {
        true
    }
}

/// Coordinators whose addresses never change.
#[derive(Debug, Clone)]
pub struct Fixed(pub Vec<String>);

impl Fixed {
    /// One coordinator.
    pub fn one(address: impl Into<String>) -> Self {
        Self(vec![address.into()])
    }
}

#[tonic::async_trait]
impl Resolve for Fixed {
    async fn resolve(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.clone())
    }
}
