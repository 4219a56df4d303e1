//! The work that is done by each contender of a race, and the unit it is told in.

use clap::ValueEnum;
use serde::Serialize;

/// What the shell of a trivial step runs; the floor, Shoal and the peers run the very same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
pub(crate) enum Script {
    /// Nothing beside the shell itself.
    #[serde(rename = "true")]
    #[value(name = "true")]
    Builtin,
    /// A second program.
    #[serde(rename = "/bin/true")]
    #[value(name = "/bin/true")]
    Program,
}

impl Script {
    /// As the shell reads it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Script::Builtin => "true",
            Script::Program => "/bin/true",
        }
    }
}

/// One round's work. Peers are sent it as JSON.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub(crate) enum Work {
    /// Trivial steps one after the other, each waited for.
    Single {
        /// How many.
        count: usize,
        /// What each runs.
        script: Script,
    },
    /// Trivial steps that wait for nothing.
    Many {
        /// How many.
        count: usize,
        /// How many run at once.
        slots: usize,
        /// What each runs.
        script: Script,
    },
    /// Steps that each read the small file of the one before.
    Chain {
        /// How many.
        length: usize,
    },
}

impl Work {
    /// How a round's figure is told.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Work::Single { .. } => Unit::MillisecondsEach,
            Work::Many { .. } => Unit::EachSecond,
            Work::Chain { .. } => Unit::MillisecondsEach,
        }
    }

    /// A round's figure. `seconds`: of each step for [`Work::Single`], whose median counts; else of all steps together.
    pub(crate) fn figure(self, seconds: &[f64]) -> f64 {
        let total: f64 = seconds.iter().sum();
        match self {
            Work::Single { .. } => crate::report::median(seconds) * 1_000.0,
            Work::Many { count, .. } => count as f64 / total,
            Work::Chain { length } => total * 1_000.0 / length as f64,
        }
    }
}

/// How figures are told, and which is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Milliseconds a step: less is better.
    #[serde(rename = "ms/step")]
    MillisecondsEach,
    /// Steps a second: more is better.
    #[serde(rename = "steps/s")]
    EachSecond,
    /// Writes a second: more is better.
    #[serde(rename = "writes/s")]
    WritesEachSecond,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Mebibytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// Bytes for each finished execution.
    #[serde(rename = "bytes/execution")]
    BytesEach,
}

impl Unit {
    /// As printed.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Unit::MillisecondsEach => "ms/step",
            Unit::EachSecond => "steps/s",
            Unit::WritesEachSecond => "writes/s",
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Mebibytes => "MiB",
            Unit::BytesEach => "bytes/execution",
        }
    }
}
