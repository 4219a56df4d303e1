//! What a certificate says: who its holder is, when it joined, and for how long that counts.

use time::{Date, Month, OffsetDateTime, Time};

use crate::der::{
    self, BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, UTC_TIME,
    Value,
};
use crate::error::PkiError;
use crate::principal::Principal;
use crate::sha256;

/// By how much certificates begin before they are made, in seconds: clocks differ.
pub(crate) const BACKDATE_S: i64 = 300;

/// Bytes of a serial number: 8 for the index at which the holder joined, 8 of chance.
pub const SERIAL: usize = 16;

/// The organization that marks administrators.
pub(crate) const ADMIN: &str = "admin";

/// A certificate of this or another cluster, as it was read. Whether it counts is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Who its holder is.
    pub principal: Principal,
    /// Raft index at which the holder joined; renewals keep it. 0 for one that was signed beside the cluster. What is revoked is
    /// who joined up to an index.
    pub joined: u64,
    /// Its serial number.
    pub serial: [u8; SERIAL],
    /// First second at which it counts, Unix time.
    pub start_s: i64,
    /// Last second at which it counts, Unix time.
    pub end_s: i64,
}

impl Certificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// When it is none, or names no principal.
    pub fn read(der: &[u8]) -> Result<Self, PkiError> {
        let fields = Fields::read(der)?;
        let admin = organization(fields.subject)? == Some(ADMIN.as_bytes());
        let principal = uri(fields.extensions)?
            .and_then(|uri| Principal::parse(uri, admin))
            .ok_or_else(|| PkiError::Malformed("the certificate names no principal".to_owned()))?;
        let mut serial = [0; SERIAL];
        let digits = &fields.serial[fields.serial.len().saturating_sub(SERIAL)..];
        serial[SERIAL - digits.len()..].copy_from_slice(digits);
        let mut joined = [0; 8];
        joined.copy_from_slice(&serial[..8]);
        let mut validity = fields.validity.inside();
        Ok(Self {
            principal,
            joined: u64::from_be_bytes(joined),
            serial,
            start_s: seconds(validity.next()?)?,
            end_s: seconds(validity.next()?)?,
        })
    }

    /// Its serial number in hexadecimal digits.
    pub fn serial_digits(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.serial))
    }

    /// From when on it should be renewed, Unix time in seconds: after two thirds of its life.
    pub fn renewal_s(&self) -> i64 {
        let life = self.end_s - (self.start_s + BACKDATE_S);
        self.end_s - life / 3
    }

    /// Why it does not count at a time, Unix seconds; nothing when it does.
    pub fn objection(&self, now_s: i64) -> Option<String> {
        let who = &self.principal;
        if now_s > self.end_s {
            return Some(format!(
                "the certificate of {who} expired on {}",
                date(self.end_s)
            ));
        }
        if now_s < self.start_s {
            return Some(format!(
                "the certificate of {who} counts from {} on, and the clock of this machine says {}: set the clock",
                date(self.start_s),
                date(now_s)
            ));
        }
        None
    }
}

/// SHA-256 of the public key of a certificate, with its algorithm (the `SubjectPublicKeyInfo`).
///
/// # Errors
/// When it is no certificate.
pub fn digest_of_key(der: &[u8]) -> Result<[u8; 32], PkiError> {
    Ok(sha256(Fields::read(der)?.key.whole))
}

/// The cluster that an authority's certificate is of.
pub(crate) fn cluster(der: &[u8]) -> Result<String, PkiError> {
    uri(Fields::read(der)?.extensions)?
        .and_then(|uri| uri.strip_prefix("spiffe://"))
        .map(str::to_owned)
        .ok_or_else(|| PkiError::Malformed("the certificate names no cluster".to_owned()))
}

/// A time for people: `2026-11-26 03:05:00 UTC`.
pub fn date(unix_s: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(unix_s) {
        Err(_) => format!("second {unix_s} of Unix time"),
        Ok(at) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        ),
    }
}

/// The parts of a certificate that are looked at.
struct Fields<'a> {
    serial: &'a [u8],
    validity: Value<'a>,
    subject: Value<'a>,
    /// The public key with its algorithm.
    key: Value<'a>,
    extensions: Option<Value<'a>>,
}

impl<'a> Fields<'a> {
    fn read(der: &'a [u8]) -> Result<Self, PkiError> {
        const VERSION: u8 = 0xa0;
        const ISSUER_ID: u8 = 0x81;
        const SUBJECT_ID: u8 = 0x82;
        const EXTENSIONS: u8 = 0xa3;
        let mut body = Reader::new(der)
            .expect(SEQUENCE)?
            .inside()
            .expect(SEQUENCE)?
            .inside();
        body.maybe(VERSION)?;
        let serial = body.expect(INTEGER)?.content;
        let _algorithm = body.expect(SEQUENCE)?;
        let _issuer = body.expect(SEQUENCE)?;
        let validity = body.expect(SEQUENCE)?;
        let subject = body.expect(SEQUENCE)?;
        let key = body.expect(SEQUENCE)?;
        body.maybe(ISSUER_ID)?;
        body.maybe(SUBJECT_ID)?;
        let extensions = match body.maybe(EXTENSIONS)? {
            Some(wrapped) => Some(wrapped.inside().expect(SEQUENCE)?),
            None => None,
        };
        Ok(Self {
            serial,
            validity,
            subject,
            key,
            extensions,
        })
    }
}

/// The organization of a name, if it has one.
fn organization(name: Value<'_>) -> Result<Option<&[u8]>, PkiError> {
    const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
    let mut parts = name.inside();
    while !parts.is_empty() {
        let mut part = parts.expect(SET)?.inside().expect(SEQUENCE)?.inside();
        if part.expect(OID)?.content == ORGANIZATION {
            return Ok(Some(part.next()?.content));
        }
    }
    Ok(None)
}

/// The only one of the alternative names, if it is an address.
fn uri(extensions: Option<Value<'_>>) -> Result<Option<&str>, PkiError> {
    const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
    const URI: u8 = 0x86;
    let Some(extensions) = extensions else {
        return Ok(None);
    };
    let mut all = extensions.inside();
    while !all.is_empty() {
        let mut extension = all.expect(SEQUENCE)?.inside();
        let id = extension.expect(OID)?.content;
        extension.maybe(BOOLEAN)?;
        let value = extension.expect(OCTET_STRING)?.content;
        if id != ALTERNATIVE_NAMES {
            continue;
        }
        let mut names = Reader::new(value).expect(SEQUENCE)?.inside();
        let first = names.next()?;
        if first.tag != URI || !names.is_empty() {
            return Ok(None);
        }
        return Ok(std::str::from_utf8(first.content).ok());
    }
    Ok(None)
}

/// A time as seconds of Unix time.
fn seconds(value: Value<'_>) -> Result<i64, PkiError> {
    let digits = value.content;
    let (year, rest) = match value.tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2).ok_or_else(der::malformed)?;
            let year = number(year)?;
            // As X.509 has it: 50 is 1950, 49 is 2049.
            (
                if year < 50 {
                    2_000 + year
                } else {
                    1_900 + year
                },
                rest,
            )
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4).ok_or_else(der::malformed)?;
            (number(year)?, rest)
        }
        _ => return Err(der::malformed()),
    };
    let [mo, nth, d, ay, h, ou, mi, n, s, ec, b'Z'] = *rest else {
        return Err(der::malformed());
    };
    let part = |pair: [u8; 2]| number(&pair).map(|part| part as u8);
    let month = Month::try_from(part([mo, nth])?).map_err(|_| der::malformed())?;
    let day = Date::from_calendar_date(year, month, part([d, ay])?);
    let time = Time::from_hms(part([h, ou])?, part([mi, n])?, part([s, ec])?);
    match (day, time) {
        (Ok(day), Ok(time)) => Ok(day.with_time(time).assume_utc().unix_timestamp()),
        _ => Err(der::malformed()),
    }
}

fn number(digits: &[u8]) -> Result<i32, PkiError> {
    digits
        .iter()
        .try_fold(0, |number, digit| match digit.is_ascii_digit() {
            true => Ok(number * 10 + i32::from(digit - b'0')),
            false => Err(der::malformed()),
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds() {
        let check = |tag: u8, text: &str, expected: Option<i64>| {
            let value = Value {
                tag,
                content: text.as_bytes(),
                whole: text.as_bytes(),
            };
            assert_eq!(seconds(value).ok(), expected, "{text}");
        };
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "261126030500Z", Some(1_795_662_300));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000));
        for bad in ["", "261126030500", "261326030500Z", "26112603050xZ"] {
            check(UTC_TIME, bad, None);
        }
        assert_eq!(date(1_795_662_300), "2026-11-26 03:05:00 UTC");
    }

    #[test]
    fn every_cut_of_a_certificate_is_refused_and_nothing_more() {
        let authority = crate::Authority::found("c", 1_795_662_300).unwrap();
        let whole = authority.certificate();
        assert_eq!(cluster(whole).unwrap(), "c");
        for end in 0..whole.len() {
            assert!(Fields::read(&whole[..end]).is_err(), "{end}");
        }
        // An authority names a cluster and no principal.
        assert!(Certificate::read(whole).is_err());
    }
}
