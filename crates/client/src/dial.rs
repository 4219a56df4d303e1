//! How connections are made: the one place in this crate where channels come from, with TLS or without.

use std::time::Duration;

use pki::{Credentials, DialError, Dialer, Role};
use tonic::transport::{Channel, Endpoint};

use crate::{Error, Kind};

/// How long to wait for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often to ask a silent peer whether it is there, and how long to wait for its answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// Most bytes in an HTTP/2 frame that this side takes on connections for blobs: the default of 16 KiB halves the throughput.
const BLOB_FRAME: u32 = 1 << 20;

/// Windows for blobs, of a stream and of a connection, so that a link with delay is filled.
const BLOB_WINDOWS: (u32, u32) = (16 << 20, 32 << 20);

/// Makes connections as somebody; as nobody where the cluster runs without TLS. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways(pub(crate) Option<Credentials>);

impl Ways {
    /// A connection to a coordinator, for calls.
    pub(crate) async fn connect(&self, address: &str) -> Result<Channel, Error> {
        let dialer = self.dialer(&[Role::Coordinator])?;
        establish(endpoint(address)?, address, dialer).await
    }

    /// A connection to any node for the bytes of blobs, apart from the one for calls.
    pub(crate) async fn connect_for_blobs(&self, address: &str) -> Result<Channel, Error> {
        let dialer = self.dialer(&[Role::Worker, Role::Coordinator])?;
        let endpoint = endpoint(address)?
            .max_frame_size(BLOB_FRAME)
            .initial_stream_window_size(BLOB_WINDOWS.0)
            .initial_connection_window_size(BLOB_WINDOWS.1);
        establish(endpoint, address, dialer).await
    }

    fn dialer(&self, roles: &'static [Role]) -> Result<Dialer, Error> {
        match &self.0 {
            None => Ok(Dialer::Plain),
            Some(credentials) => credentials
                .connector(roles)
                .map(Dialer::Tls)
                .map_err(|error| Error::new(Kind::Internal, error.to_string())),
        }
    }
}

/// How every connection of a client is made.
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

async fn establish(endpoint: Endpoint, address: &str, dialer: Dialer) -> Result<Channel, Error> {
    let connected = match dialer {
        Dialer::Plain => endpoint.connect().await,
        Dialer::Tls(connector) => endpoint.connect_with_connector(connector).await,
    };
    connected.map_err(|error| match dial_error(&error) {
        // Another address of the same cluster would not help, nor would time.
        Some(refused) if refused.is_final() => Error::new(Kind::Denied, refused.to_string()),
        _ => Error::new(
            Kind::Unavailable,
            format!("cannot reach {address}: {}", innermost(&error)),
        )
        .with_hint("is the coordinator running, and is the address right?"),
    })
}

/// What the dialer said.
fn dial_error(error: &(dyn std::error::Error + 'static)) -> Option<DialError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<DialError>() {
            return Some(ours.clone());
        }
        next = error.source();
    }
    None
}

/// The words of the first cause.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
