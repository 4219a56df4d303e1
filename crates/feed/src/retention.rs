//! How long feeds are kept that have ended.

use std::str::FromStr;

/// No feed goes sooner than this after it ended, whatever else is asked for: readers finish, and coordinators catch up.
const LEAST_AGE_MS: u64 = 60_000;

/// How long, and how much of, feeds is kept that have ended. By default everything, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// What ended longer ago is removed; milliseconds.
    pub max_age_ms: Option<u64>,
    /// When there is more, the oldest are removed; bytes on the disk.
    pub max_bytes: Option<u64>,
}

/// A feed that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When its attempt ended, Unix time in milliseconds.
    pub end_time_ms: i64,
    /// Bytes it takes on the disk.
    pub bytes: u64,
}

impl Retention {
    /// Whether everything is kept.
    pub fn is_for_ever(&self) -> bool {
        *self == Retention::default()
    }

    /// The time of those that ended at the returned time or before is over: Unix time in milliseconds. Whole feeds go, oldest first, and
    /// those that ended in the same millisecond together.
    pub fn until(&self, now_ms: i64, ended: impl IntoIterator<Item = Ended>) -> Option<i64> {
        let before = |age_ms: u64| now_ms.saturating_sub_unsigned(age_ms);
        let least = before(LEAST_AGE_MS);
        let by_age = self.max_age_ms.map(before);
        let by_size = self.max_bytes.and_then(|max| {
            let mut newest_first: Vec<Ended> = ended.into_iter().collect();
            newest_first.sort_unstable_by_key(|feed| std::cmp::Reverse(feed.end_time_ms));
            let mut bytes = 0_u64;
            let over = newest_first.iter().find(|feed| {
                bytes = bytes.saturating_add(feed.bytes);
                bytes > max
            });
            over.map(|feed| feed.end_time_ms)
        });
        by_age.max(by_size).map(|until| until.min(least))
    }
}

/// Reads a number of bytes: `500MB`, `20GiB`, `1000`.
///
/// # Errors
/// When it is none, in words.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || "expected a number of bytes such as 500MB, 20GiB or 1TB".to_owned();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(expected()),
    };
    let number = u64::from_str(number).map_err(|_| expected())?;
    number.checked_mul(factor).ok_or_else(expected)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn ended(end_time_ms: i64, bytes: u64) -> Ended {
        Ended { end_time_ms, bytes }
    }

    #[test]
    fn by_age_by_size_and_never_too_soon() {
        let feeds = [ended(HOUR, 10), ended(2 * HOUR, 10), ended(3 * HOUR, 10)];
        let until = |max_age_ms, max_bytes, now| {
            Retention {
                max_age_ms,
                max_bytes,
            }
            .until(now, feeds)
        };
        let now = 4 * HOUR;
        assert_eq!(until(None, None, now), None);
        assert_eq!(until(Some(HOUR as u64), None, now), Some(3 * HOUR));
        assert_eq!(until(None, Some(30), now), None);
        assert_eq!(until(None, Some(29), now), Some(HOUR));
        assert_eq!(until(None, Some(10), now), Some(2 * HOUR));
        assert_eq!(
            until(Some(2 * HOUR as u64 + 1), Some(10), now),
            Some(2 * HOUR)
        );
        assert_eq!(until(None, Some(0), 3 * HOUR), Some(3 * HOUR - 60_000));
        assert_eq!(until(Some(0), None, now), Some(now - 60_000));
    }

    #[test]
    fn bytes_are_read_with_their_units() {
        assert_eq!(parse_bytes("12"), Ok(12));
        assert_eq!(parse_bytes("20GiB"), Ok(20 << 30));
        assert_eq!(parse_bytes("3 MB"), Ok(3_000_000));
        for wrong in ["", "GB", "-1", "1.5GB", "3 elephants", "99999999999TB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// What stays fits, unless it ended a moment ago; and nothing goes that need not.
        #[test]
        fn the_oldest_go_and_no_more_than_must(feeds in proptest::collection::vec((0..50i64, 0..100u64), 0..30), max in 0..800u64, now in 0..100i64) {
            let feeds: Vec<Ended> = feeds.into_iter().map(|(hour, bytes)| ended(hour * HOUR, bytes)).collect();
            let now = now * HOUR;
            let rule = Retention { max_age_ms: None, max_bytes: Some(max) };
            let until = rule.until(now, feeds.clone()).unwrap_or(i64::MIN);
            let (gone, stay): (Vec<Ended>, Vec<Ended>) = feeds.iter().partition(|feed| feed.end_time_ms <= until);
            let len = |feeds: &[Ended]| feeds.iter().map(|feed| feed.bytes).sum::<u64>();
            prop_assert!(len(&stay) <= max || until == now - LEAST_AGE_MS as i64, "more stays than fits");
            if let Some(last) = gone.iter().map(|feed| feed.end_time_ms).max() {
                let with: u64 = feeds.iter().filter(|feed| feed.end_time_ms >= last).map(|feed| feed.bytes).sum();
                prop_assert!(with > max, "the newest that went did not have to");
            }
        }
    }
}
