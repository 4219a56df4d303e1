//! A panic in a handler fails its call and nothing else: neither the process nor the other calls of the connection.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use contract::api::ErrorReason;
use coordinator::Refusal;
use futures::FutureExt as _;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::status::status;

/// Wraps every service of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CatchPanic;

impl<S> Layer<S> for CatchPanic {
    type Service = Caught<S>;

    fn layer(&self, inner: S) -> Caught<S> {
        Caught(inner)
    }
}

/// A service whose panics are answers.
#[derive(Debug, Clone)]
pub(crate) struct Caught<S>(S);

impl<S, B> Service<Request<B>> for Caught<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let answer = AssertUnwindSafe(self.0.call(request)).catch_unwind();
        Box::pin(answer.map(move |answer| match answer {
            Ok(answer) => answer,
            Err(_) => {
                tracing::error!(%path, "a handler panicked");
                let words = "a fault of Shoal itself; the node's log has more";
                Ok(status(Refusal::new(ErrorReason::InternalFault, words)).into_http())
            }
        }))
    }
}
