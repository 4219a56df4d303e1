//! Who may call what: the permission that the contract asks for an RPC, against the role in the caller's certificate.
//!
//! One layer before all services, on servers with TLS only: without it nobody has a name, and whoever reaches the port may call.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use contract::api::ErrorReason;
use contract::shoal::options::v1::Permission;
use coordinator::Refusal;
use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use ledger::Ledger;
use pki::Role;
use prost_reflect::{DescriptorPool, Value};
use tokio::sync::watch;
use tokio::task::futures::TaskLocalFuture;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::audit::{Call, Trail};
use crate::secure::Caller;
use crate::status::status;

/// Services that tell whether a node is well: anybody may ask.
const OPEN: &str = "/grpc.health.v1.Health/";

/// What reads everything there is: it is noted like a change.
const READ_ALL: [&str; 1] = ["/shoal.v1.ClusterService/ReadSnapshot"];

/// By path of an RPC: the permission that it asks for.
type Table = BTreeMap<String, Permission>;

static TABLE: LazyLock<Table> =
    LazyLock::new(|| match DescriptorPool::decode(contract::DESCRIPTORS) {
        Ok(pool) => table(&pool),
        Err(error) => unreachable!("the contract's own descriptors: {error}"),
    });

fn table(pool: &DescriptorPool) -> Table {
    let Some(permission) = pool.get_extension_by_name("shoal.options.v1.permission") else {
        unreachable!("the contract imports shoal/options/v1/options.proto")
    };
    let mut table = Table::new();
    for service in pool.services() {
        for method in service.methods() {
            let value = method.options().get_extension(&permission).into_owned();
            let Value::EnumNumber(number) = value else {
                continue;
            };
            let path = format!("/{}/{}", service.full_name(), method.name());
            table.insert(path, Permission::try_from(number).unwrap_or_default());
        }
    }
    table
}

/// Whether a role has a permission. What is not listed is denied.
fn may(role: Role, permission: Permission) -> bool {
    use Permission as P;
    match permission {
        P::View | P::Submit => matches!(role, Role::User | Role::Admin),
        P::Operate => matches!(role, Role::User | Role::Admin | Role::Coordinator),
        P::Work => role == Role::Worker,
        P::Peer => role == Role::Coordinator,
        P::Administer => role == Role::Admin,
        P::Join | P::Renew | P::Fetch => true,
        P::Unspecified => false,
    }
}

/// What a server knows of who may call.
#[derive(Clone)]
pub(crate) struct Gate {
    /// Whose certificates do not count any more; a server without a ledger does not know.
    ledger: Option<watch::Receiver<Ledger>>,
}

impl Gate {
    pub(crate) fn new(ledger: Option<watch::Receiver<Ledger>>) -> Arc<Self> {
        Arc::new(Self { ledger })
    }

    /// Whether a caller may make a call.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` or `NOT_PERMITTED`.
    fn admit(&self, path: &str, caller: Option<&Caller>) -> Result<(), Refusal> {
        let permission = TABLE.get(path).copied();
        if permission == Some(Permission::Join) || path.starts_with(OPEN) {
            return Ok(());
        }
        let method = path.trim_start_matches('/');
        let Some(caller) = caller.filter(|caller| caller.certificate.is_some()) else {
            return Err(Refusal::new(
                ErrorReason::Unauthenticated,
                format!(
                    "{method} needs a certificate of this cluster, and this connection has none"
                ),
            ));
        };
        if let Some(objection) = self.objection(caller) {
            return Err(Refusal::new(ErrorReason::Unauthenticated, objection)
                .with("principal", caller.name()));
        }
        let role = caller.role();
        match permission {
            // Reflection, and what does not exist: for all that have a certificate.
            None => Ok(()),
            Some(permission) if role.is_some_and(|role| may(role, permission)) => Ok(()),
            Some(permission) => {
                let permission = permission.as_str_name().trim_start_matches("PERMISSION_");
                let role = role.map_or("nobody", Role::as_str);
                Err(Refusal::new(
                    ErrorReason::NotPermitted,
                    format!(
                        "{method} needs the permission {permission}, which role {role} does not have"
                    ),
                )
                .with("method", method)
                .with("permission", permission)
                .with("role", role)
                .with("principal", caller.name()))
            }
        }
    }

    /// Why a certificate that was good at the handshake does not count now.
    pub(crate) fn objection(&self, caller: &Caller) -> Option<String> {
        let certificate = caller.certificate.as_ref()?;
        let ledger = self.ledger.as_ref().map(|ledger| ledger.borrow());
        if let Some(ledger) = ledger {
            if ledger.is_revoked(caller.name(), certificate.joined) {
                return Some(format!("the certificate of {} was revoked", caller.name()));
            }
            let member = certificate.principal.member_id();
            let removed = member
                .and_then(|member| ledger.member(member))
                .is_some_and(ledger::Member::is_removed);
            if removed {
                return Some(format!("{} was removed from the cluster", caller.name()));
            }
        }
        // Machines renew theirs and keep their connections; a person comes back with a new one.
        match certificate.principal.role {
            Role::Coordinator | Role::Worker => None,
            Role::User | Role::Admin => certificate.objection(now_s()),
        }
    }
}

/// Seconds of Unix time.
pub(crate) fn now_s() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

/// Puts a gate before a service, where there is one, and notes for the audit trail, where there is one, who calls.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) trail: Option<Arc<Trail>>,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            guard: self.clone(),
            inner,
        }
    }
}

/// A service behind a gate.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        Either<TaskLocalFuture<Call, S::Future>, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        let call = Call::new(self.guard.trail.clone(), caller, request.uri());
        if let Some(gate) = &self.guard.gate
            && let Err(refusal) = gate.admit(request.uri().path(), caller)
        {
            tracing::warn!(
                caller = caller.map(Caller::name).unwrap_or_default(),
                source = %caller.map(Caller::source).unwrap_or_default(),
                "denied: {}",
                refusal.message
            );
            call.denied(&refusal);
            return Either::Right(ready(Ok(status(refusal).into_http())));
        }
        if READ_ALL.contains(&request.uri().path()) {
            call.admitted();
        }
        Either::Left(call.scope(self.inner.call(request)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    /// Every RPC by every role: a new RPC, or a new permission, must be thought of here.
    #[test]
    fn all_rpcs_and_all_roles() {
        let roles = [Role::Coordinator, Role::Worker, Role::User, Role::Admin];
        let mut grid = String::new();
        let mut lines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (path, permission) in &*TABLE {
            assert_ne!(*permission, Permission::Unspecified, "{path}");
            let allowed: Vec<&str> = roles
                .iter()
                .filter(|role| may(**role, *permission))
                .map(|role| role.as_str())
                .collect();
            let name = permission.as_str_name().trim_start_matches("PERMISSION_");
            lines.insert(name.to_owned(), allowed);
        }
        for (permission, allowed) in lines {
            grid += &format!("{permission}: {}\n", allowed.join(" "));
        }
        assert_eq!(
            grid,
            "ADMINISTER: admin\n\
             FETCH: coordinator worker user admin\n\
             JOIN: coordinator worker user admin\n\
             OPERATE: coordinator user admin\n\
             PEER: coordinator\n\
             RENEW: coordinator worker user admin\n\
             SUBMIT: user admin\n\
             VIEW: user admin\n\
             WORK: worker\n"
        );
        assert!(TABLE.len() > 35, "{}", TABLE.len());
    }

    #[test]
    fn every_rpc_has_a_permission() {
        let pool = DescriptorPool::decode(contract::DESCRIPTORS).unwrap();
        let ours = pool
            .services()
            .filter(|service| service.full_name().starts_with("shoal."));
        for method in ours.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            assert!(TABLE.contains_key(&path), "{path}");
        }
    }

    #[test]
    fn without_a_certificate_only_joining_and_health() {
        let gate = Gate::new(None);
        for (path, open) in [
            ("/shoal.v1.JoinService/JoinWorker", true),
            ("/shoal.v1.JoinService/JoinCoordinator", true),
            ("/shoal.v1.JoinService/JoinUser", true),
            ("/grpc.health.v1.Health/Check", true),
            ("/shoal.v1.JoinService/RenewCertificate", false),
            ("/shoal.v1.ClusterService/GetCluster", false),
            ("/shoal.peer.v1.PeerService/Exchange", false),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                false,
            ),
            ("/nobody.knows/It", false),
        ] {
            let admitted = gate.admit(path, None);
            assert_eq!(admitted.is_ok(), open, "{path}");
            if let Err(refusal) = admitted {
                assert_eq!(refusal.reason, ErrorReason::Unauthenticated);
            }
        }
    }
}
