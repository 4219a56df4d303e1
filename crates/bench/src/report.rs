//! Figures as JSON lines for programs and as a table for people.

use std::io::Write as _;
use std::process::Command;

use anyhow::Context as _;
use serde_json::json;

use crate::work::Unit;

/// One contender's figures of a row.
#[derive(Debug)]
pub(crate) struct Figure {
    /// The row of `docs/performance.md`.
    pub(crate) row: &'static str,
    /// Whose it is, or of what. Names of floors begin with `floor`.
    pub(crate) name: String,
    /// What is counted.
    pub(crate) unit: Unit,
    /// One for each round, in order.
    pub(crate) rounds: Vec<f64>,
}

impl Figure {
    /// Without rounds.
    pub(crate) fn new(row: &'static str, name: &str, unit: Unit) -> Self {
        Self {
            row,
            name: name.to_owned(),
            unit,
            rounds: Vec::new(),
        }
    }

    fn median(&self) -> f64 {
        median(&self.rounds)
    }

    fn spread(&self) -> (f64, f64) {
        let low = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self
            .rounds
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    }

    /// Of a reference, the median of the rounds' own ratios: both had the same noise in a round.
    fn ratio(&self, to: &Figure) -> Option<f64> {
        if self.unit != to.unit || self.rounds.len() != to.rounds.len() {
            return None;
        }
        let ratios: Vec<f64> = self
            .rounds
            .iter()
            .zip(&to.rounds)
            .map(|(own, other)| own / other)
            .collect();
        Some(median(&ratios))
    }
}

/// The middle of some numbers; of an even count, the mean of the two in the middle. Not a number if there are none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(&one), 1) => one,
        (Some(&upper), _) => (sorted[middle - 1] + upper) / 2.0,
    }
}

/// Prints the figures: JSON lines on standard output, a table on standard error. The first is what the others are compared with.
pub(crate) fn print(figures: &[Figure]) -> anyhow::Result<()> {
    let floor = figures.first().context("nothing was measured")?;
    let commit = commit();
    let load = load();
    let mut out = std::io::stdout().lock();
    eprintln!(
        "\n{:<32} {:>10} {:>23} {:>16} {:>9}",
        "", "median", "lowest to highest", "", "of first"
    );
    for figure in figures {
        let ((low, high), ratio) = (figure.spread(), figure.ratio(floor));
        let line = json!({
            "row": figure.row, "name": figure.name, "unit": figure.unit, "median": figure.median(), "low": low, "high": high,
            "ratio": ratio, "ratio_to": floor.name, "rounds": figure.rounds, "commit": commit, "load": load,
        });
        writeln!(out, "{line}")?;
        let spread = format!("{low:.2} to {high:.2}");
        let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        eprintln!(
            "{:<32} {:>10.2} {spread:>23} {:>16} {ratio:>9}",
            figure.name,
            figure.median(),
            figure.unit.text()
        );
    }
    Ok(())
}

/// The commit of the work tree this is run in; a `+` after it tells of changes.
pub(crate) fn commit() -> String {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty=+", "--abbrev=10"])
        .output();
    described
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// The load of the machine over the last minute.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(rounds: &[f64]) -> Figure {
        Figure {
            row: "P0",
            name: String::new(),
            unit: Unit::Seconds,
            rounds: rounds.to_vec(),
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_of_rounds_in_pairs() {
        // The third round was ten times slower for both.
        let (own, floor) = (figure(&[2.0, 2.0, 20.0]), figure(&[1.0, 1.0, 10.0]));
        assert_eq!(own.ratio(&floor), Some(2.0));
        assert_eq!(own.ratio(&figure(&[1.0])), None);
    }
}
