//! The few fields that are read of certificates and signing requests: a reader of DER, which is lengths and bytes.
//!
//! What counts as a certificate is for `webpki` to say, which verifies it; this only tells what is written in one.

use crate::error::PkiError;

/// Tags of DER.
pub(crate) const INTEGER: u8 = 0x02;
/// Bits.
pub(crate) const BIT_STRING: u8 = 0x03;
/// Bytes.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Names of algorithms and attributes.
pub(crate) const OID: u8 = 0x06;
/// A row of values.
pub(crate) const SEQUENCE: u8 = 0x30;
/// A set of values.
pub(crate) const SET: u8 = 0x31;
/// Truth.
pub(crate) const BOOLEAN: u8 = 0x01;
/// A time with two digits for the year.
pub(crate) const UTC_TIME: u8 = 0x17;
/// A time with four digits for the year.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;

/// One value: its tag and its content, and all of its bytes.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Reads values one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Value<'a>, PkiError> {
        let bytes = self.0;
        let [tag, first, ..] = *bytes else {
            return Err(malformed());
        };
        let (length, head) = match first {
            0..=0x7f => (usize::from(first), 2),
            // Nothing that is read here is longer than three bytes of length can say.
            0x81..=0x83 => {
                let count = usize::from(first & 0x7f);
                let digits = bytes.get(2..2 + count).ok_or_else(malformed)?;
                let length = digits
                    .iter()
                    .fold(0, |length, digit| length << 8 | usize::from(*digit));
                (length, 2 + count)
            }
            _ => return Err(malformed()),
        };
        let (whole, rest) = bytes
            .split_at_checked(head + length)
            .ok_or_else(malformed)?;
        self.0 = rest;
        Ok(Value {
            tag,
            content: &whole[head..],
            whole,
        })
    }

    /// The next value, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Value<'a>, PkiError> {
        let value = self.next()?;
        match value.tag == tag {
            true => Ok(value),
            false => Err(malformed()),
        }
    }

    /// The next value if it has this tag.
    pub(crate) fn maybe(&mut self, tag: u8) -> Result<Option<Value<'a>>, PkiError> {
        match self.0.first() {
            Some(first) if *first == tag => self.next().map(Some),
            _ => Ok(None),
        }
    }
}

impl<'a> Value<'a> {
    /// The values inside.
    pub(crate) fn inside(&self) -> Reader<'a> {
        Reader(self.content)
    }
}

pub(crate) fn malformed() -> PkiError {
    PkiError::Malformed("no certificate: its bytes end or begin where they must not".to_owned())
}
