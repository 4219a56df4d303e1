//! Machine metrics: the samples among the records of a log.

use contract::api::{DeviceSample, MetricSample, ReadMetricsResponse};
use feed::{Reading, Record, Sample, Stream};

use super::log::log_gap;
use super::log_pump::{Part, Read};
use crate::convert::{from_micros, int64};

/// Turns parts of a log into messages of metrics.
pub(super) struct Metrics {
    attempt: u32,
    /// The record that the next message speaks from.
    told: u64,
}

impl Metrics {
    /// A reader that starts with record `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            attempt: 0,
            told: first,
        }
    }

    /// Takes a part of the log; gives a message when there is something to say.
    pub(super) fn take(&mut self, read: Read) -> Option<ReadMetricsResponse> {
        if read.attempt != self.attempt && read.attempt != 0 {
            if self.attempt != 0 {
                self.told = 0;
            }
            self.attempt = read.attempt;
        }
        match read.part {
            Part::Records(records) => {
                let next = records.last().map_or(self.told, |(number, _)| number + 1);
                let samples = records
                    .iter()
                    .filter_map(|(number, record)| sample(*number, record));
                let samples: Vec<MetricSample> = samples.collect();
                (!samples.is_empty()).then(|| self.message(samples, next, false))
            }
            Part::Gap(gap) => {
                let mut message = self.message(Vec::new(), gap.end, false);
                message.gap = Some(log_gap(gap));
                Some(message)
            }
            Part::Progress(next) => Some(self.message(Vec::new(), next, false)),
            Part::Sealed(count, _) => Some(self.message(Vec::new(), count, true)),
        }
    }

    /// A message about everything before `next`.
    fn message(
        &mut self,
        samples: Vec<MetricSample>,
        next: u64,
        sealed: bool,
    ) -> ReadMetricsResponse {
        let next = next.max(self.told);
        let start = std::mem::replace(&mut self.told, next);
        ReadMetricsResponse {
            samples,
            next_record: int64(next),
            sealed,
            attempt: self.attempt as i32,
            start_record: int64(start),
            gap: None,
        }
    }
}

/// The sample in a record; none if it is of another kind.
fn sample(number: u64, record: &Record) -> Option<MetricSample> {
    if record.stream != Stream::Metric {
        return None;
    }
    let sample = Sample::of_data(&record.data)?;
    Some(MetricSample {
        record: int64(number),
        time: from_micros(int64(record.time_us)),
        span_duration: Some(duration(sample.span_us)),
        cpu_duration: sample.cpu_us.map(duration),
        memory_bytes: sample.memory_bytes.map(int64),
        memory_limit_bytes: sample.memory_limit_bytes.map(int64),
        process_count: sample.process_count.map(int64),
        disk_read_bytes: sample.disk_read_bytes.map(int64),
        disk_written_bytes: sample.disk_written_bytes.map(int64),
        network_received_bytes: sample.network_received_bytes.map(int64),
        network_sent_bytes: sample.network_sent_bytes.map(int64),
        devices: sample.devices.into_iter().map(device).collect(),
    })
}

fn device(reading: Reading) -> DeviceSample {
    let percent = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    DeviceSample {
        device_id: reading.device_id,
        utilization_percent: reading.utilization_percent.map(percent),
        memory_bytes: reading.memory_bytes.map(int64),
        temperature_celsius: reading.temperature_celsius,
        power_milliwatts: reading.power_milliwatts.map(int64),
    }
}

fn duration(us: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: (us / 1_000_000) as i64,
        nanos: (us % 1_000_000 * 1_000) as i32,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn records(attempt: u32, first: u64, records: &[(Stream, &'static str)]) -> Read {
        let numbered = (first..).zip(records);
        let records = numbered.map(|(number, (stream, text))| {
            let record = Record {
                time_us: 5_000_000,
                stream: *stream,
                partial: false,
                data: Bytes::from_static(text.as_bytes()),
            };
            (number, record)
        });
        Read {
            attempt,
            part: Part::Records(records.collect()),
        }
    }

    #[test]
    fn samples_and_nothing_else_and_what_is_not_known_is_unset() {
        let mut metrics = Metrics::new(0);
        let read = records(
            1,
            0,
            &[
                (Stream::Stdout, "{\"span_us\":1}\n"),
                (
                    Stream::Metric,
                    "{\"span_us\":1500000,\"cpu_us\":3000000,\"devices\":[{\"device_id\":\"a\",\"utilization_percent\":7}]}",
                ),
                (Stream::Metric, "damaged"),
            ],
        );
        let message = metrics.take(read).unwrap();
        assert_eq!((message.start_record, message.next_record), (0, 3));
        let [sample] = message.samples.as_slice() else {
            panic!("{message:?}");
        };
        assert_eq!((sample.record, sample.memory_bytes), (1, None));
        assert_eq!(sample.span_duration, Some(duration(1_500_000)));
        assert_eq!(sample.cpu_duration, Some(duration(3_000_000)));
        assert_eq!(sample.devices[0].utilization_percent, Some(7));
        assert_eq!(sample.devices[0].power_milliwatts, None);
    }

    #[test]
    fn what_was_passed_over_is_told_with_what_comes_next() {
        let mut metrics = Metrics::new(3);
        assert_eq!(
            metrics.take(records(1, 3, &[(Stream::Stdout, "a\n")])),
            None
        );
        let progress = Read {
            attempt: 1,
            part: Part::Progress(4),
        };
        let message = metrics.take(progress).unwrap();
        assert_eq!((message.start_record, message.next_record), (3, 4));
        let next = metrics
            .take(records(2, 0, &[(Stream::Metric, "{}")]))
            .unwrap();
        assert_eq!(
            (next.attempt, next.start_record, next.next_record),
            (2, 0, 1)
        );
        let sealed = Read {
            attempt: 2,
            part: Part::Sealed(1, None),
        };
        assert!(metrics.take(sealed).unwrap().sealed);
    }
}
