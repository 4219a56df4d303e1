//! Times on the wire; 0 means that it has not happened.

use prost_types::Timestamp;

/// Unix milliseconds as a timestamp.
pub(crate) fn from_millis(time_ms: i64) -> Option<Timestamp> {
    from_micros(time_ms.saturating_mul(1_000))
}

/// Unix microseconds as a timestamp.
pub(crate) fn from_micros(time_us: i64) -> Option<Timestamp> {
    (time_us != 0).then(|| Timestamp {
        seconds: time_us.div_euclid(1_000_000),
        nanos: (time_us.rem_euclid(1_000_000) * 1_000) as i32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(from_millis(0), None);
        assert_eq!(
            from_millis(1_500),
            Some(Timestamp {
                seconds: 1,
                nanos: 500_000_000
            })
        );
        assert_eq!(
            from_micros(-1),
            Some(Timestamp {
                seconds: -1,
                nanos: 999_999_000
            })
        );
    }
}
