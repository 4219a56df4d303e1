//! The certificate that a process speaks with. It can be replaced: connections that are open go on, new ones use the new one.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{RootCertStore, SignatureScheme};

use crate::certificate::{self, Certificate};
use crate::dial::Connector;
use crate::error::PkiError;
use crate::principal::Role;
use crate::verify::{ServerCheck, Trust, roots_of};

/// The protocol that connections agree on.
const ALPN: &[u8] = b"h2";

/// Whether a server speaks with clients that have no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// It does: who joins has none yet. What such a client may call is for the server to say.
    MayJoin,
    /// It does not: the handshake fails.
    Known,
}

/// A certificate with its key, the authority that signed it, and what TLS needs of both. Clones share all of it.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    cluster: Arc<str>,
    authority: Vec<u8>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    certificate: Arc<Certificate>,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// Credentials from the authority's certificate, one's own, and its key (PKCS #8), all DER.
    ///
    /// # Errors
    /// When one cannot be read, or they do not fit each other.
    pub fn new(authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, PkiError> {
        let provider = Arc::new(ring::default_provider());
        let current = load(&provider, authority, certificate, key)?;
        let cluster = certificate::cluster(authority)?;
        if *current.certificate.principal.cluster != *cluster {
            return Err(PkiError::Malformed(format!(
                "the certificate of {} is of another cluster",
                current.certificate.principal
            )));
        }
        Ok(Self(Arc::new(Shared {
            cluster: Arc::from(cluster),
            authority: authority.to_vec(),
            roots: Arc::new(roots_of(authority)?),
            provider,
            current: RwLock::new(current),
        })))
    }

    /// Takes a new certificate and key for what comes from now on.
    ///
    /// # Errors
    /// When they cannot be read, or do not fit each other.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), PkiError> {
        let shared = &self.0;
        let new = load(&shared.provider, &shared.authority, certificate, key)?;
        *shared
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The certificate in use.
    pub fn certificate(&self) -> Arc<Certificate> {
        self.0.current().certificate
    }

    /// UUID of the cluster.
    pub fn cluster(&self) -> &Arc<str> {
        &self.0.cluster
    }

    /// The authority's certificate, DER.
    pub fn authority(&self) -> &[u8] {
        &self.0.authority
    }

    /// TLS for a server: 1.3 only, HTTP/2 only, clients with a certificate of this cluster. Sessions are not resumed, so that every
    /// connection shows a certificate that counts now.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn server_config(&self, clients: Clients) -> Result<Arc<ServerConfig>, PkiError> {
        let shared = &self.0;
        let verifier = WebPkiClientVerifier::builder_with_provider(
            shared.roots.clone(),
            shared.provider.clone(),
        );
        let verifier = match clients {
            Clients::MayJoin => verifier.allow_unauthenticated(),
            Clients::Known => verifier,
        };
        let verifier = verifier
            .build()
            .map_err(|error| PkiError::Failed(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(shared.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    /// Makes connections to servers of these roles, speaking with this certificate.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn connector(&self, roles: &'static [Role]) -> Result<Connector, PkiError> {
        let trust = Trust::Cluster {
            roots: self.0.roots.clone(),
            cluster: self.0.cluster.clone(),
        };
        let check = ServerCheck {
            trust,
            roles,
            provider: self.0.provider.clone(),
        };
        let mut config = builder(check)?.with_client_cert_resolver(Arc::new(self.clone()));
        finish(&mut config);
        Ok(Connector::new(Arc::new(config), Some(self.clone())))
    }
}

impl Connector {
    /// Makes connections for who joins: to coordinators of whatever cluster has this authority, without a certificate.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn pinned(ca_digest: [u8; 32]) -> Result<Self, PkiError> {
        let check = ServerCheck {
            trust: Trust::Pinned(ca_digest),
            roles: &[Role::Coordinator],
            provider: Arc::new(ring::default_provider()),
        };
        let mut config = builder(check)?.with_no_client_auth();
        finish(&mut config);
        Ok(Self::new(Arc::new(config), None))
    }
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(check: ServerCheck) -> Result<Builder, PkiError> {
    Ok(ClientConfig::builder_with_provider(check.provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(check)))
}

fn finish(config: &mut ClientConfig) {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
}

fn load(
    provider: &CryptoProvider,
    authority: &[u8],
    certificate: &[u8],
    key: &[u8],
) -> Result<Current, PkiError> {
    let read = Certificate::read(certificate)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
    // The authority goes along: who joins knows its hash and nothing else.
    let chain = vec![
        CertificateDer::from(certificate.to_vec()),
        CertificateDer::from(authority.to_vec()),
    ];
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        PkiError::Malformed(format!(
            "the certificate of {} does not fit its key: {error}",
            read.principal
        ))
    })?;
    Ok(Current {
        certificate: Arc::new(read),
        certified: Arc::new(certified),
    })
}

impl Shared {
    fn current(&self) -> Current {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified)
    }
}

impl ResolvesClientCert for Credentials {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Credentials {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.certificate().principal)
    }
}
