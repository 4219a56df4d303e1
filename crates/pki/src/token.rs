//! Join tokens as people carry them: `jt1.<SHA-256 of the CA's public key>.<id>.<secret>`, all in hexadecimal digits.
//!
//! There is no short form without the hash: it would be open to whoever stands between.

use std::fmt;
use std::str::FromStr;

use rustls::crypto::ring;

use crate::error::PkiError;
use crate::sha256;

/// Bytes of an id, and of a secret.
const SIZES: (usize, usize) = (8, 32);

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the public key of the cluster's authority.
    pub ca_digest: [u8; 32],
    /// Its id: 16 lowercase hexadecimal digits.
    pub id: String,
    /// Its secret.
    pub secret: Vec<u8>,
}

impl JoinToken {
    /// A new token of a cluster.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate(ca_digest: [u8; 32]) -> Result<Self, PkiError> {
        Ok(Self {
            ca_digest,
            id: hex::encode(random::<{ SIZES.0 }>()?),
            secret: random::<{ SIZES.1 }>()?.to_vec(),
        })
    }

    /// What the cluster knows of the secret.
    pub fn secret_digest(&self) -> [u8; 32] {
        sha256(&self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "jt1.{}.{}.{}",
            hex::encode(self.ca_digest),
            self.id,
            hex::encode(&self.secret)
        )
    }
}

impl fmt::Debug for JoinToken {
    /// Without its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        let malformed = || {
            PkiError::Malformed(
                "expected a token as `shoal token create` prints it: jt1. and three groups of hexadecimal digits"
                    .to_owned(),
            )
        };
        let mut parts = text.trim().split('.');
        let (Some("jt1"), Some(ca), Some(id), Some(secret), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(malformed());
        };
        let mut ca_digest = [0; 32];
        hex::decode_to_slice(ca, &mut ca_digest).map_err(|_| malformed())?;
        let secret = hex::decode(secret).map_err(|_| malformed())?;
        let good_id = hex::decode(id).is_ok_and(|id| id.len() == SIZES.0);
        if !good_id || secret.len() != SIZES.1 {
            return Err(malformed());
        }
        Ok(Self {
            ca_digest,
            id: id.to_ascii_lowercase(),
            secret,
        })
    }
}

/// Bytes of chance.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    let source = ring::default_provider().secure_random;
    match source.fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(PkiError::Failed(
            "the system gives no randomness".to_owned(),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_there_and_back_and_show_no_secret() {
        let token = JoinToken::generate([7; 32]).unwrap();
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains(&hex::encode(&token.secret)));
        assert_ne!(JoinToken::generate([7; 32]).unwrap(), token);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = JoinToken::generate([7; 32]).unwrap().to_string();
        let parts: Vec<&str> = good.split('.').collect();
        // Without the hash of the authority there is no token.
        let short = format!("jt1.{}.{}", parts[2], parts[3]);
        for bad in [
            "",
            "jt1",
            &short,
            &good[..good.len() - 2],
            &good.replace("jt1", "jt2"),
        ] {
            assert!(bad.parse::<JoinToken>().is_err(), "{bad}");
        }
    }
}
