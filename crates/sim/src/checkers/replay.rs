//! I-04: the ledger that is served is the one that its entries make. What a leader computed ahead of the commit, what a restart
//! replays and what a snapshot restores must all be the same as entries applied one by one.

use contract::ledger::Entry;
use ledger::Ledger;
use prost::Message as _;

use super::{Checker, Fact, Moment, Outcome};

/// How often the two are compared, in published ledgers: a hash of everything takes time.
const EVERY: u64 = 16;

/// A ledger that applies every entry as it lies on the disk.
#[derive(Debug, Default)]
pub(super) struct Replay {
    ledger: Ledger,
    published: u64,
}

impl Checker for Replay {
    fn code(&self) -> &'static str {
        "I-04"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Published { ledger, replay } = fact else {
            return Ok(());
        };
        if ledger.revision() < self.ledger.revision() {
            return Ok(());
        }
        for (index, data) in replay.entries() {
            if index <= self.ledger.revision() || index > ledger.revision() {
                continue;
            }
            let entry = Entry::decode(data).map_err(|error| format!("entry {index}: {error}"))?;
            self.ledger.apply(index, &entry);
        }
        if self.ledger.revision() != ledger.revision() {
            let (stored, served) = (self.ledger.revision(), ledger.revision());
            return Err(format!(
                "revision {served} is served, and only {stored} is on the disk"
            ));
        }
        self.published += 1;
        if self.published.is_multiple_of(EVERY) {
            compare(&self.ledger, ledger)
        } else {
            Ok(())
        }
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        compare(&self.ledger, outcome.ledger)
    }
}

fn compare(replayed: &Ledger, served: &Ledger) -> Result<(), String> {
    if replayed.state_hash() == served.state_hash() {
        return Ok(());
    }
    Err(format!(
        "the ledger served at revision {} is not what its entries make",
        served.revision()
    ))
}
