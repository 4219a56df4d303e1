//! Connections with TLS: shaking hands beside the accepting of others, knowing who called, and closing those whose certificate
//! does not count any more.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pki::{Certificate, Role, TlsAcceptor, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::audit::Trail;
use crate::gate::Gate;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How many may do so at once.
const HANDSHAKES: usize = 256;

/// Connections that wait to be served.
const WAITING: usize = 64;

/// How often open connections are looked at. What is revoked is closed within a minute, says the contract.
const SWEEP: Duration = Duration::from_secs(5);

/// Who called, by a connection with TLS. Every request of the connection carries it.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Where the connection comes from.
    pub(crate) remote: SocketAddr,
    /// What the client showed; nothing for who joins.
    pub(crate) certificate: Option<Arc<Certificate>>,
    name: Arc<str>,
}

impl Caller {
    fn new(remote: SocketAddr, certificate: Option<Certificate>) -> Self {
        let name = match &certificate {
            Some(certificate) => certificate.principal.to_string(),
            None => String::new(),
        };
        Self {
            remote,
            certificate: certificate.map(Arc::new),
            name: Arc::from(name),
        }
    }

    /// Who it is, as `worker/gpu-1`; empty without a certificate.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it comes from, for logs.
    pub(crate) fn source(&self) -> String {
        self.remote.to_string()
    }

    pub(crate) fn role(&self) -> Option<Role> {
        Some(self.certificate.as_ref()?.principal.role)
    }

    /// The name of a worker; nothing for others.
    pub(crate) fn worker(&self) -> Option<&str> {
        let principal = &self.certificate.as_ref()?.principal;
        (principal.role == Role::Worker).then_some(&*principal.name)
    }
}

/// Accepts connections and shakes hands, until whoever takes them is gone.
pub(crate) fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    open: Arc<Open>,
    trail: Option<Arc<Trail>>,
) -> ReceiverStream<io::Result<Conn>> {
    let (connections, accepted) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let turns = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let Ok(turn) = turns.clone().acquire_owned().await else {
                return;
            };
            let (stream, remote) = tokio::select! {
                () = connections.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, or a client that left at once: neither is the end.
                        tracing::warn!(%error, "a connection cannot be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let (acceptor, open, connections) =
                (acceptor.clone(), open.clone(), connections.clone());
            let trail = trail.clone();
            tokio::spawn(async move {
                let shaken = shake_hands(stream, acceptor).await;
                drop(turn);
                match shaken {
                    Ok((stream, certificate)) => {
                        let conn = open.admit(stream, Caller::new(remote, certificate));
                        // Whoever takes connections is gone when the server stops.
                        let _ = connections.send(Ok(conn)).await;
                    }
                    Err(why) => {
                        tracing::info!(%remote, "a TLS handshake failed: {why}");
                        if let Some(trail) = trail {
                            trail.handshake_failed(remote, &why);
                        }
                    }
                }
            });
        }
    });
    ReceiverStream::new(accepted)
}

async fn shake_hands(
    stream: TcpStream,
    acceptor: TlsAcceptor,
) -> Result<(TlsStream<TcpStream>, Option<Certificate>), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    stream.set_nodelay(true).map_err(|error| words(&error))?;
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Err(_) => return Err("it took too long".to_owned()),
        Ok(Err(error)) => return Err(words(&error)),
        Ok(Ok(stream)) => stream,
    };
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(b"h2") {
        return Err("the client does not speak HTTP/2".to_owned());
    }
    let certificate = match session.peer_certificates().and_then(<[_]>::first) {
        None => None,
        // Signed by the authority of this cluster, so one of ours.
        Some(der) => Some(Certificate::read(der).map_err(|error| words(&error))?),
    };
    Ok((stream, certificate))
}

/// The connections that are open.
#[derive(Default)]
pub(crate) struct Open {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    by_number: BTreeMap<u64, (Caller, CancellationToken)>,
}

impl Open {
    fn admit(self: &Arc<Self>, stream: TlsStream<TcpStream>, caller: Caller) -> Conn {
        let close = CancellationToken::new();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.next += 1;
        let number = table.next;
        table
            .by_number
            .insert(number, (caller.clone(), close.clone()));
        Conn {
            stream,
            caller,
            closed: Box::pin(close.cancelled_owned()),
            _entry: Entry {
                open: self.clone(),
                number,
            },
        }
    }

    /// Closes, again and again, the connections of those that a gate objects to.
    pub(crate) async fn sweep(&self, gate: &Gate) -> Infallible {
        let mut turns = interval(SWEEP);
        loop {
            turns.tick().await;
            let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            for (caller, close) in table.by_number.values() {
                if let Some(why) = gate.objection(caller) {
                    tracing::warn!(source = %caller.source(), "a connection is closed: {why}");
                    close.cancel();
                }
            }
        }
    }
}

/// A place in the table of open connections; dropped, it is free.
struct Entry {
    open: Arc<Open>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let table = &self.open.table;
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.by_number.remove(&self.number);
    }
}

/// A connection with TLS, which can be closed from outside.
pub(crate) struct Conn {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    _entry: Entry,
}

impl Connected for Conn {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(context).is_ready() {
            let why = "the certificate of the client does not count any more";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
