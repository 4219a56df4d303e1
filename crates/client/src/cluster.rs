//! The cluster as a whole: how single coordinators see it, and backups.

use bytes::Bytes;
use contract::api;
use contract::api::cluster_service_client::ClusterServiceClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use crate::backoff::Backoff;
use crate::connection;
use crate::{Client, Error, Kind};

/// Parts of a backup that wait for a slow writer.
const QUEUE: usize = 4;

/// What comes of reading a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupPart {
    /// The next bytes.
    Bytes(Bytes),
    /// The connection was lost: what came before is of no use, and the backup begins again with the state as it is now.
    Again,
}

impl Client {
    /// How the coordinator at an address sees the cluster, whether or not it leads, unless it takes long to say.
    ///
    /// # Errors
    /// Kind [`Kind::Unavailable`] when it cannot be reached or does not answer in time; nothing is tried again. Kind [`Kind::Denied`] when the
    /// certificate of this end has expired.
    pub async fn look(&self, address: &str) -> Result<api::Cluster, Error> {
        let ways = &self.connection.ways;
        let looked = connection::look(ways, address).await;
        // It may have expired on the way: calls that are repeated find that out when they connect again.
        if let (
            Err(Error {
                kind: Kind::Unavailable,
                ..
            }),
            Some(credentials),
        ) = (&looked, &ways.0)
        {
            pki::check_own(credentials).map_err(|own| Error::new(Kind::Denied, own.to_string()))?;
        }
        looked
    }

    /// Reads a backup of the whole replicated state.
    ///
    /// An error is the last item: the cluster stayed out of reach for longer than the client is patient. The backup is whole when
    /// the stream ends without one.
    pub fn read_snapshot(
        &self,
    ) -> impl Stream<Item = Result<BackupPart, Error>> + Send + Unpin + use<> {
        let (parts, receiver) = mpsc::channel(QUEUE);
        let client = self.clone();
        tokio::spawn(async move {
            // A closed queue means that nobody reads any more.
            if let Err(error) = client.pump(&parts).await {
                let _ = parts.send(Err(error)).await;
            }
        });
        ReceiverStream::new(receiver)
    }

    async fn pump(&self, parts: &mpsc::Sender<Result<BackupPart, Error>>) -> Result<(), Error> {
        let since = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let numbered = self.connection.channel().await;
            let error = match numbered {
                Ok(numbered) => match self.pump_once(numbered.channel, parts).await {
                    Ok(()) => return Ok(()),
                    Err(error) => {
                        self.connection.failed(numbered.number, &error).await;
                        error
                    }
                },
                Err(error) => error,
            };
            if !error.repeatable || since.elapsed() > self.options.patience {
                return Err(error);
            }
            tokio::time::sleep(backoff.wait(error.retry_delay)).await;
            if parts.send(Ok(BackupPart::Again)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn pump_once(
        &self,
        channel: tonic::transport::Channel,
        parts: &mpsc::Sender<Result<BackupPart, Error>>,
    ) -> Result<(), Error> {
        let mut messages = ClusterServiceClient::new(channel)
            .read_snapshot(api::ReadSnapshotRequest {})
            .await?
            .into_inner();
        let silent = |_| Error::new(Kind::Unavailable, "the backup fell silent");
        while let Some(message) = timeout(self.options.silence, messages.message())
            .await
            .map_err(silent)??
        {
            if parts
                .send(Ok(BackupPart::Bytes(message.data)))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }
}
