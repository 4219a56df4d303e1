//! What becomes of the attempts of a worker that is out of contact.
//!
//! ```text
//! stop_after + grace of a stop  <=  lost_after / 1.25
//! ```
//!
//! A worker that stops its programs by itself must be done before it can be declared lost, even by clocks of which one runs a quarter faster than the
//! other (I-14): then no two attempts at an execution ever run at once.

use std::str::FromStr;

use contract::link::{DisconnectPolicy, Offer};

use crate::Refusal;
use crate::coordinator::Config;

/// What becomes of the attempts of a worker that is out of contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDisconnect {
    /// Its programs go on; once it is declared lost, its attempts are replaced.
    #[default]
    KeepRunning,
    /// Its programs go on and its attempts are never replaced, however long it takes.
    Wait,
    /// It stops its programs by itself after `ms` milliseconds, before it can be declared lost.
    StopAfter {
        /// Milliseconds without an answer.
        ms: u64,
    },
}

impl OnDisconnect {
    /// What goes for a worker with this offer.
    pub(crate) fn of(offer: &Offer, config: &Config) -> Self {
        match offer.on_disconnect() {
            DisconnectPolicy::Unspecified => config.on_disconnect,
            DisconnectPolicy::KeepRunning => Self::KeepRunning,
            DisconnectPolicy::Wait => Self::Wait,
            DisconnectPolicy::StopAfter => Self::StopAfter {
                ms: offer.stop_after_ms,
            },
        }
    }

    /// Checks the rule above.
    ///
    /// # Errors
    /// In words, what the longest time is.
    pub fn check(self, stop_grace_ms: u64, lost_after_us: u64) -> Result<(), String> {
        let Self::StopAfter { ms } = self else {
            return Ok(());
        };
        let most_ms = (lost_after_us / 1_000 * 4 / 5).saturating_sub(stop_grace_ms);
        if (1..=most_ms).contains(&ms) {
            return Ok(());
        }
        Err(format!(
            "programs would be stopped {ms} ms after contact was lost, but it must be between 1 and {most_ms}: a worker is declared lost after {} ms, \
             a stop takes up to {stop_grace_ms} ms, and clocks may run apart by a fifth",
            lost_after_us / 1_000
        ))
    }

    /// Milliseconds that a worker goes on without an answer; 0 means for ever.
    pub(crate) fn stop_after_ms(self) -> u64 {
        match self {
            Self::KeepRunning | Self::Wait => 0,
            Self::StopAfter { ms } => ms,
        }
    }
}

/// As people write it: `keep_running`, `wait`, `stop_after=35s`; also with `ms` and `m`.
impl FromStr for OnDisconnect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text:?} is none of keep_running, wait, stop_after=35s");
        match text.split_once('=') {
            None if text == "keep_running" => Ok(Self::KeepRunning),
            None if text == "wait" => Ok(Self::Wait),
            Some(("stop_after", time)) => {
                let digits = time.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
                let number: u64 = digits.parse().map_err(|_| unknown())?;
                let unit_ms = match &time[digits.len()..] {
                    "ms" => 1,
                    "s" => 1_000,
                    "m" => 60_000,
                    _ => return Err(unknown()),
                };
                let ms = number.checked_mul(unit_ms).ok_or_else(unknown)?;
                Ok(Self::StopAfter { ms })
            }
            _ => Err(unknown()),
        }
    }
}

/// Refuses an offer that breaks the rule.
pub(crate) fn check(offer: &Offer, config: &Config) -> Result<(), Refusal> {
    OnDisconnect::of(offer, config)
        .check(config.stop_grace_ms, config.lost_after_us)
        .map_err(|words| Refusal::invalid_field("offer.stop_after_ms", words))
}

#[cfg(test)]
mod tests {
    use super::OnDisconnect;

    #[test]
    fn as_people_write_it() {
        let parse = |text: &str| text.parse::<OnDisconnect>();
        assert_eq!(parse("keep_running"), Ok(OnDisconnect::KeepRunning));
        assert_eq!(parse("wait"), Ok(OnDisconnect::Wait));
        for (text, ms) in [("35s", 35_000), ("1500ms", 1_500), ("2m", 120_000)] {
            let parsed = parse(&format!("stop_after={text}"));
            assert_eq!(parsed, Ok(OnDisconnect::StopAfter { ms }));
        }
        for text in [
            "",
            "stop_after",
            "stop_after=",
            "stop_after=9h",
            "stop_after=s",
            "wait=1s",
            "stop_after=99999999999999999999s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_worker_stops_before_it_can_be_declared_lost() {
        let check = |ms| OnDisconnect::StopAfter { ms }.check(10_000, 60_000_000);
        assert_eq!(check(35_000), Ok(()));
        assert_eq!(check(38_000), Ok(()));
        assert!(check(38_001).is_err_and(|words| words.contains("between 1 and 38000")));
        assert!(check(0).is_err());
        assert_eq!(OnDisconnect::Wait.check(10_000, 0), Ok(()));
    }
}
