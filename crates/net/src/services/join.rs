//! `JoinService`: tokens become certificates.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contract::api::join_service_server::JoinService;
use contract::api::{self, ErrorReason, TokenRole};
use coordinator::{Answer, Refusal, TokenUse, names};
use pki::{Authority, PkiError, Principal, Role};
use tokio::time::Instant;
use tonic::{Request, Response, Status, async_trait};
use uuid::Uuid;

use crate::context::{Context, checked};
use crate::gate::now_s;
use crate::ports::Signing;
use crate::secure::Caller;
use crate::status::status;

/// How many joins from one address may fail within [`WINDOW`] before it has to wait.
const MAX_FAILURES: u32 = 5;

/// The time in which they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How many addresses are remembered at once.
const MAX_SOURCES: usize = 10_000;

pub(crate) struct Joining {
    pub(crate) context: Context,
    /// What certificates are signed with; nothing on a cluster without TLS.
    pub(crate) signing: Option<Signing>,
    pub(crate) failures: Failures,
}

#[async_trait]
impl JoinService for Joining {
    async fn join_worker(
        &self,
        request: Request<api::JoinWorkerRequest>,
    ) -> Result<Response<api::JoinWorkerResponse>, Status> {
        let source = source(&request);
        let request = checked(request)?;
        let source = source?;
        names::principal("worker", &request.worker).map_err(status)?;
        let (credentials, name) = (request.credentials.unwrap_or_default(), request.worker);
        let joined = self
            .join(source, &credentials, TokenRole::Worker, &name)
            .await?;
        let certificate = self.sign(&credentials, Role::Worker, &name, joined)?;
        tracing::warn!(%source, "worker/{name} joined with token {}", credentials.token_id);
        Ok(Response::new(api::JoinWorkerResponse {
            certificate: certificate.into(),
            ca_certificate: self.authority_certificate()?,
        }))
    }

    async fn join_coordinator(
        &self,
        request: Request<api::JoinCoordinatorRequest>,
    ) -> Result<Response<api::JoinCoordinatorResponse>, Status> {
        let source = source(&request);
        let request = checked(request)?;
        let source = source?;
        let credentials = request.credentials.unwrap_or_default();
        let joined = self
            .join(source, &credentials, TokenRole::Coordinator, "")
            .await?;
        // The same for every repeat with this token, so that a lost answer admits nobody twice.
        let mut id = [0; 16];
        id.copy_from_slice(&pki::sha256(credentials.token_id.as_bytes())[..16]);
        let add = coordinator::Request::AddMember {
            request_id: Uuid::from_bytes(id).to_string(),
            address: request.address,
            feature_level: request.feature_level.max(0).cast_unsigned(),
        };
        let answer = self.context.mutations.request(add).await;
        let Answer::Member { member_id } = answer.map_err(status)? else {
            return Err(status(Refusal::new(
                ErrorReason::InternalFault,
                "a member was not admitted, and not refused",
            )));
        };
        let name = member_id.to_string();
        let certificate = self.sign(&credentials, Role::Coordinator, &name, joined)?;
        tracing::warn!(%source, "coordinator/{name} joined with token {}", credentials.token_id);
        let authority = &self.signing()?.authority;
        Ok(Response::new(api::JoinCoordinatorResponse {
            certificate: certificate.into(),
            ca_certificate: self.authority_certificate()?,
            ca_key: authority.key().into(),
            cluster_id: authority.cluster().to_owned(),
            member_id: i64::try_from(member_id).unwrap_or(i64::MAX),
        }))
    }

    async fn join_user(
        &self,
        request: Request<api::JoinUserRequest>,
    ) -> Result<Response<api::JoinUserResponse>, Status> {
        let source = source(&request);
        let credentials = checked(request)?.credentials.unwrap_or_default();
        let source = source?;
        // What the user will be is said by the token. One that is not known here is refused by the ledger.
        let ledger = self.context.ledger();
        let (role, name) = match ledger.token(&credentials.token_id) {
            Some(token) => (token.role, token.name.to_string()),
            None => (TokenRole::User, String::new()),
        };
        let (asked, role) = match role {
            TokenRole::Admin => (TokenRole::Admin, Role::Admin),
            _ => (TokenRole::User, Role::User),
        };
        let joined = self.join(source, &credentials, asked, &name).await?;
        let certificate = self.sign(&credentials, role, &name, joined)?;
        tracing::warn!(%source, "user/{name} joined as {role} with token {}", credentials.token_id);
        Ok(Response::new(api::JoinUserResponse {
            certificate: certificate.into(),
            ca_certificate: self.authority_certificate()?,
        }))
    }

    async fn renew_certificate(
        &self,
        request: Request<api::RenewCertificateRequest>,
    ) -> Result<Response<api::RenewCertificateResponse>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let request = checked(request)?;
        // The gate has let nobody else in.
        let current = caller
            .and_then(|caller| caller.certificate)
            .ok_or_else(|| {
                let words = "only who has a certificate can renew it";
                status(Refusal::new(ErrorReason::Unauthenticated, words))
            })?;
        let certificate = self.signed(
            "signing_request",
            &request.signing_request,
            &current.principal,
            current.joined,
        )?;
        tracing::info!("the certificate of {} was renewed", current.principal);
        Ok(Response::new(api::RenewCertificateResponse {
            certificate: certificate.into(),
        }))
    }
}

impl Joining {
    /// Uses the token up. Answers with the index at which it was.
    async fn join(
        &self,
        source: IpAddr,
        credentials: &api::JoinCredentials,
        role: TokenRole,
        name: &str,
    ) -> Result<u64, Status> {
        self.failures.check(source).map_err(status)?;
        let token = Authority::digest_of_request(&credentials.signing_request)
            .map(|key_digest| TokenUse {
                token_id: credentials.token_id.clone(),
                secret_digest: pki::sha256(&credentials.secret),
                role,
                name: name.to_owned(),
                key_digest,
            })
            .map_err(|error| malformed("credentials.signing_request", &error));
        let answer = match token {
            Ok(token) => {
                let request = coordinator::Request::UseToken(token);
                self.context.mutations.request(request).await
            }
            Err(refusal) => Err(refusal),
        };
        match answer {
            Ok(Answer::Joined { index }) => Ok(index),
            Ok(_) => Err(status(Refusal::new(
                ErrorReason::InternalFault,
                "a token was not used up, and not refused",
            ))),
            Err(refusal) => {
                if matches!(
                    refusal.reason,
                    ErrorReason::JoinDenied | ErrorReason::InvalidField
                ) {
                    tracing::warn!(%source, token = %credentials.token_id, "join denied: {}", refusal.message);
                    self.failures.count(source);
                }
                Err(status(refusal))
            }
        }
    }

    /// A certificate for who has just joined.
    fn sign(
        &self,
        credentials: &api::JoinCredentials,
        role: Role,
        name: &str,
        joined: u64,
    ) -> Result<Vec<u8>, Status> {
        let principal = Principal::new(self.signing()?.authority.cluster(), role, name);
        let request = &credentials.signing_request;
        self.signed("credentials.signing_request", request, &principal, joined)
    }

    fn signed(
        &self,
        field: &str,
        request: &[u8],
        principal: &Principal,
        joined: u64,
    ) -> Result<Vec<u8>, Status> {
        let signing = self.signing()?;
        let lifetime = signing.lifetimes.of(principal.role);
        signing
            .authority
            .sign(request, principal, joined, now_s(), lifetime)
            .map_err(|error| status(malformed(field, &error)))
    }

    fn signing(&self) -> Result<&Signing, Status> {
        self.signing.as_ref().ok_or_else(without_tls)
    }

    fn authority_certificate(&self) -> Result<bytes::Bytes, Status> {
        let certificate = self.signing()?.authority.certificate();
        Ok(bytes::Bytes::copy_from_slice(certificate))
    }
}

/// Nobody joins a cluster that tells nobody apart.
fn without_tls() -> Status {
    status(Refusal::new(
        ErrorReason::StateForbids,
        "this cluster runs without TLS: there is nothing to join with",
    ))
}

fn malformed(field: &str, error: &PkiError) -> Refusal {
    Refusal::invalid_field(field, error.to_string())
}

/// The address that a call comes from.
fn source<T>(request: &Request<T>) -> Result<IpAddr, Status> {
    match request.extensions().get::<Caller>() {
        Some(caller) => Ok(caller.remote.ip()),
        None => Err(without_tls()),
    }
}

/// Who has failed to join, and how often of late.
#[derive(Default)]
pub(crate) struct Failures {
    by_source: Mutex<BTreeMap<IpAddr, (Instant, u32)>>,
}

impl Failures {
    fn check(&self, source: IpAddr) -> Result<(), Refusal> {
        let failures = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match failures.get(&source) {
            Some((since, count)) if *count >= MAX_FAILURES && since.elapsed() < WINDOW => {
                Err(Refusal::new(
                    ErrorReason::LimitExceeded,
                    format!(
                        "{MAX_FAILURES} joins from {source} have failed within a minute; try again when it is over"
                    ),
                )
                .with("source", source.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn count(&self, source: IpAddr) {
        let mut failures = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_SOURCES {
            failures.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        let (since, count) = failures.entry(source).or_insert((Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
    }
}

/// SHA-256 of an authority's public key.
pub(crate) fn digest(signing: &Arc<Authority>) -> Result<[u8; 32], Refusal> {
    signing
        .digest()
        .map_err(|error| Refusal::new(ErrorReason::InternalFault, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_failures_a_minute_and_no_more() {
        let failures = Failures::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..MAX_FAILURES {
            assert!(failures.check(one).is_ok());
            failures.count(one);
        }
        let refused = failures.check(one).map_err(|refusal| refusal.reason);
        assert_eq!(refused, Err(ErrorReason::LimitExceeded));
        assert!(failures.check(other).is_ok(), "others are not concerned");
        tokio::time::advance(WINDOW).await;
        assert!(failures.check(one).is_ok(), "the minute is over");
        failures.count(one);
        assert!(failures.check(one).is_ok());
    }
}
