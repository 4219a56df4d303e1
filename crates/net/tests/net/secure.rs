//! Servers with TLS: who may call what, who may speak of what, and how one joins. Rows 2 to 5 and 8 of the attack table, where no
//! process is needed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use client::{Fixed, Kind, Options};
use contract::api::{self, ErrorReason};
use contract::ledger::{self as pb, command::Kind as Command};
use contract::link::{AttemptReport, Offer, PushFeedRequest, SynchronizeRequest};
use coordinator::{Answer, Refusal, Request};
use net::audit::{Event, EventKind};
use net::ports::{CoordinatorTls, Signing};
use net::{FeedLink, FeedLinkEvent, JoinError, Link, LinkEvent, PeerBlobs, PeerEvent, PeerLinks};
use pki::{
    Authority, Certificate, Credentials, Dialer, JoinToken, Key, Lifetimes, Principal, Role,
};
use tokio::sync::mpsc;

use super::blobs::{Assembled, wanted};
use super::support::host::{Host, MemoryBlobs, Server, serve_blobs_as};
use super::support::{ledgers, soon};

const COORDINATORS: &[Role] = &[Role::Coordinator];
const NODES: &[Role] = &[Role::Worker, Role::Coordinator];

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

/// A cluster `c` whose coordinator 1 is served by a host in memory.
struct Cluster {
    authority: Arc<Authority>,
    host: Arc<Host>,
    server: Server,
}

impl Cluster {
    async fn new() -> Self {
        let authority = Arc::new(Authority::found("c", now_s()).unwrap());
        let host = Host::new();
        let server = host
            .serve_secure(CoordinatorTls {
                credentials: credentials(&authority, Role::Coordinator, "1", 0),
                signing: Signing {
                    authority: authority.clone(),
                    lifetimes: Lifetimes::default(),
                },
            })
            .await;
        Self {
            authority,
            host,
            server,
        }
    }

    fn who(&self, role: Role, name: &str) -> Credentials {
        credentials(&self.authority, role, name, 0)
    }

    /// A client that gives up at the first failure.
    fn client(&self, credentials: Option<Credentials>) -> client::Client {
        let options = Options {
            deadline: Duration::ZERO,
            patience: Duration::ZERO,
            ..Options::default()
        };
        client::Client::with_credentials(Fixed::one(&self.server.address), options, credentials)
    }

    fn link(&self, credentials: &Credentials) -> (Link, mpsc::Receiver<LinkEvent>) {
        let dialer = Dialer::Tls(credentials.connector(COORDINATORS).unwrap());
        Link::open_by(dialer, vec![self.server.address.clone()])
    }

    /// What the audit trail was told of this kind.
    fn told(&self, kind: EventKind) -> Vec<Event> {
        let told = self.host.audited.lock().unwrap();
        told.iter()
            .filter(|event| event.kind == kind)
            .cloned()
            .collect()
    }

    fn addresses(&self) -> Vec<String> {
        vec![self.server.address.clone()]
    }
}

fn credentials(authority: &Authority, role: Role, name: &str, joined: u64) -> Credentials {
    let key = Key::generate().unwrap();
    let principal = Principal::new(authority.cluster(), role, name);
    let request = key.signing_request().unwrap();
    let lifetime = Duration::from_secs(3_600);
    let certificate = authority
        .sign(&request, &principal, joined, now_s(), lifetime)
        .unwrap();
    Credentials::new(authority.certificate(), &certificate, &key.der()).unwrap()
}

fn state(worker: &str, fences: &[ledger::Fence]) -> SynchronizeRequest {
    SynchronizeRequest {
        worker: worker.to_owned(),
        incarnation: 1,
        generation: 1,
        offer: Some(Offer::default()),
        attempts: fences
            .iter()
            .map(|fence| AttemptReport {
                fence: Some((*fence).into()),
                ..AttemptReport::default()
            })
            .collect(),
        ..SynchronizeRequest::default()
    }
}

/// Why a link was cut.
async fn cut(events: &mut mpsc::Receiver<LinkEvent>) -> Refusal {
    loop {
        if let LinkEvent::Disconnected { refusal } = soon(events.recv()).await.unwrap() {
            return refusal;
        }
    }
}

/// Attack 4: a role calls what is not its own.
#[tokio::test]
async fn a_role_calls_what_is_its_own_and_nothing_else() {
    let cluster = Cluster::new().await;
    let before = cluster.host.ledger().state_hash();
    let status = |credentials| {
        let client = cluster.client(credentials);
        async move { client.get_cluster(api::GetClusterRequest {}).await }
    };
    for role in [Role::User, Role::Admin, Role::Coordinator] {
        assert!(status(Some(cluster.who(role, "1"))).await.is_ok(), "{role}");
    }
    let nobody = status(None).await.unwrap_err();
    assert_eq!(nobody.kind, Kind::Unavailable, "it speaks no TLS: {nobody}");

    let worker = cluster.client(Some(cluster.who(Role::Worker, "w")));
    let submit = api::CancelExecutionRequest {
        name: "projects/p/executions/1".to_owned(),
        ..api::CancelExecutionRequest::default()
    };
    let refused = worker.cancel_execution(submit).await.unwrap_err();
    assert_eq!(refused.reason, Some(ErrorReason::NotPermitted));
    assert_eq!(
        refused.message,
        "shoal.v1.ExecutionService/CancelExecution needs the permission SUBMIT, which role worker does not have"
    );
    assert_eq!(refused.metadata["permission"], "SUBMIT");
    assert_eq!(refused.metadata["role"], "worker");
    let told = cluster.told(EventKind::AuthDenied);
    let method = "shoal.v1.ExecutionService/CancelExecution";
    let event = told.iter().find(|event| event.method == method).unwrap();
    assert_eq!(event.principal, "worker/w");
    assert_eq!(event.outcome, "NOT_PERMITTED");
    assert!(event.source.starts_with("127.0.0.1:"), "{event:?}");
    assert_eq!(event.certificate.len(), 32, "{event:?}");
    for role in [Role::User, Role::Worker, Role::Coordinator] {
        let client = cluster.client(Some(cluster.who(role, "1")));
        let refused = client.list_tokens(api::ListTokensRequest::default()).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, Kind::Denied, "{role}: {refused}");
        assert_eq!(refused.metadata["permission"], "ADMINISTER");
    }
    let admin = cluster.client(Some(cluster.who(Role::Admin, "root")));
    assert!(
        admin
            .list_tokens(api::ListTokensRequest::default())
            .await
            .is_ok()
    );
    assert_eq!(cluster.host.ledger().state_hash(), before);
}

/// Attack 8: who speaks between coordinators is a coordinator, and the one it says.
#[tokio::test]
async fn only_a_member_speaks_as_that_member() {
    let cluster = Cluster::new().await;
    let sender = |credentials: Credentials| net::Sender {
        cluster_id: "c".to_owned(),
        member_id: 2,
        address: "127.0.0.1:9".to_owned(),
        holds: net::Holds::default(),
        dialer: Dialer::Tls(credentials.connector(COORDINATORS).unwrap()),
        feature_level: 0,
    };
    for (role, name, words) in [
        (
            Role::Coordinator,
            "3",
            "coordinator/3 must not speak as member 2",
        ),
        (Role::Worker, "2", "needs the permission PEER"),
        (Role::Admin, "root", "needs the permission PEER"),
    ] {
        let sender = sender(cluster.who(role, name));
        let refused = net::hello(&sender, 1, &cluster.server.address).await;
        let refused = refused.unwrap_err();
        assert!(refused.message.contains(words), "{refused}");
        let (events, mut told) = mpsc::unbounded_channel();
        let mut links = PeerLinks::new(sender, move |event| drop(events.send(event)));
        links.meet(1, &cluster.server.address);
        loop {
            links.send(1, Default::default(), Bytes::from_static(b"raft"));
            let event = soon(told.recv()).await.unwrap();
            if matches!(event, PeerEvent::Unreachable { .. }) {
                break;
            }
        }
    }
    let mut from_peers = cluster.host.from_peers.lock().await;
    assert!(from_peers.try_recv().is_err(), "nothing reached the host");
    let told = cluster.told(EventKind::AuthDenied);
    for principal in ["coordinator/3", "worker/2", "user/root"] {
        let of = |event: &&Event| event.principal == principal;
        assert!(told.iter().any(|event| of(&event)), "{principal}: {told:?}");
    }

    let sender = sender(cluster.who(Role::Coordinator, "2"));
    assert!(
        net::hello(&sender, 1, &cluster.server.address)
            .await
            .is_ok()
    );
    let mut links = PeerLinks::new(sender, |_| {});
    links.meet(1, &cluster.server.address);
    let message = loop {
        links.send(1, Default::default(), Bytes::from_static(b"raft"));
        let arrived = tokio::time::timeout(Duration::from_millis(50), from_peers.recv()).await;
        if let Ok(Some((from, _, message))) = arrived {
            assert_eq!(from, 2);
            break message;
        }
    };
    assert_eq!(message, &b"raft"[..]);
}

/// Attack 5: a worker speaks for itself only, and of its own attempts.
#[tokio::test]
async fn a_worker_speaks_under_its_own_name_of_its_own_attempts() {
    let cluster = Cluster::new().await;
    let host = &cluster.host;
    host.apply(vec![ledgers::worker("other", "127.0.0.1:2")]);
    host.apply(vec![ledgers::create_execution("one")]);
    host.apply(vec![ledgers::create_execution("two")]);
    host.apply(vec![ledgers::assign(1, "w"), ledgers::assign(2, "other")]);
    let (own, foreign) = (host.fence(1), host.fence(2));
    let before = host.ledger().state_hash();
    let worker = cluster.who(Role::Worker, "w");

    let (link, mut events) = cluster.link(&worker);
    link.report(state("other", &[]));
    let refusal = cut(&mut events).await;
    assert_eq!(refusal.reason, ErrorReason::NotPermitted);
    assert_eq!(refusal.message, "worker/w must not speak as worker other");

    let (link, mut events) = cluster.link(&worker);
    link.report(state("w", &[own, foreign]));
    let refusal = cut(&mut events).await;
    assert_eq!(refusal.reason, ErrorReason::NotPermitted);
    assert_eq!(refusal.message, "attempt not assigned to you");

    let (link, mut events) = cluster.link(&worker);
    link.report(state("w", &[own]));
    assert_eq!(soon(events.recv()).await.unwrap(), LinkEvent::Connected);
    let dialer = Dialer::Tls(worker.connector(COORDINATORS).unwrap());
    let (_way, mut events) = FeedLink::open_by(dialer, cluster.server.address.clone());
    let Some(FeedLinkEvent::Connected(pushes)) = soon(events.recv()).await else {
        panic!("its own feeds find a way")
    };
    pushes.push(PushFeedRequest {
        fence: Some(foreign.into()),
        ..PushFeedRequest::default()
    });
    let cut = soon(events.recv()).await;
    assert!(matches!(cut, Some(FeedLinkEvent::Disconnected)), "{cut:?}");
    assert_eq!(host.ledger().state_hash(), before);
    let told = cluster.told(EventKind::AuthDenied);
    for (message, method) in [
        ("worker/w must not speak as worker other", "Synchronize"),
        ("attempt not assigned to you", "Synchronize"),
        ("attempt not assigned to you", "PushFeed"),
    ] {
        let of = |event: &&Event| event.message == message && event.method.ends_with(method);
        assert!(
            told.iter().any(|event| of(&event)),
            "{message}, {method}: {told:?}"
        );
    }
}

/// Attack 3: a revoked certificate opens nothing, and what it has open is closed.
#[tokio::test]
async fn what_is_revoked_is_refused_and_closed() {
    let cluster = Cluster::new().await;
    let worker = credentials(&cluster.authority, Role::Worker, "w", 1);
    let user = cluster.client(Some(credentials(&cluster.authority, Role::User, "ann", 1)));
    let status = || user.get_cluster(api::GetClusterRequest {});
    assert!(status().await.is_ok());
    let (link, mut events) = cluster.link(&worker);
    link.report(state("w", &[]));
    assert_eq!(soon(events.recv()).await.unwrap(), LinkEvent::Connected);

    let revoke = |principal: &str| {
        Command::RevokePrincipal(pb::RevokePrincipal {
            request: Some(pb::RequestKey {
                request_id: vec![7; 16].into(),
                digest: vec![7; 32].into(),
            }),
            principal: principal.to_owned(),
        })
    };
    cluster
        .host
        .apply(vec![revoke("worker/w"), revoke("user/ann")]);
    // At once for calls, also on the connection that is open.
    let refused = status().await.unwrap_err();
    let told = cluster.told(EventKind::AuthDenied);
    assert_eq!(told[0].principal, "user/ann");
    assert_eq!(told[0].outcome, "UNAUTHENTICATED");
    assert_eq!(refused.reason, Some(ErrorReason::Unauthenticated));
    assert_eq!(refused.message, "the certificate of user/ann was revoked");
    // The link is one call that goes on: it is closed with its connection.
    cut(&mut events).await;
    // Who joined later is somebody else.
    let again = credentials(&cluster.authority, Role::User, "ann", 1_000);
    let again = cluster.client(Some(again));
    assert!(again.get_cluster(api::GetClusterRequest {}).await.is_ok());
}

#[tokio::test]
async fn a_token_becomes_a_certificate_that_renews() {
    let cluster = Cluster::new().await;
    let token = JoinToken::generate(cluster.authority.digest().unwrap()).unwrap();
    let (secret, id) = (token.secret_digest(), token.id.clone());
    cluster.host.answer(move |request| match request {
        Request::UseToken(token) if token.token_id == id && token.secret_digest == secret => {
            Ok(Answer::Joined { index: 41 })
        }
        Request::AddMember { address, .. } if address == "10.0.0.2:1" => {
            Ok(Answer::Member { member_id: 5 })
        }
        _ => Err(Refusal::new(ErrorReason::JoinDenied, "join token unknown")),
    });
    let addresses = cluster.addresses();
    let key = Key::generate().unwrap();
    let request = key.signing_request().unwrap();
    let answer = net::join_worker(&addresses, &token, &request, "gpu-1")
        .await
        .unwrap();
    assert_eq!(answer.ca_certificate, cluster.authority.certificate());
    let read = Certificate::read(&answer.certificate).unwrap();
    assert_eq!(read.principal.uri(), "spiffe://c/worker/gpu-1");
    assert_eq!(read.joined, 41);
    let told = cluster.told(EventKind::Joined);
    assert_eq!(told[0].principal, "worker/gpu-1");
    assert_eq!(told[0].object, format!("tokens/{}", token.id));
    assert_eq!(told[0].outcome, "OK");

    let current =
        Credentials::new(&answer.ca_certificate, &answer.certificate, &key.der()).unwrap();
    let next = Key::generate().unwrap();
    let request = next.signing_request().unwrap();
    let renewed = net::renew(&addresses, &current, &request).await.unwrap();
    let renewed_as = Certificate::read(&renewed).unwrap();
    assert_eq!(renewed_as.principal, read.principal, "who it is, it stays");
    assert_eq!(renewed_as.joined, 41, "and so does since when");
    current.replace(&renewed, &next.der()).unwrap();

    let request = key.signing_request().unwrap();
    let joined = net::join_coordinator(&addresses, &token, &request, "10.0.0.2:1", 0);
    let joined = joined.await.unwrap();
    assert_eq!((joined.member_id, joined.cluster_id.as_str()), (5, "c"));
    let read = Certificate::read(&joined.certificate).unwrap();
    assert_eq!(read.principal.member_id(), Some(5));
    let again = Authority::load(joined.ca_certificate.to_vec(), &joined.ca_key).unwrap();
    assert_eq!(again.digest(), cluster.authority.digest());

    // Who asks for a name that is none, or has no key, gets nothing.
    let bad = net::join_worker(&addresses, &token, &request, "../x").await;
    assert!(
        matches!(bad, Err(JoinError::Refused(refusal)) if refusal.reason == ErrorReason::InvalidField)
    );
    let bad = net::join_worker(&addresses, &token, b"no request", "gpu-1").await;
    assert!(
        matches!(bad, Err(JoinError::Refused(refusal)) if refusal.reason == ErrorReason::InvalidField)
    );
}

/// Attack 2: guessing is slow.
#[tokio::test]
async fn after_five_failures_nobody_is_asked() {
    let cluster = Cluster::new().await;
    cluster.host.answer(|_| {
        Err(Refusal::new(
            ErrorReason::JoinDenied,
            "join token already used",
        ))
    });
    let token = JoinToken::generate(cluster.authority.digest().unwrap()).unwrap();
    let request = Key::generate().unwrap().signing_request().unwrap();
    let addresses = cluster.addresses();
    let mut reasons = Vec::new();
    for _ in 0..7 {
        let refused = net::join_worker(&addresses, &token, &request, "w").await;
        let Err(JoinError::Refused(refusal)) = refused else {
            panic!("{refused:?}")
        };
        reasons.push(refusal.reason);
    }
    use ErrorReason::{JoinDenied, LimitExceeded};
    let expected = [[JoinDenied; 5].as_slice(), &[LimitExceeded; 2]].concat();
    assert_eq!(reasons, expected);
    assert_eq!(cluster.told(EventKind::JoinDenied).len(), 5);
}

/// Bytes go from node to node by the same certificates, and to nobody without one.
#[tokio::test]
async fn workers_give_blobs_to_nodes_of_the_cluster_only() {
    let (ours, theirs) = (
        Authority::found("c", now_s()).unwrap(),
        Authority::found("c", now_s()).unwrap(),
    );
    let content = Bytes::from_static(b"bytes");
    let blobs = Arc::new(MemoryBlobs::default());
    blobs.insert(&content);
    let server = serve_blobs_as(blobs, Some(credentials(&ours, Role::Worker, "w", 0))).await;
    let fetch = async |dialer: Dialer| {
        let mut sink = Assembled::default();
        let peers = PeerBlobs::default().by(dialer);
        let fetched = peers.fetch(wanted(&content, &[&server.address]), &mut sink);
        soon(fetched).await.map_err(|error| error.to_string())
    };
    let by = |authority: &Authority, role| {
        let credentials = credentials(authority, role, "2", 0);
        Dialer::Tls(credentials.connector(NODES).unwrap())
    };
    for role in [Role::Worker, Role::Coordinator, Role::User] {
        assert!(fetch(by(&ours, role)).await.is_ok(), "{role}");
    }
    let words = fetch(by(&theirs, Role::Worker)).await.unwrap_err();
    assert!(words.contains("another cluster"), "{words}");
    assert!(fetch(Dialer::Plain).await.is_err());
}
