//! As much of etcd's own protocol as a put needs, over the same HTTP/2 that Shoal's client uses.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep, timeout};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// How long one try may take: longer than an election, so that a try that waits for one is not given up.
const TRY: Duration = Duration::from_secs(2);

/// How long to wait before the next member is tried.
const PAUSE: Duration = Duration::from_millis(10);

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`, of which nothing is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// `etcdserverpb.StatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

/// `etcdserverpb.StatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// `etcdserverpb.ResponseHeader`.
#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

/// A client of a group of etcd.
#[derive(Clone)]
pub(crate) struct Etcd {
    channels: Vec<Channel>,
}

impl Etcd {
    pub(crate) fn new(addresses: Vec<String>) -> anyhow::Result<Self> {
        let channels = addresses
            .iter()
            .map(|address| connect(address))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { channels })
    }

    /// Puts a key; tries one member after another until one answers or `patience` is over.
    pub(crate) async fn put(
        &self,
        key: &str,
        value: &[u8],
        patience: Duration,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        for channel in self.channels.iter().cycle() {
            let request = PutRequest {
                key: key.as_bytes().to_vec(),
                value: value.to_vec(),
            };
            let put = call::<_, PutResponse>(channel, "/etcdserverpb.KV/Put", request);
            match timeout(TRY, put).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(status)) if Instant::now() > deadline => return Err(status.into()),
                _ => sleep(PAUSE).await,
            }
        }
        bail!("a group has members")
    }

    /// Whether the member at this address leads.
    pub(crate) async fn leads(address: &str) -> anyhow::Result<bool> {
        let channel = connect(address)?;
        let path = "/etcdserverpb.Maintenance/Status";
        let asked = call::<_, StatusResponse>(&channel, path, StatusRequest {});
        let answer = timeout(TRY, asked).await??;
        let member = answer.header.unwrap_or_default().member_id;
        Ok(answer.leader != 0 && answer.leader == member)
    }
}

fn connect(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.tcp_nodelay(true).connect_lazy())
}

async fn call<Question, Answer>(
    channel: &Channel,
    path: &'static str,
    question: Question,
) -> Result<Answer, Status>
where
    Question: prost::Message + 'static,
    Answer: prost::Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel.clone());
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Question, Answer>::default();
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(Request::new(question), path, codec).await?;
    Ok(answer.into_inner())
}
