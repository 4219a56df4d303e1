//! The calls of the contract that answer once.

use std::sync::Arc;
use std::time::Duration;

use contract::api;
use contract::api::cluster_service_client::ClusterServiceClient;
use contract::api::data_service_client::DataServiceClient;
use contract::api::execution_service_client::ExecutionServiceClient;
use contract::api::pipeline_service_client::PipelineServiceClient;
use contract::api::token_service_client::TokenServiceClient;
use contract::api::worker_service_client::WorkerServiceClient;
use pki::Credentials;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::dial::Ways;
use crate::{Error, Kind, Resolve};

/// After how long without an answer the others are asked who leads.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// How often one call is repeated at once, at a leader that another coordinator named.
const MOVES: u32 = 4;

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
    /// Creates a join token.
    create_token: TokenServiceClient, CreateTokenRequest with request_id -> CreateTokenResponse;
    /// Lists a page of join tokens by id.
    list_tokens: TokenServiceClient, ListTokensRequest -> ListTokensResponse;
    /// Revokes a join token.
    revoke_token: TokenServiceClient, RevokeTokenRequest with request_id -> RevokeTokenResponse;
    /// Revokes the certificates of a principal.
    revoke_principal: TokenServiceClient, RevokePrincipalRequest with request_id -> RevokePrincipalResponse;
    /// Drains a worker, or lets it take new attempts again.
    drain_worker: WorkerServiceClient, DrainWorkerRequest with request_id -> DrainWorkerResponse;
    /// Explains where an execution stands.
    explain_execution: ExecutionServiceClient, ExplainExecutionRequest -> ExplainExecutionResponse;
    /// Adds a coordinator.
    add_member: ClusterServiceClient, AddMemberRequest with request_id -> AddMemberResponse;
    /// Removes a coordinator for ever.
    remove_member: ClusterServiceClient, RemoveMemberRequest with request_id -> RemoveMemberResponse;
    /// Hands leadership to another coordinator.
    transfer_leadership: ClusterServiceClient, TransferLeadershipRequest -> TransferLeadershipResponse;
}

impl Client {
    /// A client of the cluster that `resolver` finds. Connects when first needed.
    pub fn new(resolver: impl Resolve) -> Self {
        Self::with_options(resolver, Options::default())
    }

    /// The same, with another patience.
    pub fn with_options(resolver: impl Resolve, options: Options) -> Self {
        Self::with_credentials(resolver, options, None)
    }

    /// The same, speaking TLS as who the credentials are of.
    pub fn with_credentials(
        resolver: impl Resolve,
        options: Options,
        credentials: Option<Credentials>,
    ) -> Self {
        let ways = Ways(credentials);
        Self {
            connection: Arc::new(Connection::new(Arc::new(resolver), ways)),
            options,
        }
    }

    /// Makes a call until it is answered, refused, or the deadline has passed. When an answer takes long, the others are asked
    /// whether the coordinator that was asked still leads.
    pub(crate) async fn call<T, F, Answer>(&self, make: F) -> Result<T, Error>
    where
        F: Fn(Channel) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        self.repeat(&make, true).await
    }

    /// The same for a call that carries much, and so may take its time.
    pub(crate) async fn long_call<T, F, Answer>(&self, make: F) -> Result<T, Error>
    where
        F: Fn(Channel) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        self.repeat(&make, false).await
    }

    async fn repeat<T, F, Answer>(&self, make: &F, impatient: bool) -> Result<T, Error>
    where
        F: Fn(Channel) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        if self.options.deadline.is_zero() {
            return self.once(make, false).await.map_err(|(error, _)| error);
        }
        let deadline = Instant::now() + self.options.deadline;
        let mut backoff = Backoff::default();
        let mut last = None;
        let mut moves = 0;
        loop {
            let (error, sound) = match timeout_at(deadline, self.once(make, impatient)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let late = || too_late(self.options.deadline);
                    return Err(last.map_or_else(late, |error| self.gave_up(error)));
                }
            };
            if !error.repeatable {
                return Err(error);
            }
            // A leader that is known is asked at once; two that name each other are not believed for ever.
            let wait = if sound && moves < MOVES {
                moves += 1;
                Duration::ZERO
            } else {
                backoff.wait(error.retry_delay)
            };
            if Instant::now() + wait >= deadline {
                return Err(self.gave_up(error));
            }
            tracing::debug!(%error, ?wait, "asking again");
            tokio::time::sleep(wait).await;
            last = Some(error);
        }
    }

    /// Makes a call once. A failure says whether there is a leader to ask at once.
    async fn once<T, F, Answer>(&self, make: &F, impatient: bool) -> Result<T, (Error, bool)>
    where
        F: Fn(Channel) -> Answer,
        Answer: Future<Output = Result<Response<T>, Status>>,
    {
        let numbered = self
            .connection
            .channel()
            .await
            .map_err(|error| (error, false))?;
        let answer = make(numbered.channel);
        let overtaken = async {
            if !impatient {
                return std::future::pending().await;
            }
            loop {
                tokio::time::sleep(LOOK_AFTER).await;
                if let Some(leader) = self.connection.overtaken(numbered.number).await {
                    return leader;
                }
            }
        };
        let result = tokio::select! {
            result = answer => result,
            leader = overtaken => {
                let message = format!("{} does not answer, and {leader} leads now", numbered.address);
                return Err((Error::new(Kind::Unavailable, message), true));
            }
        };
        match result {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                let error = Error::from(status);
                let sound =
                    error.repeatable && self.connection.failed(numbered.number, &error).await;
                Err((error, sound))
            }
        }
    }

    /// The last failure of a call that was repeated to its deadline.
    fn gave_up(&self, mut error: Error) -> Error {
        error.message = format!(
            "{} (tried for {} s)",
            error.message,
            self.options.deadline.as_secs_f32()
        );
        error
    }
}

fn too_late(deadline: Duration) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("no answer within {} s", deadline.as_secs_f32()),
    )
    .with_hint(
        "the request may have been carried out; repeat it with the same request id to find out",
    )
}
