//! Records as text for people: lists, everything about one, what to know at an end.
//!
//! What is shown depends on the record and on the time it is; the time is an argument.

mod ending;
mod execution;
mod explanation;
mod metrics;
mod pipeline;
mod token;
mod worker;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use contract::api;
use prost_types::Timestamp;
use serde_json::Value;

use crate::json;
use crate::print::{escape, metadata, units};

pub(crate) use ending::{end_of_execution, end_of_pipeline};
pub(crate) use execution::{execution, executions, outputs};
pub(crate) use explanation::explanation;
pub(crate) use metrics::{Curves, sample_line};
pub(crate) use pipeline::{pipeline, pipelines};
pub(crate) use token::{how_to_join, tokens, where_it_is};
pub(crate) use worker::{only_here, top, worker, workers};

/// The time it is, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now(pub(crate) f64);

impl Now {
    /// The time it really is.
    pub(crate) fn real() -> Self {
        Self(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
        )
    }

    /// Time between two moments; the second is now when it has not come. `-` when the first has not come.
    pub(crate) fn took(self, start: Option<&Timestamp>, end: Option<&Timestamp>) -> String {
        self.between(start, end)
            .map_or_else(|| "-".to_owned(), units::duration)
    }

    /// How long ago it was: `5 min ago`, `-` when it has not come.
    pub(crate) fn ago(self, time: Option<&Timestamp>) -> String {
        self.between(time, None)
            .map_or_else(|| "-".to_owned(), units::ago)
    }

    fn between(self, start: Option<&Timestamp>, end: Option<&Timestamp>) -> Option<Duration> {
        let seconds = |time: &Timestamp| time.seconds as f64 + f64::from(time.nanos) / 1e9;
        let end = end.map_or(self.0, seconds);
        Duration::try_from_secs_f64((end - seconds(start?)).max(0.0)).ok()
    }
}

/// The number at the end of a resource name: `#3`; `-` when there is none.
pub(crate) fn number(name: &str) -> String {
    match name.rsplit('/').next() {
        Some(last) if !last.is_empty() => format!("#{last}"),
        _ => "-".to_owned(),
    }
}

/// A time in UTC to the second: `2026-11-23 20:04:05`.
pub(crate) fn moment(time: Option<&Timestamp>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| {
            let text = Timestamp {
                seconds: time.seconds,
                nanos: 0,
            }
            .to_string();
            text.trim_end_matches('Z').replace('T', " ")
        },
    )
}

/// A state with the reason it ended for: `error (exit code)`.
fn standing(state: api::State, reason: api::EndReason) -> String {
    match json::reason(reason) {
        Value::String(reason) => format!("{} ({})", json::state(state), reason.replace('_', " ")),
        _ => json::state(state),
    }
}

/// Text in a cell: safe, and `-` for none.
pub(crate) fn cell(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        escape::for_line(text)
    }
}

/// A value of a parameter as text.
fn value(value: Option<&api::Value>) -> String {
    match json::value(value) {
        Value::String(text) => escape::for_line(&text),
        other => other.to_string(),
    }
}

/// The beginning of a digest, enough to tell it from others; `-` for none.
fn digest(bytes: &[u8]) -> String {
    cell(&json::hex_text(&bytes[..bytes.len().min(8)]))
}

/// A size that the contract carries as a signed number.
fn size(bytes: i64) -> String {
    units::size(u64::try_from(bytes).unwrap_or_default())
}

/// `1 file`, `3 files`.
fn files(count: usize) -> String {
    if count == 1 {
        "1 file".to_owned()
    } else {
        format!("{count} files")
    }
}

/// A line about a fact: `  created   2026-11-23`.
fn fact(name: &str, value: &str) -> String {
    format!("  {name:<9} {value}\n")
}

/// Where the source came from, as a fact.
fn source(source: Option<&api::Source>) -> String {
    let Some(source) = source.filter(|source| !source.digest.is_empty()) else {
        return fact("source", "none");
    };
    let commit = match source.commit.as_str() {
        "" => "no commit".to_owned(),
        commit => {
            let branch = if source.branch.is_empty() {
                String::new()
            } else {
                format!(" on {}", escape::for_line(&source.branch))
            };
            let dirty = if source.dirty { ", with changes" } else { "" };
            format!(
                "commit {}{branch}{dirty}",
                commit.chars().take(12).collect::<String>()
            )
        }
    };
    fact(
        "source",
        &format!(
            "{commit}; {} ({})",
            digest(&source.digest),
            size(source.size_bytes)
        ),
    )
}

/// The latest metadata, a line a key.
pub(crate) fn latest(metadata_json: &str) -> String {
    match serde_json::from_str(metadata_json) {
        Ok(Value::Object(values)) => values
            .iter()
            .map(|(key, value)| {
                format!("  {} = {}\n", escape::for_line(key), metadata::short(value))
            })
            .collect(),
        // Not every object that a program prints is what JSON allows: NaN, for one.
        _ => format!("  {}\n", escape::for_line(metadata_json)),
    }
}
