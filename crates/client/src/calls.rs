//! The calls of the contract that answer once.

use std::sync::Arc;
use std::time::Duration;

use contract::api;
use contract::api::cluster_service_client::ClusterServiceClient;
use contract::api::data_service_client::DataServiceClient;
use contract::api::execution_service_client::ExecutionServiceClient;
use contract::api::pipeline_service_client::PipelineServiceClient;
use contract::api::worker_service_client::WorkerServiceClient;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::{Error, Kind, Resolve};

/// How patient a client is.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// For how long a call is repeated while the cluster cannot be reached; zero: it is made once and may take its time.
    /// Default: one minute.
    pub deadline: Duration,
    /// For how long a stream tries to go on after its last message. Default: two minutes.
    pub patience: Duration,
    /// After how long a stream that says nothing counts as dead; servers say something every five seconds. Default: 20 s.
    pub silence: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            patience: Duration::from_secs(120),
            silence: Duration::from_secs(20),
        }
    }
}

/// A client of one cluster. A clone shares its connection.
#[derive(Clone)]
pub struct Client {
    pub(crate) connection: Arc<Connection>,
    pub(crate) options: Options,
}

/// The calls that are one message there and one back: each documented by the RPC of its name. A request without a request
/// id gets one, and every repeat of it the same.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: $service:ident, $request:ident $(with $id:ident)? -> $response:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// As the RPC says; kind [`Kind::Unavailable`] once the deadline has passed.
                pub async fn $name(&self, request: api::$request) -> Result<api::$response, Error> {
                    $(
                        let mut request = request;
                        if request.$id.is_empty() {
                            request.$id = Uuid::new_v4().to_string();
                        }
                    )?
                    self.call(|channel| {
                        let request = request.clone();
                        async move { $service::new(channel).$name(request).await }
                    })
                    .await
                }
            )*
        }
    };
}

calls! {
    /// Creates a pipeline.
    create_pipeline: PipelineServiceClient, CreatePipelineRequest with request_id -> CreatePipelineResponse;
    /// Gets one pipeline.
    get_pipeline: PipelineServiceClient, GetPipelineRequest -> GetPipelineResponse;
    /// Lists a page of pipelines, newest first.
    list_pipelines: PipelineServiceClient, ListPipelinesRequest -> ListPipelinesResponse;
    /// Cancels a pipeline.
    cancel_pipeline: PipelineServiceClient, CancelPipelineRequest with request_id -> CancelPipelineResponse;
    /// Creates an execution of one step.
    create_execution: ExecutionServiceClient, CreateExecutionRequest with request_id -> CreateExecutionResponse;
    /// Gets one execution.
    get_execution: ExecutionServiceClient, GetExecutionRequest -> GetExecutionResponse;
    /// Lists a page of executions, newest first.
    list_executions: ExecutionServiceClient, ListExecutionsRequest -> ListExecutionsResponse;
    /// Cancels an execution.
    cancel_execution: ExecutionServiceClient, CancelExecutionRequest with request_id -> CancelExecutionResponse;
    /// Gets one datum.
    get_datum: DataServiceClient, GetDatumRequest -> GetDatumResponse;
    /// Lists a page of data, newest first.
    list_data: DataServiceClient, ListDataRequest -> ListDataResponse;
    /// Gets one worker.
    get_worker: WorkerServiceClient, GetWorkerRequest -> GetWorkerResponse;
    /// Lists a page of workers by name.
    list_workers: WorkerServiceClient, ListWorkersRequest -> ListWorkersResponse;
    /// Gets the state of the cluster.
    get_cluster: ClusterServiceClient, GetClusterRequest -> GetClusterResponse;
}

impl Client {
    /// A client of the cluster that `resolver` finds. Connects when first needed.
    pub fn new(resolver: impl Resolve) -> Self {
        Self::with_options(resolver, Options::default())
    }

    /// The same, with another patience.
    pub fn with_options(resolver: impl Resolve, options: Options) -> Self {
        Self {
            connection: Arc::new(Connection::new(Arc::new(resolver))),
            options,
        }
    }

    /// Makes a call until it is answered, refused, or the deadline has passed.
    pub(crate) async fn call<T, F, Answer>(&self, make: F) -> Result<T, Error>
    where
        F: Fn(Channel) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        if self.options.deadline.is_zero() {
            return self.once(&make).await;
        }
        let deadline = Instant::now() + self.options.deadline;
        let mut backoff = Backoff::default();
        loop {
            let error = match timeout_at(deadline, self.once(&make)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => return Err(too_late(self.options.deadline)),
            };
            let wait = backoff.wait(error.retry_delay);
            if !error.repeatable || Instant::now() + wait >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, ?wait, "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn once<T, F, Answer>(&self, make: &F) -> Result<T, Error>
    where
        F: Fn(Channel) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let numbered = self.connection.channel().await?;
        match make(numbered.channel).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                let error = Error::from(status);
                if error.repeatable {
                    self.connection.failed(numbered.number, &error).await;
                }
                Err(error)
            }
        }
    }
}

fn too_late(deadline: Duration) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("no answer within {} s", deadline.as_secs()),
    )
    .with_hint(
        "the request may have been carried out; repeat it with the same request id to find out",
    )
}
