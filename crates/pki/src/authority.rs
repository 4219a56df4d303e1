//! The cluster's certificate authority, and keys.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use time::OffsetDateTime;

use crate::certificate::{self, ADMIN, BACKDATE_S, SERIAL, digest_of_key};
use crate::der::{BIT_STRING, INTEGER, OID, Reader, SEQUENCE, malformed};
use crate::error::PkiError;
use crate::principal::{Principal, Role};
use crate::sha256;
use crate::token::random;

/// How long an authority lasts, in seconds: ten years.
const AUTHORITY_S: i64 = 10 * 365 * 24 * 60 * 60;

/// For how long certificates count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Those of coordinators.
    pub coordinator: Duration,
    /// Those of workers.
    pub worker: Duration,
    /// Those of users and administrators.
    pub user: Duration,
}

impl Default for Lifetimes {
    /// Thirty days, a day, twelve hours.
    fn default() -> Self {
        const HOUR: u64 = 60 * 60;
        Self {
            coordinator: Duration::from_secs(30 * 24 * HOUR),
            worker: Duration::from_secs(24 * HOUR),
            user: Duration::from_secs(12 * HOUR),
        }
    }
}

impl Lifetimes {
    /// The lifetime of a certificate of that role.
    pub fn of(&self, role: Role) -> Duration {
        match role {
            Role::Coordinator => self.coordinator,
            Role::Worker => self.worker,
            Role::User | Role::Admin => self.user,
        }
    }
}

/// A private key. It leaves its machine in no message but one: the authority's goes to a coordinator that joins.
#[derive(Debug)]
pub struct Key(KeyPair);

impl Key {
    /// A new key (ECDSA, P-256).
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        Ok(Self(KeyPair::generate()?))
    }

    /// A key from PKCS #8, DER.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(der: &[u8]) -> Result<Self, PkiError> {
        match KeyPair::try_from(der) {
            Ok(pair) => Ok(Self(pair)),
            Err(error) => Err(PkiError::Malformed(format!("no key: {error}"))),
        }
    }

    /// The key as PKCS #8, DER.
    pub fn der(&self) -> Vec<u8> {
        self.0.serialize_der()
    }

    /// A request to sign its public half: PKCS #10, DER. Who that will be is said by whoever signs.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn signing_request(&self) -> Result<Vec<u8>, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }
}

/// The authority of one cluster. Signs who belongs to it.
pub struct Authority {
    cluster: Arc<str>,
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority for a cluster.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn found(cluster: &str, now_s: i64) -> Result<Self, PkiError> {
        let key = Key::generate()?;
        let mut params = authority(cluster)?;
        params.not_before = at(now_s - BACKDATE_S)?;
        params.not_after = at(now_s + AUTHORITY_S)?;
        let certificate = params.self_signed(&key.0)?.der().to_vec();
        Self::load(certificate, &key.der())
    }

    /// An authority from its certificate and key, DER.
    ///
    /// # Errors
    /// When they cannot be read, or do not fit each other.
    pub fn load(certificate: Vec<u8>, key: &[u8]) -> Result<Self, PkiError> {
        let cluster = certificate::cluster(&certificate)?;
        let key = Key::read(key)?;
        if sha256(&key.0.subject_public_key_info()) != digest_of_key(&certificate)? {
            return Err(PkiError::Malformed(
                "the key is not that of the authority's certificate".to_owned(),
            ));
        }
        let issuer = Issuer::new(authority(&cluster)?, key.0);
        Ok(Self {
            cluster: Arc::from(cluster),
            certificate,
            issuer,
        })
    }

    /// UUID of its cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its key, PKCS #8, DER.
    pub fn key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// SHA-256 of its public key: what join tokens carry.
    ///
    /// # Errors
    /// Never for an authority that was made or loaded.
    pub fn digest(&self) -> Result<[u8; 32], PkiError> {
        digest_of_key(&self.certificate)
    }

    /// SHA-256 of the public key that a signing request is for. Its signature is checked: who sent it has the private half.
    ///
    /// # Errors
    /// When it is none, or its signature is wrong.
    pub fn digest_of_request(request: &[u8]) -> Result<[u8; 32], PkiError> {
        Ok(sha256(&Requested::read(request)?.subject_public_key_info()))
    }

    /// Signs the public key of a request. Everything else that the request says is ignored. `joined` is the index at which the
    /// principal joined.
    ///
    /// # Errors
    /// When the request is none, or its signature is wrong.
    pub fn sign(
        &self,
        request: &[u8],
        principal: &Principal,
        joined: u64,
        now_s: i64,
        lifetime: Duration,
    ) -> Result<Vec<u8>, PkiError> {
        let requested = Requested::read(request)?;
        let mut serial = [0; SERIAL];
        serial[..8].copy_from_slice(&joined.to_be_bytes());
        serial[8..].copy_from_slice(&random::<8>()?);
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = at(now_s - BACKDATE_S)?;
        params.not_after = at(now_s.saturating_add(lifetime.as_secs() as i64))?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, principal.to_string());
        if principal.role == Role::Admin {
            params
                .distinguished_name
                .push(DnType::OrganizationName, ADMIN);
        }
        params.subject_alt_names = vec![SanType::URI(principal.uri().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&requested, &self.issuer)?;
        Ok(certificate.der().to_vec())
    }
}

/// What all certificates of a cluster's authority say, now and when it was founded: those that it signs name it by this.
fn authority(cluster: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("shoal cluster {cluster}"));
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{cluster}").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    Ok(params)
}

/// The public key of a signing request: a point of P-256, which is what [`Key`] makes.
struct Requested(Vec<u8>);

impl Requested {
    /// Reads a request, and checks that who made it has the private half of its key.
    fn read(request: &[u8]) -> Result<Self, PkiError> {
        const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let refused = |why: &str| PkiError::Malformed(format!("no signing request: {why}"));
        let mut parts = Reader::new(request).expect(SEQUENCE)?.inside();
        let info = parts.expect(SEQUENCE)?;
        let mut algorithm = parts.expect(SEQUENCE)?.inside();
        let signature = bits(parts.expect(BIT_STRING)?.content)?;
        let mut fields = info.inside();
        fields.expect(INTEGER)?;
        let _name = fields.expect(SEQUENCE)?;
        let mut key = fields.expect(SEQUENCE)?.inside();
        let mut kind = key.expect(SEQUENCE)?.inside();
        let point = bits(key.expect(BIT_STRING)?.content)?;
        let is_ours = kind.expect(OID)?.content == EC_KEY
            && kind.expect(OID)?.content == P256
            && algorithm.expect(OID)?.content == ECDSA_SHA256;
        if !is_ours {
            return Err(refused(
                "the key must be ECDSA on P-256, signed with SHA-256",
            ));
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(info.whole, signature)
            .map_err(|_| refused("its signature is not that of its key"))?;
        Ok(Self(point.to_vec()))
    }
}

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Bits that are whole bytes.
fn bits(content: &[u8]) -> Result<&[u8], PkiError> {
    match content {
        [0, bytes @ ..] => Ok(bytes),
        _ => Err(malformed()),
    }
}

fn at(unix_s: i64) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(unix_s).map_err(|error| PkiError::Failed(error.to_string()))
}
