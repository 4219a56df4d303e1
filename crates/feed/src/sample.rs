//! What was measured of an attempt in one span of time: the data of the records of [`Stream::Metric`](crate::Stream::Metric).
//!
//! A sample is JSON, so that any reader of a feed can make something of it, and so that versions may differ: fields are only ever added, and
//! those that nobody knows are passed over. What a machine cannot tell is absent, which is not the same as zero.
//! Amounts (processor time, bytes read) are those of the span alone: the sum over all samples is the whole, and a reader that begins
//! anywhere needs no sample before.

use serde::{Deserialize, Serialize};

/// What was measured. Memory and counts are as they were at the end of the span.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// How long the span was that ends with the record's time, in microseconds.
    pub span_us: u64,
    /// Processor time of all its programs, in microseconds: twice the span means that two processors were busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Memory in bytes: what a container is charged for, without file pages that can go at once; of plain processes the sum of what each has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Most memory that it may have, in bytes, where there is such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Processes; in a container threads count too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_count: Option<u64>,
    /// Bytes read from disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_read_bytes: Option<u64>,
    /// Bytes written to disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_written_bytes: Option<u64>,
    /// Bytes received, where it has a network of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_received_bytes: Option<u64>,
    /// Bytes sent, where it has a network of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_sent_bytes: Option<u64>,
    /// Its devices, as far as their driver told in time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Reading>,
}

/// What a device's driver tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// What names the device for good.
    pub device_id: String,
    /// How much of the time it was busy, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_percent: Option<u32>,
    /// Memory that is taken, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Its temperature in degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<i32>,
    /// The power it draws, in milliwatts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_milliwatts: Option<u64>,
}

impl Sample {
    /// The data of a record.
    pub fn to_data(&self) -> Vec<u8> {
        // Numbers and texts only: there is nothing that JSON cannot say.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the data of a record; none if it is no sample.
    pub fn of_data(data: &[u8]) -> Option<Sample> {
        serde_json::from_slice(data).ok()
    }
}

/// Spans while an attempt is younger than this are as long as was asked for.
const FINE_UNTIL_US: u64 = 10 * 60 * SECOND_US;
/// Until it is as old as this they are at least [`COARSE_US`] long.
const COARSE_UNTIL_US: u64 = 6 * 3_600 * SECOND_US;
/// The least span of an attempt that is not young any more.
const COARSE_US: u64 = 10 * SECOND_US;
/// The least span of an old one.
const COARSEST_US: u64 = 60 * SECOND_US;
const SECOND_US: u64 = 1_000_000;

/// How long the next span should be of an attempt that has run for `age_us`, where `asked_us` was asked for. The resolution falls with age,
/// so that days of samples stay few: with a second asked for, three days are some 7,000.
pub fn span_us(asked_us: u64, age_us: u64) -> u64 {
    let least = match age_us {
        0..FINE_UNTIL_US => 0,
        FINE_UNTIL_US..COARSE_UNTIL_US => COARSE_US,
        COARSE_UNTIL_US.. => COARSEST_US,
    };
    asked_us.max(least)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// These bytes lie on disks.
    #[test]
    fn the_data_of_a_sample_stays_readable() {
        let sample = Sample {
            span_us: 1_000_000,
            cpu_us: Some(1_500_000),
            memory_bytes: Some(7),
            devices: vec![Reading {
                device_id: "GPU-1".into(),
                utilization_percent: Some(93),
                temperature_celsius: Some(-3),
                ..Reading::default()
            }],
            ..Sample::default()
        };
        let text = r#"{"span_us":1000000,"cpu_us":1500000,"memory_bytes":7,"devices":[{"device_id":"GPU-1","utilization_percent":93,"temperature_celsius":-3}]}"#;
        assert_eq!(String::from_utf8(sample.to_data()).unwrap(), text);
        assert_eq!(Sample::of_data(text.as_bytes()), Some(sample));
        let newer = br#"{"span_us":5,"what_nobody_knows":[1]}"#;
        let expected = Sample {
            span_us: 5,
            ..Sample::default()
        };
        assert_eq!(Sample::of_data(newer), Some(expected));
        assert_eq!(Sample::of_data(b"no sample"), None);
    }

    fn samples_of(asked_us: u64, duration_us: u64) -> u64 {
        let (mut age, mut count) = (0, 0);
        while age < duration_us {
            age += span_us(asked_us, age);
            count += 1;
        }
        count
    }

    #[test]
    fn days_are_few_samples_and_minutes_are_all() {
        assert_eq!(samples_of(SECOND_US, 600 * SECOND_US), 600);
        assert_eq!(samples_of(SECOND_US, 6 * 3_600 * SECOND_US), 600 + 2_100);
        let three_days = 3 * 86_400 * SECOND_US;
        assert_eq!(samples_of(SECOND_US, three_days), 600 + 2_100 + 3_960);
        assert_eq!(span_us(300 * SECOND_US, 0), 300 * SECOND_US);
    }

    proptest! {
        #[test]
        fn spans_never_get_shorter(asked in 1..1_000_000_000u64, age in 0..1_000_000_000_000u64, later in 0..1_000_000_000_000u64) {
            prop_assert!(span_us(asked, age) >= asked);
            prop_assert!(span_us(asked, age + later) >= span_us(asked, age));
        }
    }
}
