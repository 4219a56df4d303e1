//! Certificates and keys as text (PEM), for files that people look at with other tools.

use crate::error::PkiError;

/// What a piece of text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An X.509 certificate.
    Certificate,
    /// A private key, PKCS #8.
    Key,
}

impl Kind {
    fn tag(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::Key => "PRIVATE KEY",
        }
    }
}

/// DER as text.
pub fn to_text(kind: Kind, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(kind.tag(), der), config)
}

/// DER from text: the first of its kind, where the text holds several things.
///
/// # Errors
/// When the text holds nothing of that kind.
pub fn from_text(kind: Kind, text: &str) -> Result<Vec<u8>, PkiError> {
    let parsed =
        pem::parse_many(text).map_err(|error| PkiError::Malformed(format!("no PEM: {error}")))?;
    parsed
        .into_iter()
        .find(|part| part.tag() == kind.tag())
        .map(pem::Pem::into_contents)
        .ok_or_else(|| PkiError::Malformed(format!("it holds no {}", kind.tag())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = to_text(Kind::Key, b"bytes");
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{text}");
        assert_eq!(from_text(Kind::Key, &text), Ok(b"bytes".to_vec()));
        assert!(from_text(Kind::Certificate, &text).is_err());
        assert!(from_text(Kind::Key, "x").is_err());
    }
}
