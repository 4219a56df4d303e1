//! The server of a coordinator, and that of a worker: which services they have, and the limits they keep.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use contract::api::blob_service_server::BlobServiceServer;
use contract::api::cluster_service_server::ClusterServiceServer;
use contract::api::data_service_server::DataServiceServer;
use contract::api::execution_service_server::ExecutionServiceServer;
use contract::api::join_service_server::JoinServiceServer;
use contract::api::log_service_server::LogServiceServer;
use contract::api::pipeline_service_server::PipelineServiceServer;
use contract::api::token_service_server::TokenServiceServer;
use contract::api::worker_service_server::WorkerServiceServer;
use contract::link::worker_link_service_server::WorkerLinkServiceServer;
use contract::peer::peer_service_server::PeerServiceServer;
use ledger::Ledger;
use pki::{Clients, Credentials, TlsAcceptor};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::audit::{Audit, Audited, Trail};
use crate::context::Context;
use crate::endpoint;
use crate::gate::{Gate, Guard};
use crate::meter::Meter;
use crate::panic::CatchPanic;
use crate::ports::{
    Blobs, Calls, CoordinatorTls, FeedReader, FeedStore, FreshReads, Members, Mutations, Sessions,
    Sources, Surroundings,
};
use crate::secure::{Open, accept};
use crate::services::blob::BlobEnd;
use crate::services::cluster::Cluster;
use crate::services::data::Data;
use crate::services::execution::Executions;
use crate::services::join::{Failures, Joining};
use crate::services::log::Logs;
use crate::services::peer::Peers;
use crate::services::pipeline::Pipelines;
use crate::services::token::Tokens;
use crate::services::worker::Workers;
use crate::services::worker_link::WorkerLink;

/// Most bytes of a message, in and out.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Most bytes of a message between coordinators: a Raft entry travels whole.
pub(crate) const MAX_PEER_MESSAGE: usize = 20 << 20;

/// How long calls may take to end once the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// What a coordinator's services read from and write to.
#[derive(Clone)]
pub struct CoordinatorParts {
    /// Takes mutations.
    pub mutations: Arc<dyn Mutations>,
    /// The newest ledger that was published.
    pub ledgers: watch::Receiver<Ledger>,
    /// Answers fresh reads.
    pub fresh: Arc<dyn FreshReads>,
    /// Takes what other members of the group say.
    pub members: Arc<dyn Members>,
    /// What is known beside the ledger.
    pub surroundings: Arc<dyn Surroundings>,
    /// Reads feeds.
    pub feeds: Arc<dyn FeedReader>,
    /// Stores feeds.
    pub feed_store: Arc<dyn FeedStore>,
    /// Takes what workers say.
    pub sessions: Arc<dyn Sessions>,
    /// The blobs of source trees.
    pub blobs: Arc<dyn Blobs>,
    /// Keeps source trees that other coordinators have.
    pub sources: Arc<dyn Sources>,
    /// Counts calls, where somebody wants to know.
    pub calls: Option<Arc<dyn Calls>>,
    /// Who changed what, and who was denied; told only with TLS, where callers have names.
    pub audit: Option<Arc<dyn Audit>>,
    /// TLS; without it everybody who reaches the port may call everything.
    pub tls: Option<CoordinatorTls>,
}

/// A server that could not go on.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The sockets failed.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] pki::PkiError),
    /// The contract's own descriptors cannot be served.
    #[error("the contract cannot be described: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves a coordinator: the public API, the workers' link, health and reflection. Returns once `shutdown` is ready and the
/// calls in progress have ended, streams by saying that the node stops; what takes longer is cut.
///
/// # Errors
/// [`ServeError`] when it cannot serve.
pub async fn serve_coordinator(
    listener: TcpListener,
    parts: CoordinatorParts,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let stopping = CancellationToken::new();
    let gate = Gate::new(Some(parts.ledgers.clone()));
    let security = match &parts.tls {
        None => None,
        Some(tls) => Some(Security::new(
            &tls.credentials,
            Clients::MayJoin,
            gate,
            parts.audit,
        )?),
    };
    let signing = parts.tls.map(|tls| tls.signing);
    let ledgers = parts.ledgers.clone();
    let context = Context {
        mutations: Arc::new(Audited(parts.mutations)),
        ledgers: parts.ledgers,
        fresh: parts.fresh,
        surroundings: parts.surroundings,
        feeds: parts.feeds.clone(),
        stopping: stopping.clone(),
    };
    let link = WorkerLink {
        sessions: parts.sessions,
        feeds: parts.feed_store,
        ledgers,
        stopping: stopping.clone(),
    };
    let blobs = BlobEnd {
        blobs: parts.blobs,
        stopping: stopping.clone(),
    };
    let peers = Peers::new(parts.members, parts.feeds, parts.sources, stopping.clone());
    let mut routes = common().await?;
    /// Adds a service with the limits that all of them keep.
    macro_rules! add {
        ($($server:ident($service:expr)),* $(,)?) => {
            $(routes = routes.add_service(
                $server::new($service).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE),
            );)*
        };
    }
    add!(
        PipelineServiceServer(Pipelines(context.clone())),
        ExecutionServiceServer(Executions(context.clone())),
        LogServiceServer(Logs(context.clone())),
        DataServiceServer(Data(context.clone())),
        WorkerServiceServer(Workers(context.clone())),
        ClusterServiceServer(Cluster(context.clone())),
        TokenServiceServer(Tokens {
            context: context.clone(),
            signing: signing.clone(),
        }),
        WorkerLinkServiceServer(link),
        BlobServiceServer(blobs),
    );
    add!(JoinServiceServer(Joining {
        context,
        signing,
        failures: Failures::default(),
    }));
    routes = routes.add_service(
        PeerServiceServer::new(peers)
            .max_decoding_message_size(MAX_PEER_MESSAGE)
            .max_encoding_message_size(MAX_PEER_MESSAGE),
    );
    serve(
        listener,
        security,
        Meter(parts.calls),
        endpoint::server(false),
        routes,
        stopping,
        shutdown,
    )
    .await
}

/// Serves a worker: its blobs, health and reflection, on a connection tuned for bytes. Ends as [`serve_coordinator`] does.
///
/// # Errors
/// [`ServeError`] when it cannot serve.
pub async fn serve_worker(
    listener: TcpListener,
    blobs: Arc<dyn Blobs>,
    calls: Option<Arc<dyn Calls>>,
    credentials: Option<Credentials>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let stopping = CancellationToken::new();
    let security = match &credentials {
        None => None,
        Some(credentials) => {
            let gate = Gate::new(None);
            Some(Security::new(credentials, Clients::Known, gate, None)?)
        }
    };
    let service = BlobServiceServer::new(BlobEnd {
        blobs,
        stopping: stopping.clone(),
    });
    let service = service
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let routes = common().await?.add_service(service);
    serve(
        listener,
        security,
        Meter(calls),
        endpoint::server(true),
        routes,
        stopping,
        shutdown,
    )
    .await
}

/// Health and reflection.
async fn common() -> Result<Routes, ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(contract::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok(Routes::new(health).add_service(reflection))
}

/// How a server with TLS knows who calls.
struct Security {
    acceptor: TlsAcceptor,
    /// Who is told of what is changed and denied.
    trail: Option<Arc<Trail>>,
    gate: Arc<Gate>,
}

impl Security {
    fn new(
        credentials: &Credentials,
        clients: Clients,
        gate: Arc<Gate>,
        audit: Option<Arc<dyn Audit>>,
    ) -> Result<Self, ServeError> {
        let config = credentials.server_config(clients)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(config),
            trail: audit.map(Trail::new),
            gate,
        })
    }
}

/// A server at work.
type Serving = Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>> + Send>>;

async fn serve(
    listener: TcpListener,
    security: Option<Security>,
    meter: Meter,
    builder: Server,
    routes: Routes,
    stopping: CancellationToken,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let stopped = stopping.clone().cancelled_owned();
    let gate = security.as_ref().map(|security| security.gate.clone());
    let trail = security
        .as_ref()
        .and_then(|security| security.trail.clone());
    let router = builder
        .layer(meter)
        .layer(Guard { gate, trail })
        .layer(CatchPanic)
        .add_routes(routes);
    let mut serving: Serving = match security {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Box::pin(router.serve_with_incoming_shutdown(incoming, stopped))
        }
        Some(Security {
            acceptor,
            trail,
            gate,
        }) => {
            let open = Arc::new(Open::default());
            let incoming = accept(listener, acceptor, open.clone(), trail);
            let serving = router.serve_with_incoming_shutdown(incoming, stopped);
            Box::pin(async move {
                tokio::select! {
                    served = serving => served,
                    never = open.sweep(&gate) => match never {},
                }
            })
        }
    };
    tokio::select! {
        served = &mut serving => return Ok(served?),
        () = shutdown => stopping.cancel(),
    }
    match tokio::time::timeout(GRACE, serving).await {
        Ok(served) => Ok(served?),
        Err(_) => Ok(()),
    }
}
