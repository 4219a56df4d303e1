//! What can be wrong with certificates, and why a connection is not made.

use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PkiError {
    /// A certificate, key or signing request cannot be read, or is not one of ours.
    #[error("{0}")]
    Malformed(String),
    /// Keys or certificates cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Failed(String),
}

impl From<rcgen::Error> for PkiError {
    fn from(error: rcgen::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<rustls::Error> for PkiError {
    fn from(error: rustls::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Why a connection was not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DialError {
    /// Nobody answers there.
    #[error("{0}")]
    Unreachable(String),
    /// The server's authority is not the token's. Nothing was said to the server.
    #[error("CA hash mismatch: token expects {expected}, server has {found}")]
    CaMismatch {
        /// SHA-256 of the public key of the token's authority, in hexadecimal digits.
        expected: String,
        /// The same of the server's.
        found: String,
    },
    /// The server is not of this cluster, or not what it should be.
    #[error("{0}")]
    Untrusted(String),
    /// The certificate of this end has expired or is not valid yet.
    #[error("{0}")]
    OwnCertificate(String),
    /// The server speaks no TLS, or another protocol.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
}

impl DialError {
    /// Whether trying again cannot help: the other end, or this one, is not who it should be.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::CaMismatch { .. } | Self::Untrusted(_) | Self::OwnCertificate(_)
        )
    }
}
