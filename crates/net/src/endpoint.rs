//! How connections are made: every channel to another node, and the settings of every server's transport, come from here.

use std::time::Duration;

use pki::{DialError, Dialer};
use tonic::transport::{Channel, Endpoint, Error, Server};

/// Most bytes of a call's headers.
const MAX_HEADERS: u32 = 16 << 10;

/// Most calls at once on one connection.
const MAX_STREAMS: u32 = 256;

/// Most bytes of an HTTP/2 frame that is taken: the default of 16 KiB halves the throughput of large messages.
const FRAME: u32 = 1 << 20;

/// Windows of a stream and of a connection, where much is sent: they fill a link with delay.
const WIDE: (u32, u32) = (16 << 20, 32 << 20);

/// How often a server asks a silent caller whether it is there, and for how long that may stay silent then.
const SERVER_KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// What a connection is for; decides its windows and how soon a dead end is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A worker's conversation with a coordinator, and its feeds.
    Link,
    /// Bytes of blobs, from any node.
    Blobs,
    /// Messages between coordinators: whoever is dead must be noticed soon.
    Peer,
}

impl Use {
    fn connect_timeout(self) -> Duration {
        match self {
            Self::Link | Self::Blobs => Duration::from_secs(5),
            Self::Peer => Duration::from_secs(2),
        }
    }

    /// How often to ask a silent end whether it is there, and for how long it may stay silent then.
    fn keepalive(self) -> Option<(Duration, Duration)> {
        match self {
            Self::Link => Some((Duration::from_secs(3), Duration::from_secs(5))),
            Self::Blobs => None,
            Self::Peer => Some((Duration::from_secs(1), Duration::from_secs(3))),
        }
    }

    fn is_wide(self) -> bool {
        self != Self::Link
    }
}

/// How to reach the node at `address` (`host:port`).
///
/// # Errors
/// When that is no address.
pub(crate) fn endpoint(address: &str, purpose: Use) -> Result<Endpoint, Error> {
    let mut endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(purpose.connect_timeout())
        .tcp_nodelay(true);
    if let Some((interval, patience)) = purpose.keepalive() {
        endpoint = endpoint
            .http2_keep_alive_interval(interval)
            .keep_alive_timeout(patience)
            .keep_alive_while_idle(true);
    }
    if purpose.is_wide() {
        endpoint = endpoint
            .max_frame_size(FRAME)
            .initial_stream_window_size(WIDE.0)
            .initial_connection_window_size(WIDE.1);
    }
    Ok(endpoint)
}

/// A connection to the node at `address`.
///
/// # Errors
/// When that is no address, nobody answers there in time, or it is not who it should be.
pub(crate) async fn connect(
    address: &str,
    purpose: Use,
    dialer: &Dialer,
) -> Result<Channel, Error> {
    let endpoint = endpoint(address, purpose)?;
    match dialer {
        Dialer::Plain => endpoint.connect().await,
        Dialer::Tls(connector) => endpoint.connect_with_connector(connector.clone()).await,
    }
}

/// A connection that is made with the first call, so that nobody waits here for a node that is gone.
///
/// # Errors
/// When `address` is none.
pub(crate) fn connect_lazily(
    address: &str,
    purpose: Use,
    dialer: &Dialer,
) -> Result<Channel, Error> {
    let endpoint = endpoint(address, purpose)?;
    Ok(match dialer {
        Dialer::Plain => endpoint.connect_lazy(),
        Dialer::Tls(connector) => endpoint.connect_with_connector_lazy(connector.clone()),
    })
}

/// Why a connection was not made, in the dialer's own words where they are.
pub(crate) fn dial_error(error: &Error) -> DialError {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(ours) = innermost.downcast_ref::<DialError>() {
            return ours.clone();
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => return DialError::Unreachable(innermost.to_string()),
        }
    }
}

/// A server with the limits that all keep; `wide` where much is sent to it.
pub(crate) fn server(wide: bool) -> Server {
    let server = Server::builder()
        .max_frame_size(FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(SERVER_KEEPALIVE.0))
        .http2_keepalive_timeout(Some(SERVER_KEEPALIVE.1));
    if wide {
        server
            .initial_stream_window_size(WIDE.0)
            .initial_connection_window_size(WIDE.1)
    } else {
        server
    }
}
