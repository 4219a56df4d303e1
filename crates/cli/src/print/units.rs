//! Sizes and durations for people.

use std::time::Duration;

/// A size in binary units with three significant digits: `0 B`, `1023 B`, `1.50 KiB`, `57.3 KiB`, `2.00 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for name in UNITS {
        value /= 1024.0;
        unit = name;
        if value < 999.5 {
            break;
        }
    }
    let digits = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.digits$} {unit}")
}

/// A duration as people say it: `85 ms`, `4.2 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..=59 => format!("{:.1} s", duration.as_secs_f64()),
        60..=3_599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long ago something was, in one unit: `now`, `42 s ago`, `5 min ago`, `3 h ago`, `12 d ago`.
pub fn ago(since: Duration) -> String {
    let seconds = since.as_secs();
    match seconds {
        0 => "now".to_owned(),
        1..=59 => format!("{seconds} s ago"),
        60..=3_599 => format!("{} min ago", seconds / 60),
        3_600..=86_399 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.50 KiB"),
            (58_700, "57.3 KiB"),
            (1 << 31, "2.00 GiB"),
            (1_048_000, "1.00 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn ages() {
        for (seconds, expected) in [
            (0, "now"),
            (59, "59 s ago"),
            (3_599, "59 min ago"),
            (86_399, "23 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn durations() {
        for (ms, expected) in [
            (85, "85 ms"),
            (4_200, "4.2 s"),
            (185_000, "3 min 05 s"),
            (7_620_000, "2 h 07 min"),
            (273_600_000, "3 d 04 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), expected);
        }
    }
}
