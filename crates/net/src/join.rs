//! The joiner's side: a token becomes a certificate, and a certificate the next one.

use std::future::Future;
use std::time::Duration;

use contract::api;
use contract::api::ErrorReason;
use contract::api::join_service_client::JoinServiceClient;
use coordinator::Refusal;
use pki::{Connector, Credentials, DialError, Dialer, JoinToken, Role};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::endpoint::{self, Use, dial_error};
use crate::status::refusal;

/// How long to try while no coordinator can be reached or none leads.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait between two rounds of addresses.
const WAIT: Duration = Duration::from_millis(200);

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JoinError {
    /// No connection to a coordinator that can be trusted.
    #[error("{address}: {error}")]
    Dial {
        /// Which was tried last.
        address: String,
        /// Why not.
        error: DialError,
    },
    /// The cluster refused.
    #[error("{0}")]
    Refused(Refusal),
}

/// Joins as a worker: gives the answer to a signing request (PKCS #10, DER). The token's secret is sent to nobody but a
/// coordinator of the token's cluster.
///
/// # Errors
/// [`JoinError`].
pub async fn join_worker(
    addresses: &[String],
    token: &JoinToken,
    signing_request: &[u8],
    worker: &str,
) -> Result<api::JoinWorkerResponse, JoinError> {
    let request = api::JoinWorkerRequest {
        credentials: Some(credentials(token, signing_request)),
        worker: worker.to_owned(),
    };
    let ask = |mut client: Client| {
        let request = request.clone();
        async move { client.join_worker(limited(request)).await }
    };
    follow(addresses, &pinned(token)?, ask).await
}

/// Joins as a coordinator that others reach at `address`, and that knows rules up to `feature_level`.
///
/// # Errors
/// [`JoinError`].
pub async fn join_coordinator(
    addresses: &[String],
    token: &JoinToken,
    signing_request: &[u8],
    address: &str,
    feature_level: u32,
) -> Result<api::JoinCoordinatorResponse, JoinError> {
    let request = api::JoinCoordinatorRequest {
        credentials: Some(credentials(token, signing_request)),
        address: address.to_owned(),
        feature_level: feature_level.cast_signed(),
    };
    let ask = |mut client: Client| {
        let request = request.clone();
        async move { client.join_coordinator(limited(request)).await }
    };
    follow(addresses, &pinned(token)?, ask).await
}

/// Joins as a user or an administrator, as the token says.
///
/// # Errors
/// [`JoinError`].
pub async fn join_user(
    addresses: &[String],
    token: &JoinToken,
    signing_request: &[u8],
) -> Result<api::JoinUserResponse, JoinError> {
    let request = api::JoinUserRequest {
        credentials: Some(credentials(token, signing_request)),
    };
    let ask = |mut client: Client| {
        let request = request.clone();
        async move { client.join_user(limited(request)).await }
    };
    follow(addresses, &pinned(token)?, ask).await
}

/// Gets a new certificate of the same principal for a signing request.
///
/// # Errors
/// [`JoinError`].
pub async fn renew(
    addresses: &[String],
    current: &Credentials,
    signing_request: &[u8],
) -> Result<Vec<u8>, JoinError> {
    let connector = current.connector(&[Role::Coordinator]).map_err(fault)?;
    let request = api::RenewCertificateRequest {
        signing_request: bytes::Bytes::copy_from_slice(signing_request),
    };
    let ask = |mut client: Client| {
        let request = request.clone();
        async move { client.renew_certificate(limited(request)).await }
    };
    let renewed = follow(addresses, &Dialer::Tls(connector), ask).await?;
    Ok(renewed.certificate.to_vec())
}

type Client = JoinServiceClient<Channel>;

fn credentials(token: &JoinToken, signing_request: &[u8]) -> api::JoinCredentials {
    api::JoinCredentials {
        token_id: token.id.clone(),
        secret: bytes::Bytes::copy_from_slice(&token.secret),
        signing_request: bytes::Bytes::copy_from_slice(signing_request),
    }
}

fn pinned(token: &JoinToken) -> Result<Dialer, JoinError> {
    Ok(Dialer::Tls(
        Connector::pinned(token.ca_digest).map_err(fault)?,
    ))
}

fn limited<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}

fn fault(error: pki::PkiError) -> JoinError {
    JoinError::Refused(Refusal::new(ErrorReason::InternalFault, error.to_string()))
}

/// Asks one coordinator after the other, and the leader where one says who leads, until there is an answer, a refusal that
/// another would repeat, or no more patience. Every join may be repeated: it carries the same key.
async fn follow<T, Answer>(
    addresses: &[String],
    dialer: &Dialer,
    ask: impl Fn(Client) -> Answer,
) -> Result<T, JoinError>
where
    Answer: Future<Output = Result<Response<T>, Status>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut leader: Option<String> = None;
    let mut next = 0;
    loop {
        let address = match leader.take() {
            Some(leader) => leader,
            None => {
                next += 1;
                let at = (next - 1) % addresses.len().max(1);
                addresses.get(at).cloned().unwrap_or_default()
            }
        };
        let (error, is_final) = match once(&address, dialer, &ask).await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Dial(error)) => {
                let is_final = error.is_final();
                (JoinError::Dial { address, error }, is_final)
            }
            Err(Failure::Status(status)) => {
                let refusal = refusal(&status);
                let passing = matches!(
                    refusal.reason,
                    ErrorReason::NotLeader
                        | ErrorReason::NoQuorum
                        | ErrorReason::NotReady
                        | ErrorReason::OutcomeUnknown
                );
                let told = refusal.metadata.get("leader").cloned();
                leader = told.filter(|leader| !leader.is_empty() && *leader != address);
                (JoinError::Refused(refusal), !passing)
            }
        };
        if is_final || Instant::now() + WAIT >= deadline {
            return Err(error);
        }
        tracing::debug!(%error, "joining: trying again");
        if leader.is_none() {
            sleep(WAIT).await;
        }
    }
}

enum Failure {
    Dial(DialError),
    Status(Status),
}

async fn once<T, Answer>(
    address: &str,
    dialer: &Dialer,
    ask: &impl Fn(Client) -> Answer,
) -> Result<T, Failure>
where
    Answer: Future<Output = Result<Response<T>, Status>>,
{
    let unreachable = |error: tonic::transport::Error| Failure::Dial(dial_error(&error));
    let channel = endpoint::connect(address, Use::Link, dialer)
        .await
        .map_err(unreachable)?;
    match ask(JoinServiceClient::new(channel)).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(match pki::handshake_refused(&status) {
            Some(why) => Failure::Dial(DialError::Untrusted(why)),
            None => Failure::Status(status),
        }),
    }
}
