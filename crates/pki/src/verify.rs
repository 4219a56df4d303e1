//! Who a server is: of this cluster and of the right role, whatever its address; or, for a joiner, of the token's authority.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use crate::certificate::{self, Certificate, digest_of_key};
use crate::error::{DialError, PkiError};
use crate::principal::Role;

/// Whom a connection trusts.
#[derive(Debug)]
pub(crate) enum Trust {
    /// The authority of this cluster.
    Cluster {
        /// Its certificate.
        roots: Arc<RootCertStore>,
        /// UUID of the cluster.
        cluster: Arc<str>,
    },
    /// Whatever authority has this hash: all that a joiner knows.
    Pinned([u8; 32]),
}

/// Checks the certificate of a server.
#[derive(Debug)]
pub(crate) struct ServerCheck {
    pub(crate) trust: Trust,
    /// What the server may be.
    pub(crate) roles: &'static [Role],
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCheck {
    fn check(
        &self,
        end: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = Certificate::read(end).map_err(untrusted)?;
        let pinned;
        let (roots, cluster) = match &self.trust {
            Trust::Cluster { roots, cluster } => (&**roots, &**cluster),
            Trust::Pinned(expected) => {
                let authority = chain.last().ok_or_else(|| {
                    untrusted(PkiError::Malformed(
                        "the server shows no certificate authority".to_owned(),
                    ))
                })?;
                let found = digest_of_key(authority).map_err(untrusted)?;
                if found != *expected {
                    return Err(refused(DialError::CaMismatch {
                        expected: hex::encode(expected),
                        found: hex::encode(found),
                    }));
                }
                let name = certificate::cluster(authority).map_err(untrusted)?;
                pinned = (roots_of(authority)?, name);
                (&pinned.0, pinned.1.as_str())
            }
        };
        let parsed = ParsedCertificate::try_from(end)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, &[], now, algorithms)
            .map_err(|error| refused(explain(error, &certificate, now)))?;
        if *certificate.principal.cluster != *cluster {
            return Err(refused(DialError::Untrusted(format!(
                "the server is {} of another cluster",
                certificate.principal
            ))));
        }
        if !self.roles.contains(&certificate.principal.role) {
            let roles: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
            return Err(refused(DialError::Untrusted(format!(
                "the server is {}, not a {}",
                certificate.principal,
                roles.join(" or a ")
            ))));
        }
        Ok(())
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A store with one authority in it.
pub(crate) fn roots_of(authority: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority).into_owned())?;
    Ok(roots)
}

/// The words for a certificate that does not count.
fn explain(error: Error, certificate: &Certificate, now: UnixTime) -> DialError {
    if let Error::InvalidCertificate(
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. },
    ) = &error
        && let Some(objection) = certificate.objection(now.as_secs() as i64)
    {
        return DialError::Untrusted(format!(
            "{objection}. Servers renew theirs by themselves: look at its log, and at the clocks of both machines (this one says {})",
            certificate::date(now.as_secs() as i64)
        ));
    }
    match error {
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => DialError::Untrusted(format!(
            "the server is {} of another cluster: its certificate is not signed by this one's authority",
            certificate.principal
        )),
        error => DialError::Untrusted(format!("the server's certificate does not count: {error}")),
    }
}

fn untrusted(error: PkiError) -> Error {
    refused(DialError::Untrusted(format!(
        "the server is of no cluster: {error}"
    )))
}

fn refused(error: DialError) -> Error {
    Error::Other(OtherError(Arc::new(error)))
}
