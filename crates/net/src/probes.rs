//! Plain HTTP beside a node's own port: what a monitoring system reads, and what a supervisor asks.
//!
//! | path | answer |
//! | --- | --- |
//! | `/metrics` | every metric, in Prometheus' text format |
//! | `/healthz` | 200 while the process answers |
//! | `/readyz` | 200 while it does its work, else 503 with why not |
//!
//! Nothing here can change anything, and nothing is asked of the caller: the address is the operator's to keep from strangers.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::ports::Probes;

/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 32;

/// How long a caller may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait when the system gives no connection, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The text format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until `shutdown` is ready; what is being answered then is cut.
pub async fn serve_probes(
    listener: TcpListener,
    probes: Arc<dyn Probes>,
    shutdown: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let serving = TaskTracker::new();
    let accepting = async {
        loop {
            let Ok(place) = room.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((connection, _)) => {
                    let probes = probes.clone();
                    serving.spawn(async move {
                        serve(connection, probes).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("no connection for metrics: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
}

async fn serve(connection: TcpStream, probes: Arc<dyn Probes>) {
    let service = service_fn(move |request| {
        let probes = probes.clone();
        async move { Ok::<_, Infallible>(answer(request, &*probes).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(connection), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection for metrics: {error}");
    }
}

async fn answer(request: Request<Incoming>, probes: &dyn Probes) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, probes.metrics().await),
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match probes.ready() {
            Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        _ => {
            let known = "there are /metrics, /healthz and /readyz\n";
            text(StatusCode::NOT_FOUND, known.to_owned())
        }
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(TEXT);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
