//! Handshakes over real sockets: who is let in, who is not, and in which words.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pki::{
    Authority, Certificate, Clients, Connector, Credentials, DialError, Key, Principal, Role,
    TlsAcceptor, handshake_refused,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3_600);
const COORDINATORS: &[Role] = &[Role::Coordinator];
const PEERS: &[Role] = &[Role::Worker, Role::Coordinator];

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

/// An authority, and a way to get credentials of it.
struct Cluster(Authority);

impl Cluster {
    fn new(name: &str) -> Self {
        Self(Authority::found(name, now_s()).unwrap())
    }

    fn signed(&self, role: Role, name: &str, at_s: i64) -> (Vec<u8>, Vec<u8>) {
        let key = Key::generate().unwrap();
        let principal = Principal::new(self.0.cluster(), role, name);
        let request = key.signing_request().unwrap();
        let certificate = self.0.sign(&request, &principal, 7, at_s, HOUR).unwrap();
        (certificate, key.der())
    }

    fn credentials_at(&self, role: Role, name: &str, at_s: i64) -> Credentials {
        let (certificate, key) = self.signed(role, name, at_s);
        Credentials::new(self.0.certificate(), &certificate, &key).unwrap()
    }

    fn credentials(&self, role: Role, name: &str) -> Credentials {
        self.credentials_at(role, name, now_s())
    }
}

/// What a server that takes one connection saw of it.
struct Served {
    /// Who the client is, if it said.
    client: Option<Certificate>,
    /// What it said first.
    said: String,
}

/// Serves one connection: answers what it reads with `ok`.
async fn serve(
    credentials: &Credentials,
    clients: Clients,
) -> (String, JoinHandle<std::io::Result<Served>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = TlsAcceptor::from(credentials.server_config(clients).unwrap());
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = acceptor.accept(stream).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let chain = stream.get_ref().1.peer_certificates();
        let client = chain.map(|chain| Certificate::read(&chain[0]).unwrap());
        let mut said = [0; 5];
        stream.read_exact(&mut said).await?;
        stream.write_all(b"ok").await?;
        Ok(Served {
            client,
            said: String::from_utf8_lossy(&said).into_owned(),
        })
    });
    (address, served)
}

/// Says something and waits for the answer.
async fn speak(connector: Connector, address: &str) -> Result<String, DialError> {
    let mut stream = connector.connect(address).await?;
    let refused = |error: std::io::Error| {
        DialError::Handshake(handshake_refused(&error).expect("the server's TLS said why"))
    };
    stream.write_all(b"hello").await.map_err(refused)?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.map_err(refused)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn both_ends_know_who_the_other_is() {
    let cluster = Cluster::new("c");
    let server = cluster.credentials(Role::Coordinator, "1");
    let client = cluster.credentials(Role::Worker, "gpu-1");
    let (address, served) = serve(&server, Clients::Known).await;
    let answer = speak(client.connector(COORDINATORS).unwrap(), &address).await;
    assert_eq!(answer, Ok("ok".to_owned()));
    let client = served.await.unwrap().unwrap().client.unwrap();
    assert_eq!(client.principal.uri(), "spiffe://c/worker/gpu-1");
    assert_eq!(client.joined, 7);
    assert!(client.renewal_s() < client.end_s && client.renewal_s() > now_s());
}

#[tokio::test]
async fn who_joins_says_nothing_to_another_cluster() {
    let (ours, theirs) = (Cluster::new("c"), Cluster::new("c"));
    let server = theirs.credentials(Role::Coordinator, "1");
    let (address, served) = serve(&server, Clients::MayJoin).await;
    let expected = ours.0.digest().unwrap();
    let refused = speak(Connector::pinned(expected).unwrap(), &address).await;
    let Err(DialError::CaMismatch { .. }) = &refused else {
        panic!("{refused:?}")
    };
    let words = refused.unwrap_err().to_string();
    let pattern = format!(
        "CA hash mismatch: token expects {}, server has {}",
        hex::encode(expected),
        hex::encode(theirs.0.digest().unwrap())
    );
    assert_eq!(words, pattern);
    assert!(
        served.await.unwrap().is_err(),
        "the server saw a failed handshake and no word"
    );

    let server = ours.credentials(Role::Coordinator, "1");
    let (address, served) = serve(&server, Clients::MayJoin).await;
    let answer = speak(Connector::pinned(expected).unwrap(), &address).await;
    assert_eq!(answer, Ok("ok".to_owned()));
    let served = served.await.unwrap().unwrap();
    assert_eq!((served.client, served.said.as_str()), (None, "hello"));
}

#[tokio::test]
async fn a_worker_cannot_pass_for_a_coordinator() {
    let cluster = Cluster::new("c");
    let worker = cluster.credentials(Role::Worker, "w");
    for connector in [
        cluster
            .credentials(Role::User, "ann")
            .connector(COORDINATORS)
            .unwrap(),
        Connector::pinned(cluster.0.digest().unwrap()).unwrap(),
    ] {
        let (address, _served) = serve(&worker, Clients::MayJoin).await;
        let refused = speak(connector, &address).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the server is worker/w, not a coordinator"
        );
    }
    let (address, _served) = serve(&worker, Clients::Known).await;
    let user = cluster.credentials(Role::User, "ann");
    assert!(
        speak(user.connector(PEERS).unwrap(), &address)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn no_certificate_another_authority_and_an_expired_one_get_an_alert() {
    let (ours, theirs) = (Cluster::new("c"), Cluster::new("c"));
    let server = ours.credentials(Role::Coordinator, "1");
    let nobody = Connector::pinned(ours.0.digest().unwrap()).unwrap();
    let (address, served) = serve(&server, Clients::Known).await;
    let refused = speak(nobody, &address).await.unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    assert!(served.await.unwrap().is_err());

    // The server is of the other cluster: this end refuses. Told to trust it, the server refuses this end.
    let stranger = theirs.credentials(Role::Worker, "w");
    let (address, served) = serve(&server, Clients::Known).await;
    let refused = speak(stranger.connector(COORDINATORS).unwrap(), &address).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the server is coordinator/1 of another cluster: its certificate is not signed by this one's authority"
    );
    assert!(served.await.unwrap().is_err());
    let (certificate, key) = theirs.signed(Role::Worker, "w", now_s());
    let forged = Credentials::new(ours.0.certificate(), &certificate, &key).unwrap();
    for clients in [Clients::Known, Clients::MayJoin] {
        let (address, served) = serve(&server, clients).await;
        let refused = speak(forged.connector(COORDINATORS).unwrap(), &address).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("does not take the certificate"),
            "{refused}"
        );
        assert!(served.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn what_has_expired_is_said_with_its_date_and_what_to_do() {
    let cluster = Cluster::new("c");
    let server = cluster.credentials(Role::Coordinator, "1");
    let old = cluster.credentials_at(Role::User, "ann", now_s() - 7_200);
    let (address, _served) = serve(&server, Clients::Known).await;
    let refused = speak(old.connector(COORDINATORS).unwrap(), &address).await;
    let DialError::OwnCertificate(words) = refused.unwrap_err() else {
        panic!("another error")
    };
    let date = pki::date(now_s() - 3_600);
    assert!(
        words.starts_with(&format!(
            "the certificate of user/ann expired on {}",
            &date[..14]
        )),
        "{words}"
    );
    assert!(
        words.ends_with("`shoal login ADDRESS --token TOKEN`"),
        "{words}"
    );

    let early = cluster.credentials_at(Role::Worker, "w", now_s() + 7_200);
    let refused = speak(early.connector(COORDINATORS).unwrap(), &address).await;
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("set the clock"), "{words}");

    let old = cluster.credentials_at(Role::Coordinator, "1", now_s() - 7_200);
    let (address, _served) = serve(&old, Clients::Known).await;
    let client = cluster.credentials(Role::User, "ann");
    let refused = speak(client.connector(COORDINATORS).unwrap(), &address).await;
    let words = refused.unwrap_err().to_string();
    assert!(
        words.starts_with("the certificate of coordinator/1 expired on ")
            && words.contains("the clocks of both machines"),
        "{words}"
    );
}

#[tokio::test]
async fn a_new_certificate_is_used_from_the_next_connection_on() {
    let cluster = Cluster::new("c");
    let server = cluster.credentials(Role::Coordinator, "1");
    let client = cluster.credentials(Role::Worker, "w");
    let connector = client.connector(COORDINATORS).unwrap();
    let (address, served) = serve(&server, Clients::Known).await;
    let mut open = connector.clone().connect(&address).await.unwrap();

    let (certificate, key) = cluster.signed(Role::Worker, "w", now_s() + 60);
    client.replace(&certificate, &key).unwrap();
    let (certificate, key) = cluster.signed(Role::Coordinator, "1", now_s() + 60);
    server.replace(&certificate, &key).unwrap();
    open.write_all(b"hello").await.unwrap();
    let mut answer = [0; 2];
    open.read_exact(&mut answer).await.unwrap();
    let before = served.await.unwrap().unwrap().client.unwrap();

    let (address, served) = serve(&server, Clients::Known).await;
    assert!(speak(connector, &address).await.is_ok());
    let after = served.await.unwrap().unwrap().client.unwrap();
    assert!(after.end_s > before.end_s + 50);
}

#[tokio::test]
async fn who_speaks_no_tls_is_told() {
    let cluster = Cluster::new("c");
    let client = cluster.credentials(Role::Worker, "w");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        stream.write_all(settings).await.unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
    });
    let refused = client
        .connector(COORDINATORS)
        .unwrap()
        .connect(&address)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().starts_with("the TLS handshake failed"),
        "{refused}"
    );
}

#[test]
fn an_authority_survives_being_written_down() {
    let cluster = Cluster::new("c-1");
    let again =
        Authority::load(cluster.0.certificate().to_vec(), &cluster.0.key()).expect("it loads");
    assert_eq!(again.cluster(), "c-1");
    assert_eq!(again.digest(), cluster.0.digest());
    // What one signs counts for the other.
    let key = Key::generate().unwrap();
    let principal = Principal::new("c-1", Role::Admin, "root");
    let request = key.signing_request().unwrap();
    let signed = again.sign(&request, &principal, 0, now_s(), HOUR).unwrap();
    let read = Certificate::read(&signed).unwrap();
    assert_eq!((read.principal, read.joined), (principal, 0));
    assert!(Credentials::new(cluster.0.certificate(), &signed, &key.der()).is_ok());
    assert_eq!(
        pki::digest_of_key(&signed).unwrap(),
        Authority::digest_of_request(&request).unwrap()
    );
    let other = Key::generate().unwrap();
    assert!(Credentials::new(cluster.0.certificate(), &signed, &other.der()).is_err());
}

#[test]
fn bytes_that_are_nothing_are_refused() {
    let cluster = Cluster::new("c");
    let principal = Principal::new("c", Role::Worker, "w");
    for bytes in [&b""[..], b"x", cluster.0.certificate()] {
        assert!(cluster.0.sign(bytes, &principal, 0, 0, HOUR).is_err());
        assert!(Key::read(bytes).is_err());
    }
    let mut forged = Key::generate().unwrap().signing_request().unwrap();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(
        Authority::digest_of_request(&forged).is_err(),
        "who asks must have the private key"
    );
}
