//! What an attempt used of its machine: a row a quantity, with its curve on a terminal.

use std::time::Duration;

use contract::api::MetricSample;

use super::{cell, moment};
use crate::print::{table, units};

/// Steps of a curve, from nothing to the most.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of a curve, at most and at least.
const MOST_COLUMNS: usize = 60;
const LEAST_COLUMNS: usize = 10;
/// Columns that the rest of a row takes.
const BESIDE: usize = 62;
/// Shortest id of a device that is shown whole.
const ID: usize = 12;

/// The samples of one attempt.
pub(crate) struct Curves<'a> {
    /// Number of the execution.
    pub(crate) number: i64,
    /// Number of the attempt; 0 while there is none.
    pub(crate) attempt: i32,
    /// In order.
    pub(crate) samples: &'a [MetricSample],
}

/// How a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Processors,
    Bytes,
    BytesPerSecond,
    Count,
    Percent,
    Celsius,
    Watts,
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Self::Processors => format!("{value:.2}"),
            Self::Bytes => units::size(value as u64),
            Self::BytesPerSecond => format!("{}/s", units::size(value as u64)),
            Self::Count => format!("{value:.0}"),
            Self::Percent => format!("{value:.0} %"),
            Self::Celsius => format!("{value:.0} °C"),
            Self::Watts => format!("{value:.0} W"),
        }
    }

    /// What fills a curve to the top.
    fn top(self, most: f64) -> f64 {
        match self {
            Self::Percent => 100.0,
            _ => most,
        }
    }
}

/// One quantity over time: spans in seconds, and the value in each where it is known.
struct Quantity {
    name: String,
    unit: Unit,
    points: Vec<(f64, Option<f64>)>,
}

impl Curves<'_> {
    /// As text, with curves where there are `columns` to draw them in.
    pub(crate) fn draw(&self, columns: Option<usize>) -> String {
        let attempt = match self.attempt {
            0 => String::new(),
            number => format!(", attempt {number}"),
        };
        let who = format!("execution #{}{attempt}", self.number);
        if self.samples.is_empty() {
            return format!(
                "{who}: nothing was measured so far; the first sample comes after a second, unless its worker measures nothing\n"
            );
        }
        let whole: f64 = self.samples.iter().map(span).sum();
        let over = units::duration(Duration::try_from_secs_f64(whole).unwrap_or_default());
        let columns = columns.map(|all| {
            all.saturating_sub(BESIDE)
                .clamp(LEAST_COLUMNS, MOST_COLUMNS)
        });
        let rows: Vec<Vec<String>> = self
            .quantities()
            .iter()
            .filter_map(|quantity| quantity.row(columns))
            .collect();
        let heading = ["", "CURVE", "MIN", "MEAN", "MAX", "LAST"];
        let heading: Vec<&str> = heading
            .into_iter()
            .filter(|word| columns.is_some() || *word != "CURVE")
            .collect();
        let limit = self
            .samples
            .iter()
            .rev()
            .find_map(|one| one.memory_limit_bytes);
        let limit = limit.map_or_else(String::new, |bytes| {
            format!(", memory limit {}", units::size(bytes.max(0) as u64))
        });
        let count = match self.samples.len() {
            1 => "1 sample".to_owned(),
            count => format!("{count} samples"),
        };
        format!(
            "{who}: {count} over {over}{limit}\n{}",
            table::render(&heading, &rows)
        )
    }

    fn quantities(&self) -> Vec<Quantity> {
        let of = |name: &str, unit, value: &dyn Fn(&MetricSample) -> Option<f64>| {
            let points = self
                .samples
                .iter()
                .map(|sample| (span(sample), value(sample)));
            Quantity {
                name: name.to_owned(),
                unit,
                points: points.collect(),
            }
        };
        let mut all = vec![
            of("processors", Unit::Processors, &processors),
            of("memory", Unit::Bytes, &|one| number(one.memory_bytes)),
            of("processes", Unit::Count, &|one| number(one.process_count)),
            of("disk read", Unit::BytesPerSecond, &|one| {
                rate(one, one.disk_read_bytes)
            }),
            of("disk written", Unit::BytesPerSecond, &|one| {
                rate(one, one.disk_written_bytes)
            }),
            of("received", Unit::BytesPerSecond, &|one| {
                rate(one, one.network_received_bytes)
            }),
            of("sent", Unit::BytesPerSecond, &|one| {
                rate(one, one.network_sent_bytes)
            }),
        ];
        let mut ids: Vec<&str> = Vec::new();
        for device in self.samples.iter().flat_map(|sample| &sample.devices) {
            if !ids.contains(&device.device_id.as_str()) {
                ids.push(&device.device_id);
            }
        }
        for id in ids {
            let device = |one: &MetricSample| {
                one.devices
                    .iter()
                    .find(|device| device.device_id == id)
                    .cloned()
            };
            let short = short(id);
            all.extend([
                of(&format!("{short} busy"), Unit::Percent, &|one| {
                    device(one)?.utilization_percent.map(f64::from)
                }),
                of(&format!("{short} memory"), Unit::Bytes, &|one| {
                    number(device(one)?.memory_bytes)
                }),
                of(&format!("{short} temperature"), Unit::Celsius, &|one| {
                    device(one)?.temperature_celsius.map(f64::from)
                }),
                of(&format!("{short} power"), Unit::Watts, &|one| {
                    Some(device(one)?.power_milliwatts? as f64 / 1_000.0)
                }),
            ]);
        }
        all
    }
}

impl Quantity {
    /// Its row; none when its value was never known.
    fn row(&self, columns: Option<usize>) -> Option<Vec<String>> {
        let known = || {
            self.points
                .iter()
                .filter_map(|(span, value)| Some((*span, (*value)?)))
        };
        let last = known().next_back()?.1;
        let least = known()
            .map(|(_, value)| value)
            .fold(f64::INFINITY, f64::min);
        let most = known()
            .map(|(_, value)| value)
            .fold(f64::NEG_INFINITY, f64::max);
        let whole: f64 = known().map(|(span, _)| span).sum();
        let mean = known().map(|(span, value)| span * value).sum::<f64>() / whole;
        let mut row = vec![cell(&self.name)];
        row.extend(columns.map(|columns| self.curve(columns, self.unit.top(most))));
        row.extend([least, mean, most, last].map(|value| self.unit.write(value)));
        Some(row)
    }

    /// The means of so many equal parts of the whole time, as heights; fewer where there are fewer samples.
    fn curve(&self, columns: usize, top: f64) -> String {
        let columns = columns.min(self.points.len());
        let whole: f64 = self.points.iter().map(|(span, _)| span).sum();
        let mut sums = vec![(0.0, 0.0); columns];
        let mut begin = 0.0;
        for (span, value) in &self.points {
            let end = begin + span;
            let column = |time: f64| time / whole * columns as f64;
            let (first, last) = (column(begin), column(end));
            begin = end;
            let Some(value) = value else { continue };
            for (at, sum) in sums.iter_mut().enumerate() {
                let share = last.min(at as f64 + 1.0) - first.max(at as f64);
                if share > 0.0 {
                    *sum = (sum.0 + share, sum.1 + share * value);
                }
            }
        }
        let height = |(weight, sum): &(f64, f64)| {
            if *weight <= 0.0 {
                return ' ';
            }
            let part = if top > 0.0 { sum / weight / top } else { 0.0 };
            let step = (part * (STEPS.len() - 1) as f64).round();
            STEPS[(step.max(0.0) as usize).min(STEPS.len() - 1)]
        };
        sums.iter().map(height).collect()
    }
}

/// One sample as a line.
pub(crate) fn sample_line(sample: &MetricSample) -> String {
    let bytes = |bytes: f64| units::size(bytes as u64);
    let mut parts = vec![moment(sample.time.as_ref())];
    parts.extend(processors(sample).map(|value| format!("processors {value:.2}")));
    parts.extend(number(sample.memory_bytes).map(|value| format!("memory {}", bytes(value))));
    let rates = [
        ("disk read", sample.disk_read_bytes),
        ("disk written", sample.disk_written_bytes),
        ("received", sample.network_received_bytes),
        ("sent", sample.network_sent_bytes),
    ];
    for (name, amount) in rates {
        let rate = rate(sample, amount);
        parts.extend(rate.map(|value| format!("{name} {}/s", bytes(value))));
    }
    for device in &sample.devices {
        let busy = device.utilization_percent.map(|n| format!("busy {n} %"));
        let memory = number(device.memory_bytes).map(|n| format!("memory {}", bytes(n)));
        let told: Vec<String> = busy.into_iter().chain(memory).collect();
        parts.push(format!("{} {}", short(&device.device_id), told.join(", ")));
    }
    parts.join("  ")
}

/// An id that can be told from others, without what makes it long.
pub(super) fn short(id: &str) -> String {
    cell(&id.chars().take(ID).collect::<String>())
}

fn seconds(duration: Option<&prost_types::Duration>) -> Option<f64> {
    duration.map(|d| d.seconds as f64 + f64::from(d.nanos) / 1e9)
}

/// Of a sample that tells none, as short as can be: it counts for nothing, but is there.
fn span(sample: &MetricSample) -> f64 {
    seconds(sample.span_duration.as_ref())
        .unwrap_or(0.0)
        .max(1e-6)
}

fn processors(sample: &MetricSample) -> Option<f64> {
    Some(seconds(sample.cpu_duration.as_ref())? / span(sample))
}

fn rate(sample: &MetricSample, amount: Option<i64>) -> Option<f64> {
    Some(number(amount)? / span(sample))
}

fn number(value: Option<i64>) -> Option<f64> {
    value.map(|value| value as f64)
}

#[cfg(test)]
mod tests {
    use contract::api::DeviceSample;
    use expect_test::{Expect, expect};
    use prost_types::{Duration as Span, Timestamp};

    use super::*;

    /// Half a minute: the first samples a second apart, then ten.
    fn samples() -> Vec<MetricSample> {
        let spans = [1, 1, 1, 1, 1, 1, 10, 10];
        let busy = [0, 50, 100, 100, 25, 0, 80, 10];
        let both = spans.into_iter().zip(busy).enumerate();
        both.map(|(at, (seconds, percent))| MetricSample {
            record: at as i64,
            time: Some(Timestamp {
                seconds: 1_700_000_000 + at as i64,
                nanos: 5,
            }),
            span_duration: Some(Span { seconds, nanos: 0 }),
            cpu_duration: Some(Span {
                seconds: seconds * i64::from(percent) / 50,
                nanos: 0,
            }),
            memory_bytes: Some((at as i64 + 1) << 20),
            memory_limit_bytes: Some(16 << 20),
            process_count: Some(3),
            disk_written_bytes: Some(4_096 * seconds),
            devices: (at > 1)
                .then(|| DeviceSample {
                    device_id: "GPU-5a3f9c77-0000-1111".into(),
                    utilization_percent: Some(percent),
                    memory_bytes: Some(1 << 30),
                    temperature_celsius: Some(40 + at as i32),
                    power_milliwatts: None,
                })
                .into_iter()
                .collect(),
            ..MetricSample::default()
        })
        .collect()
    }

    fn check(columns: Option<usize>, samples: &[MetricSample], expected: Expect) {
        let curves = Curves {
            number: 3,
            attempt: 1,
            samples,
        };
        expected.assert_eq(&curves.draw(columns));
    }

    #[test]
    fn curves_on_a_terminal() {
        check(
            Some(100),
            &samples(),
            expect![[r#"
            execution #3, attempt 1: 8 samples over 26.0 s, memory limit 16.0 MiB
                                      CURVE     MIN         MEAN        MAX         LAST
            processors                ▅▃▇▇▆▂▂▂  0.00        0.88        2.00        0.20
            memory                    ▃▆▇▇▇███  1.00 MiB    6.58 MiB    8.00 MiB    8.00 MiB
            processes                 ████████  3           3           3           3
            disk written              ████████  4.00 KiB/s  4.00 KiB/s  4.00 KiB/s  4.00 KiB/s
            GPU-5a3f9c77 busy         █▄▇▇▆▂▂▂  0 %         47 %        100 %       10 %
            GPU-5a3f9c77 memory       ████████  1.00 GiB    1.00 GiB    1.00 GiB    1.00 GiB
            GPU-5a3f9c77 temperature  ▇███████  42 °C       46 °C       47 °C       47 °C
        "#]],
        );
    }

    #[test]
    fn numbers_elsewhere() {
        check(
            None,
            &samples(),
            expect![[r#"
            execution #3, attempt 1: 8 samples over 26.0 s, memory limit 16.0 MiB
                                      MIN         MEAN        MAX         LAST
            processors                0.00        0.88        2.00        0.20
            memory                    1.00 MiB    6.58 MiB    8.00 MiB    8.00 MiB
            processes                 3           3           3           3
            disk written              4.00 KiB/s  4.00 KiB/s  4.00 KiB/s  4.00 KiB/s
            GPU-5a3f9c77 busy         0 %         47 %        100 %       10 %
            GPU-5a3f9c77 memory       1.00 GiB    1.00 GiB    1.00 GiB    1.00 GiB
            GPU-5a3f9c77 temperature  42 °C       46 °C       47 °C       47 °C
        "#]],
        );
        check(
            None,
            &[],
            expect![[r#"
            execution #3, attempt 1: nothing was measured so far; the first sample comes after a second, unless its worker measures nothing
        "#]],
        );
    }

    #[test]
    fn a_sample_a_line() {
        expect!["2023-11-14 22:13:26  processors 1.60  memory 7.00 MiB  disk written 4.00 KiB/s  GPU-5a3f9c77 busy 80 %, memory 1.00 GiB"].assert_eq(&sample_line(&samples()[6]));
    }
}
