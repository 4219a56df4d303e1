//! The one connection for calls: made when first needed, given up when it fails, moved to the leader when told where it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tonic::transport::{Channel, Endpoint};

use crate::{Error, Kind, Resolve};

/// How long to wait for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often to ask a silent peer whether it is there, and how long to wait for its answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Most bytes in an HTTP/2 frame that this side takes on connections for blobs: the default of 16 KiB halves the throughput.
const BLOB_FRAME: u32 = 1 << 20;

/// Windows for blobs, of a stream and of a connection, so that a link with delay is filled.
const BLOB_WINDOWS: (u32, u32) = (16 << 20, 32 << 20);

/// The connection that calls go by.
pub(crate) struct Connection {
    resolver: Arc<dyn Resolve>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The channel in use, and its number.
    channel: Option<(u64, Channel)>,
    /// How many there were.
    count: u64,
    /// Where a server said that the leader is.
    leader: Option<String>,
    /// How many of the resolver's addresses to pass over: the ones that failed last.
    skip: usize,
}

/// A channel with the number by which to report it as failed.
#[derive(Clone)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) channel: Channel,
}

impl Connection {
    pub(crate) fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self {
            resolver,
            state: Mutex::default(),
        }
    }

    /// The channel in use, made if there is none.
    pub(crate) async fn channel(&self) -> Result<Numbered, Error> {
        let mut state = self.state.lock().await;
        if let Some((number, channel)) = state.channel.clone() {
            return Ok(Numbered { number, channel });
        }
        let mut addresses = self.resolver.resolve().await?;
        if addresses.is_empty() {
            return Err(Error::new(
                Kind::Unavailable,
                "no address of a coordinator is known",
            ));
        }
        let skip = state.skip % addresses.len();
        addresses.rotate_left(skip);
        if let Some(leader) = state.leader.take() {
            addresses.insert(0, leader);
        }
        let mut failure = None;
        for address in addresses {
            match connect(&address).await {
                Ok(channel) => {
                    state.count += 1;
                    let number = state.count;
                    state.channel = Some((number, channel.clone()));
                    tracing::debug!(%address, "connected");
                    return Ok(Numbered { number, channel });
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure
            .unwrap_or_else(|| Error::new(Kind::Unavailable, "no coordinator can be reached")))
    }

    /// A call by channel `number` failed: the next one gets another, at the leader if the failure says where that is.
    pub(crate) async fn failed(&self, number: u64, error: &Error) {
        let mut state = self.state.lock().await;
        if state
            .channel
            .as_ref()
            .is_some_and(|(current, _)| *current == number)
        {
            state.channel = None;
            state.leader = error
                .metadata
                .get("leader")
                .filter(|address| !address.is_empty())
                .cloned();
            state.skip = state.skip.wrapping_add(1);
        }
    }
}

async fn connect(address: &str) -> Result<Channel, Error> {
    establish(endpoint(address)?, address).await
}

/// A connection for the bytes of blobs, apart from the one for calls.
pub(crate) async fn connect_for_blobs(address: &str) -> Result<Channel, Error> {
    let endpoint = endpoint(address)?
        .max_frame_size(BLOB_FRAME)
        .initial_stream_window_size(BLOB_WINDOWS.0)
        .initial_connection_window_size(BLOB_WINDOWS.1);
    establish(endpoint, address).await
}

fn endpoint(address: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| {
        Error::new(
            Kind::Invalid,
            format!("{address:?} is no address, expected HOST:PORT"),
        )
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .keep_alive_while_idle(true))
}

async fn establish(endpoint: Endpoint, address: &str) -> Result<Channel, Error> {
    endpoint.connect().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), innermost);
        Error::new(
            Kind::Unavailable,
            format!("cannot reach {address}: {cause}"),
        )
        .with_hint("is the coordinator running, and is the address right?")
    })
}

/// The words of the first cause.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
