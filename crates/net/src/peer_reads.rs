//! What a coordinator asks of the others beside Raft: records of feeds that it lacks, and to keep source trees.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blob::Digest;
use contract::api::ErrorReason;
use contract::peer::peer_service_client::PeerServiceClient;
use contract::peer::{ReadFramesRequest, StoreBlobRequest};
use coordinator::Refusal;
use coordinator::feeds::{Copies, FeedKey};
use feed::Batch;
use pki::Dialer;
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::endpoint::{self, Use};
use crate::server::MAX_MESSAGE;
use crate::status::refusal;

/// For how long the next records are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks other coordinators. Clones share their connections.
#[derive(Debug, Clone, Default)]
pub struct PeerReads {
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
    dialer: Dialer,
}

impl PeerReads {
    /// With another way to connect than the plain one.
    pub fn by(dialer: Dialer) -> Self {
        Self {
            dialer,
            ..Self::default()
        }
    }

    /// What the coordinator at `address` has of a feed from a record on: about `max_bytes` of it.
    ///
    /// # Errors
    /// `NOT_READY` when it cannot be reached or stalls, `INTERNAL_FAULT` when its disk fails. What came until then is lost.
    pub async fn frames(
        &self,
        address: &str,
        key: FeedKey,
        from: u64,
        max_bytes: usize,
    ) -> Result<Copies, Refusal> {
        let request = ReadFramesRequest {
            execution_id: key.execution.to_vec().into(),
            attempt: key.attempt,
            first_record: from,
        };
        let stalled = |_| Refusal::new(ErrorReason::NotReady, "another coordinator has stalled");
        let mut client = self.client(address)?;
        let answer = timeout(PATIENCE, client.read_frames(request)).await;
        let mut parts = answer
            .map_err(stalled)?
            .map_err(|status| refusal(&status))?
            .into_inner();
        let mut copies = Copies::default();
        let mut bytes = 0;
        while bytes < max_bytes {
            let part = timeout(PATIENCE, parts.message()).await.map_err(stalled)?;
            let Some(part) = part.map_err(|status| refusal(&status))? else {
                break;
            };
            if part.end {
                copies.is_end = true;
                copies.is_closed = part.closed;
                copies.absent_until_ms = part.absent_until_ms;
                break;
            }
            bytes += part.frames.len();
            copies.batches.push(Batch {
                first_record: part.first_record,
                count: part.record_count,
                frames: part.frames,
            });
        }
        Ok(copies)
    }

    /// Lets the coordinator at `address` store a blob, from itself or one of `sources`; answers once it is on its disk.
    ///
    /// # Errors
    /// As the other one gives them; `NOT_READY` when it cannot be reached.
    pub async fn store_blob(
        &self,
        address: &str,
        digest: Digest,
        size_bytes: u64,
        sources: Vec<String>,
    ) -> Result<(), Refusal> {
        let request = StoreBlobRequest {
            digest: digest.as_bytes().to_vec().into(),
            size_bytes,
            sources,
        };
        let stored = self.client(address)?.store_blob(request).await;
        stored.map(drop).map_err(|status| refusal(&status))
    }

    fn client(&self, address: &str) -> Result<PeerServiceClient<Channel>, Refusal> {
        // Nobody leaves the map half changed, so a panic elsewhere does not matter here.
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = endpoint::connect_lazily(address, Use::Peer, &self.dialer)
                    .map_err(|error| Refusal::new(ErrorReason::NotReady, error.to_string()))?;
                channels.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(PeerServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE))
    }
}
