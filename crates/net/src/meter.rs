//! Counts the calls that a server answers: by method and code, and how long those took that answer once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use prost_reflect::DescriptorPool;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::ports::Calls;

/// By path of an RPC: its name without the package, and whether it is a stream. What else is called is no name to count by: it is
/// the caller's to choose.
static METHODS: LazyLock<BTreeMap<String, (String, bool)>> = LazyLock::new(|| {
    let mut methods = BTreeMap::new();
    let Ok(pool) = DescriptorPool::decode(contract::DESCRIPTORS) else {
        unreachable!("the contract's own descriptors")
    };
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let name = format!("{}/{}", service.name(), method.name());
            let streams = method.is_client_streaming() || method.is_server_streaming();
            methods.insert(path, (name, streams));
        }
    }
    methods
});

/// Wraps every service of a server; counts nothing where nobody wants to know.
#[derive(Clone)]
pub(crate) struct Meter(pub(crate) Option<Arc<dyn Calls>>);

impl<S> Layer<S> for Meter {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered {
            inner,
            calls: self.0.clone(),
        }
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub(crate) struct Metered<S> {
    inner: S,
    calls: Option<Arc<dyn Calls>>,
}

impl<S, B> Service<Request<B>> for Metered<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(calls) = self.calls.clone() else {
            return Box::pin(self.inner.call(request));
        };
        let known = METHODS.get(request.uri().path());
        let mut call = Call {
            calls,
            method: known.map_or("other", |(name, _)| name),
            began: (!known.is_none_or(|(_, streams)| *streams)).then(Instant::now),
            code: Code::Cancelled,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // An answer without a message has its status among the headers, others after the last message.
            if call.ends_with(response.headers()) {
                return Ok(response);
            }
            Ok(response.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    if let Some(trailers) = frame.trailers_ref() {
                        call.ends_with(trailers);
                    }
                    frame
                }))
            }))
        })
    }
}

/// A call that is being answered; counted when it is dropped. One that is dropped without a status was given up by its caller.
struct Call {
    calls: Arc<dyn Calls>,
    method: &'static str,
    /// When it began, unless it is a stream.
    began: Option<Instant>,
    code: Code,
}

impl Call {
    /// Takes in the status, if it is there.
    fn ends_with(&mut self, headers: &HeaderMap) -> bool {
        match Status::from_header_map(headers) {
            Some(status) => {
                self.code = status.code();
                true
            }
            None => false,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took: Option<Duration> = self.began.map(|began| began.elapsed());
        self.calls.answered(self.method, code(self.code), took);
    }
}

/// The name of a code, as gRPC writes it.
fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
