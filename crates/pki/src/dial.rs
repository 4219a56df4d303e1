//! Making connections: plain ones are left to whoever makes channels, those with TLS are made here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error as TlsError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::certificate::date;
use crate::credentials::Credentials;
use crate::error::DialError;
use crate::principal::Role;

/// How long to wait for a connection, and then for the handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// How connections are made.
#[derive(Debug, Clone, Default)]
pub enum Dialer {
    /// Without TLS: on loopback, or a network that is trusted.
    #[default]
    Plain,
    /// With TLS.
    Tls(Connector),
}

/// Makes connections with TLS. A `tower` service, as tonic's channels take it.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    /// What this end speaks with; nothing for who joins.
    credentials: Option<Credentials>,
}

impl Connector {
    pub(crate) fn new(config: Arc<ClientConfig>, credentials: Option<Credentials>) -> Self {
        Self {
            config,
            credentials,
        }
    }

    /// Connects to `host:port` and shakes hands.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn connect(self, address: &str) -> Result<TlsStream<TcpStream>, DialError> {
        if let Some(credentials) = &self.credentials {
            check_own(credentials)?;
        }
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .map_err(|_| DialError::Unreachable("no answer within 5 s".to_owned()))?
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| DialError::Unreachable(error.to_string()))?;
        // Servers are known by their certificates, not by their names; the protocol wants one all the same.
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| DialError::Unreachable(format!("{host:?} is no name of a host")))?;
        let handshake = TlsConnector::from(self.config).connect(name, stream);
        match timeout(PATIENCE, handshake).await {
            Err(_) => Err(DialError::Handshake("no answer within 5 s".to_owned())),
            Ok(Err(error)) => Err(failed(&error)),
            Ok(Ok(stream)) => Ok(stream),
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({:?})", self.credentials)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let address = uri.authority().map(ToString::to_string).unwrap_or_default();
            connector.connect(&address).await.map(TokioIo::new)
        })
    }
}

/// Whether the certificate of this end counts now. One that has expired is not worth a connection: the server's answer would say less, and is
/// lost when the connection is reset before it was read.
///
/// # Errors
/// [`DialError::OwnCertificate`].
pub fn check_own(credentials: &Credentials) -> Result<(), DialError> {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    let certificate = credentials.certificate();
    let Some(objection) = certificate.objection(now_s) else {
        return Ok(());
    };
    let renew = match certificate.principal.role {
        Role::User | Role::Admin => "shoal login ADDRESS --token TOKEN",
        Role::Worker => "shoal worker --join-token TOKEN",
        Role::Coordinator => "shoal coordinator --join ADDRESS --join-token TOKEN",
    };
    Err(DialError::OwnCertificate(format!(
        "{objection} (this machine's clock says {}); get a new one with `{renew}`",
        date(now_s)
    )))
}

/// Why a handshake failed, in our words where the reason is ours.
fn failed(error: &io::Error) -> DialError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::Other(other)) => match other.0.downcast_ref::<DialError>() {
            Some(ours) => ours.clone(),
            None => DialError::Handshake(other.to_string()),
        },
        Some(error) => DialError::Handshake(error.to_string()),
        None => DialError::Handshake(format!("{error}; does the server run without TLS?")),
    }
}

/// What a server's TLS said when it closed a connection that looked good from here: with TLS 1.3 a client's certificate is looked
/// at when the client thinks that all is well. Nothing if something else went wrong.
pub fn handshake_refused(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let tls = error.downcast_ref::<TlsError>().or_else(|| {
            let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
            inner.downcast_ref::<TlsError>()
        });
        if let Some(TlsError::AlertReceived(alert)) = tls {
            return Some(format!(
                "the server does not take the certificate of this end ({alert:?}): it is of another cluster, or has expired by the server's \
                 clock (this machine's says {})",
                date(
                    SystemTime::now()
                        .duration_since(UNIX_EPOCH)
                        .map_or(0, |since| since.as_secs() as i64)
                )
            ));
        }
        next = error.source();
    }
    None
}
