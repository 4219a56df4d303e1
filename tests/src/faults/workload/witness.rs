//! A file outside in which steps leave word when they begin and end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use contract::api;

use super::Report;

/// The name of an attempt as its program sees it: `EXECUTION.NUMBER.INDEX`.
pub(super) type Token = String;

/// Where steps write.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    path: PathBuf,
}

/// When an attempt began and ended, by the order of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) begin: Option<usize>,
    pub(super) end: Option<usize>,
}

impl Witness {
    pub(super) fn new(place: &Path, name: &str) -> Self {
        Self {
            path: place.join(name),
        }
    }

    /// Shell that leaves word that the attempt begins. Short appends are whole and in order.
    pub(super) fn begins(&self) -> String {
        format!("echo \"B $ATTEMPT_TOKEN\" >> {}", self.path.display())
    }

    /// Shell that leaves word that it ends.
    pub(super) fn ends(&self) -> String {
        format!("echo \"E $ATTEMPT_TOKEN\" >> {}", self.path.display())
    }

    /// What was written.
    pub(super) fn read(&self, report: &mut Report) -> BTreeMap<Token, Span> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let mut spans: BTreeMap<Token, Span> = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let Some((what, token)) = line.split_once(' ') else {
                report.broken(format!("a step left the line {line:?}"));
                continue;
            };
            let span = spans.entry(token.to_owned()).or_default();
            let moment = if what == "B" {
                &mut span.begin
            } else {
                &mut span.end
            };
            if moment.replace(at).is_some() {
                report.broken(format!("I-12: one attempt ran twice: {line}"));
            }
        }
        spans
    }
}

/// The token of an attempt of an execution.
pub(super) fn token(execution: &api::Execution, attempt: &api::Attempt) -> Token {
    format!(
        "{}.{}.{}",
        execution.execution_id, attempt.number, attempt.fence_index
    )
}

/// Looks whether the attempts of an execution are as they should be: numbered from 1, at most one complete and that the last (I-06),
/// the complete one seen from its beginning to its end. The complete one.
pub(super) fn audit(
    execution: &api::Execution,
    spans: &BTreeMap<Token, Span>,
    may_cost_attempts: bool,
    report: &mut Report,
) -> Option<Span> {
    let name = &execution.name;
    for (attempt, expected) in execution.attempts.iter().zip(1..) {
        if attempt.number != expected {
            report.broken(format!(
                "I-06: attempt {expected} of {name} is numbered {}",
                attempt.number
            ));
        }
    }
    if execution.attempts.len() > 1 && !may_cost_attempts {
        report.broken(format!(
            "I-12: {name} has {} attempts, though no worker was lost: {:?}",
            execution.attempts.len(),
            execution
                .attempts
                .iter()
                .map(|attempt| (attempt.state(), attempt.end_reason(), &attempt.message))
                .collect::<Vec<_>>()
        ));
    }
    let complete: Vec<&api::Attempt> = execution
        .attempts
        .iter()
        .filter(|attempt| attempt.state() == api::State::Complete)
        .collect();
    if complete.len() > 1 {
        report.broken(format!("I-06: {name} has {} results", complete.len()));
    }
    if execution.state() == api::State::Complete && complete.is_empty() {
        report.broken(format!("I-06: {name} is complete without a result"));
    }
    let accepted = complete.last()?;
    let token = token(execution, accepted);
    match spans.get(&token) {
        Some(
            span @ Span {
                begin: Some(begin),
                end: Some(end),
            },
        ) if begin < end => Some(*span),
        other => {
            report.broken(format!(
                "I-06: {token} was accepted, and its program was seen as {other:?}"
            ));
            None
        }
    }
}
