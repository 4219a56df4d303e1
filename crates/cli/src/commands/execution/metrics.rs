//! `shoal execution metrics`: what an attempt uses of its machine, as curves, or sample by sample.

use client::MetricEvent;
use contract::api::MetricSample;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::Context;
use crate::commands::write_out;
use crate::print::live::Screen;
use crate::print::{self, escape};
use crate::tables::{Curves, sample_line};
use crate::{Exit, Failure, json};

pub(super) async fn metrics(
    context: &Context,
    number: i64,
    follow: bool,
    attempt: Option<i32>,
) -> Result<Exit, Failure> {
    let mut name = context.execution(number);
    if let Some(attempt) = attempt {
        name = format!("{name}/attempts/{attempt}");
    }
    let connection = context.connect_to_look()?;
    let mut series = connection.client.read_metrics(&name, 0, follow);
    let mut shown = Shown {
        number,
        attempt: 0,
        samples: Vec::new(),
        screen: Screen::new(),
        json: context.json(),
        follow,
    };
    let result = loop {
        let Some(event) = series.next().await else {
            break shown.finish();
        };
        let taken = match event {
            Ok(event) => shown.take(event),
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = taken {
            break Err(failure);
        }
    };
    context.close(connection).await;
    result.map(|()| Exit::Done)
}

struct Shown {
    number: i64,
    attempt: i32,
    samples: Vec<MetricSample>,
    screen: Screen,
    json: bool,
    follow: bool,
}

impl Shown {
    fn take(&mut self, event: MetricEvent) -> Result<(), Failure> {
        let (attempt, samples) = match event {
            MetricEvent::Samples { attempt, samples } => (attempt, samples),
            MetricEvent::Gap { gap, .. } => {
                let reason = escape::for_line(&gap.reason);
                print::tell(&format!("note: some of it is gone: {reason}\n"));
                return Ok(());
            }
            MetricEvent::InSync { attempt, .. } => (attempt, Vec::new()),
            MetricEvent::Sealed { .. } => return Ok(()),
        };
        if attempt != self.attempt {
            self.attempt = attempt;
            self.samples.clear();
        }
        if !self.follow {
            self.samples.extend(samples);
            return Ok(());
        }
        if self.json || !self.screen.is_terminal() {
            // While it goes on, a sample a line.
            return samples.iter().try_for_each(|sample| {
                let line = match self.json {
                    true => value(attempt, sample).to_string(),
                    false => sample_line(sample),
                };
                write_out(format!("{line}\n").as_bytes())
            });
        }
        self.samples.extend(samples);
        self.draw()
    }

    /// Shows what was gathered.
    fn finish(&mut self) -> Result<(), Failure> {
        match (self.follow, self.json) {
            (true, true) => Ok(()),
            (true, false) if !self.screen.is_terminal() => Ok(()),
            (_, false) => self.draw(),
            (false, true) => {
                let samples = self.samples.iter().map(|one| value(self.attempt, one));
                write_out(format!("{:#}\n", samples.collect::<Value>()).as_bytes())
            }
        }
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let curves = Curves {
            number: self.number,
            attempt: self.attempt,
            samples: &self.samples,
        };
        let text = curves.draw(self.screen.width());
        self.screen.show(&text)
    }
}

/// A sample for programs.
fn value(attempt: i32, sample: &MetricSample) -> Value {
    let seconds = |duration: Option<&prost_types::Duration>| {
        duration.map(|d| d.seconds as f64 + f64::from(d.nanos) / 1e9)
    };
    let devices = sample.devices.iter().map(|device| {
        json!({
            "id": device.device_id,
            "utilization_percent": device.utilization_percent,
            "memory_bytes": device.memory_bytes,
            "temperature_celsius": device.temperature_celsius,
            "power_milliwatts": device.power_milliwatts,
        })
    });
    json!({
        "attempt": attempt,
        "record": sample.record,
        "time": json::time(sample.time.as_ref()),
        "span_seconds": seconds(sample.span_duration.as_ref()),
        "cpu_seconds": seconds(sample.cpu_duration.as_ref()),
        "memory_bytes": sample.memory_bytes,
        "memory_limit_bytes": sample.memory_limit_bytes,
        "process_count": sample.process_count,
        "disk_read_bytes": sample.disk_read_bytes,
        "disk_written_bytes": sample.disk_written_bytes,
        "network_received_bytes": sample.network_received_bytes,
        "network_sent_bytes": sample.network_sent_bytes,
        "devices": devices.collect::<Vec<_>>(),
    })
}
