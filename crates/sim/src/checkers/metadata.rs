//! I-22: what an execution has for metadata in the end is what its program printed last, each value once.

use std::collections::BTreeMap;

use contract::api::State;
use feed::{Latest, Line, LineAssembler, Stream, parse_metadata};

use ledger::Attempt;

use super::{Checker, Fact, Moment, Outcome};
use crate::clients::PROJECT;
use crate::coordinator::{Key, key};

/// What a program has printed.
#[derive(Debug, Default)]
struct Printed {
    lines: LineAssembler,
    latest: Latest,
}

/// By feed.
#[derive(Debug, Default)]
pub(super) struct Metadata(BTreeMap<Key, Printed>);

impl Checker for Metadata {
    fn code(&self) -> &'static str {
        "I-22"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Printed { fence, batch } = fact {
            let printed = self.0.entry(key(*fence)).or_default();
            for record in batch.records() {
                let (_, record) = record.map_err(|error| error.to_string())?;
                if record.stream == Stream::Stdout
                    && let Some(Line::Whole(line)) =
                        printed.lines.push(&record.data, record.partial)
                    && let Some(values) = parse_metadata(&line)
                {
                    printed.latest.observe(values);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        for execution in outcome.ledger.executions(PROJECT) {
            // One that is cancelled between two tries ends without an attempt's result.
            let is_of_attempt = |attempt: &&Attempt| {
                attempt.feed_digest.is_some() && execution.state() != State::Stopped
            };
            let Some(attempt) = execution.attempts.last().filter(is_of_attempt) else {
                continue;
            };
            let key = Key {
                execution: *execution.execution_id.as_bytes(),
                attempt: attempt.number,
            };
            let told = parse_metadata(execution.metadata_json.as_bytes()).unwrap_or_default();
            let printed = self.0.get(&key).map(|printed| printed.latest.values());
            if printed.map_or(!told.is_empty(), |printed| *printed != told) {
                return Err(format!(
                    "#{} has the metadata {:?}; its program printed {printed:?}",
                    execution.number, execution.metadata_json
                ));
            }
        }
        Ok(())
    }
}
