//! The name of a blob.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The BLAKE3 digest of a blob's bytes. Printed and parsed as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DigestError {
    /// Too short or too long.
    #[error("a digest has 64 hexadecimal digits, this has {0} characters")]
    Length(usize),
    /// A character that is no lower-case hexadecimal digit. There is one spelling of each digest.
    #[error("a digest has digits 0-9 and a-f only; character {at} is {found:?}")]
    Character {
        /// Which character, from 1.
        at: usize,
        /// The character.
        found: char,
    },
    /// Bytes of the wrong number.
    #[error("a digest is 32 bytes, not {0}")]
    Bytes(usize),
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve digits: enough for a person to tell blobs apart, not for a program.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if let Some((at, found)) = text.chars().enumerate().find(|(_, c)| !is_digit(*c)) {
            return Err(DigestError::Character { at: at + 1, found });
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError::Length(text.len()))?;
        Ok(Digest(bytes))
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = DigestError;

    fn try_from(bytes: &[u8]) -> Result<Digest, DigestError> {
        bytes
            .try_into()
            .map(Digest)
            .map_err(|_| DigestError::Bytes(bytes.len()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    fn check(text: &str, expected: &str) {
        let got = match text.parse::<Digest>() {
            Ok(digest) => digest.short(),
            Err(e) => e.to_string(),
        };
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn texts_that_are_digests_and_texts_that_are_not() {
        check(EMPTY, "af1349b9f5f9");
        check(
            "",
            "a digest has 64 hexadecimal digits, this has 0 characters",
        );
        check(
            &EMPTY[1..],
            "a digest has 64 hexadecimal digits, this has 63 characters",
        );
        check(
            &format!("{EMPTY}00"),
            "a digest has 64 hexadecimal digits, this has 66 characters",
        );
        check(
            &EMPTY.to_uppercase(),
            "a digest has digits 0-9 and a-f only; character 1 is 'A'",
        );
        check(
            &EMPTY.replace("49b9", "49é9"),
            "a digest has digits 0-9 and a-f only; character 7 is 'é'",
        );
        assert_eq!(
            Digest::try_from(&[0u8; 31][..]),
            Err(DigestError::Bytes(31))
        );
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
    }

    proptest! {
        #[test]
        fn printing_and_parsing_round_trip(bytes: [u8; 32]) {
            let digest = Digest(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            prop_assert_eq!(Digest::try_from(&bytes[..]), Ok(digest));
        }
    }
}
