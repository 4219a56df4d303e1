//! Durations in words (`time-limit: 1h 30m`), read as the reference reads them.
//!
//! Every number with a word counts, and of the word only the first letter: `60 minutes` is an hour, but `500ms` is 500
//! minutes and `1 mo` is one minute. What lies between is not looked at, so `1h,2m` is 62 minutes and `-5s` is 5 seconds.

use std::time::Duration;

use thiserror::Error;

use crate::python::number::parse_float;
use crate::python::text::{is_space, strip};

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// A number stands alone or before an upper-case letter.
    #[error("`{0}` needs a unit after it: one of `s`, `m`, `h`, `d`, `w`, in lower case")]
    NoUnit(String),
    /// The word after a number begins with another letter.
    #[error("`{0}` has an unknown unit: the first letter must be one of `s`, `m`, `h`, `d`, `w`")]
    UnknownUnit(String),
    /// Digits and dots that are no number.
    #[error("`{0}` is not a number")]
    NotANumber(String),
    /// Nothing in the text is a duration, or all of it is zero.
    #[error("`{0}` is not a positive duration; write for example `1h 30m`")]
    NotPositive(String),
    /// More than the 999,999,999 days that the reference can hold.
    #[error("`{0}` is too long")]
    TooLong(String),
}

/// The longest duration that the reference can hold, in seconds.
pub const MAX_SECONDS: u128 = 999_999_999 * 86_400;

/// The sum of all durations in the text; `None` when the text is blank, which means "not set".
pub fn parse(text: &str) -> Result<Option<Duration>, DurationError> {
    if strip(text).is_empty() {
        return Ok(None);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while let Some(start) = rest.find(is_number_char) {
        let (part, after) = Part::read(&rest[start..]);
        seconds += part.seconds()?;
        rest = after;
    }
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(DurationError::NotPositive(text.to_owned()));
    }
    if seconds > MAX_SECONDS as f64 {
        return Err(DurationError::TooLong(text.to_owned()));
    }
    // The reference counts in whole microseconds, rounded apart from the seconds.
    let micros = (seconds.fract() * 1e6).round_ties_even() as u64;
    Ok(Some(
        Duration::from_secs(seconds as u64) + Duration::from_micros(micros),
    ))
}

fn is_number_char(char: char) -> bool {
    char == '.' || char.is_ascii_digit()
}

/// A number, blanks, and a word of lower-case letters.
struct Part<'t> {
    text: &'t str,
    number: &'t str,
    word: &'t str,
}

impl<'t> Part<'t> {
    /// Reads a part from its first digit or dot, and gives what follows it.
    fn read(text: &'t str) -> (Self, &'t str) {
        let after_number = text.trim_start_matches(is_number_char);
        let after_blanks = after_number.trim_start_matches(is_space);
        let after_word = after_blanks.trim_start_matches(|char: char| char.is_ascii_lowercase());
        let part = Self {
            text: &text[..text.len() - after_word.len()],
            number: &text[..text.len() - after_number.len()],
            word: &after_blanks[..after_blanks.len() - after_word.len()],
        };
        (part, after_word)
    }

    fn seconds(&self) -> Result<f64, DurationError> {
        let number = parse_float(self.number)
            .ok_or_else(|| DurationError::NotANumber(self.number.to_owned()))?;
        let unit = match self.word.bytes().next() {
            Some(b's') => 1.0,
            Some(b'm') => 60.0,
            Some(b'h') => 3_600.0,
            Some(b'd') => 86_400.0,
            Some(b'w') => 604_800.0,
            Some(_) => return Err(DurationError::UnknownUnit(self.text.to_owned())),
            None => return Err(DurationError::NoUnit(strip(self.text).to_owned())),
        };
        Ok(number * unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_with_a_word_counts() {
        let table = [
            ("1h 30m 5s", 5405.0),
            ("1h10m", 4200.0),
            ("1.5d", 129_600.0),
            ("60 minutes", 3600.0),
            ("1h,2m", 3720.0),
            ("500ms", 30_000.0),
            ("1 mo", 60.0),
            ("2w", 1_209_600.0),
            ("-5s", 5.0),
            ("about 3 hours or so", 10_800.0),
            (".5s", 0.5),
            ("0h 1s", 1.0),
        ];
        for (text, seconds) in table {
            assert_eq!(
                parse(text),
                Ok(Some(Duration::from_secs_f64(seconds))),
                "{text}"
            );
        }
        assert_eq!(parse(" \n"), Ok(None));
        assert_eq!(parse(""), Ok(None));
    }

    #[test]
    fn traps_are_refused() {
        let owned = |text: &str| text.to_owned();
        let table = [
            ("300", DurationError::NoUnit(owned("300"))),
            ("10S", DurationError::NoUnit(owned("10"))),
            ("1h 5", DurationError::NoUnit(owned("5"))),
            ("5 q", DurationError::UnknownUnit(owned("5 q"))),
            ("1.2.3s", DurationError::NotANumber(owned("1.2.3"))),
            ("etc...", DurationError::NotANumber(owned("..."))),
            ("0s", DurationError::NotPositive(owned("0s"))),
            ("soon", DurationError::NotPositive(owned("soon"))),
            ("9999999999w", DurationError::TooLong(owned("9999999999w"))),
        ];
        for (text, error) in table {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
