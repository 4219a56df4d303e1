//! I-04: there is one log, and the ledgers that are served are what its entries make. What a leader computed ahead of the commit, what
//! a follower or a restart applies and what a snapshot restores must all be the same as entries applied one by one.

use std::collections::BTreeMap;

use contract::ledger::Entry;
use ledger::Ledger;
use prost::Message as _;

use super::{Checker, Fact, Moment, Outcome};
use crate::coordinator::Disk;
use crate::event::CoordinatorId;

/// Of so many revisions the whole state is compared once: a hash of everything takes time.
const EVERY: u64 = 16;

/// A ledger that applies every entry as it lies on the disk of whoever serves it first, and what others served afterwards.
#[derive(Debug, Default)]
pub(super) struct Replay {
    ledger: Ledger,
    /// A digest of every entry that was served.
    entries: BTreeMap<u64, u64>,
    /// The hash of some states, by revision.
    states: BTreeMap<u64, [u8; 32]>,
    /// How far each coordinator's entries were compared.
    compared: BTreeMap<CoordinatorId, u64>,
}

impl Replay {
    fn extend(&mut self, ledger: &Ledger, replay: &Disk) -> Result<(), String> {
        for (index, data) in replay.entries_after(self.ledger.revision()) {
            if index > ledger.revision() {
                break;
            }
            let entry = Entry::decode(data).map_err(|error| format!("entry {index}: {error}"))?;
            self.ledger.apply(index, &entry);
            self.entries.insert(index, digest(data));
        }
        if self.ledger.revision() != ledger.revision() {
            let (stored, served) = (self.ledger.revision(), ledger.revision());
            return Err(format!(
                "revision {served} is served, and only {stored} is on the disk"
            ));
        }
        Ok(())
    }

    /// What a coordinator serves later than another is the same.
    fn compare(&mut self, at: CoordinatorId, ledger: &Ledger, replay: &Disk) -> Result<(), String> {
        let compared = self.compared.entry(at).or_default();
        // After a restart it serves again what it has served.
        let from = (*compared).min(ledger.revision());
        for (index, data) in replay.entries_after(from) {
            if index > ledger.revision() {
                break;
            }
            if self.entries.get(&index) != Some(&digest(data)) {
                let name = crate::coordinator::name(at);
                return Err(format!("{name} serves another entry {index} than others"));
            }
        }
        *compared = ledger.revision();
        Ok(())
    }

    fn compare_states(&mut self, ledger: &Ledger) -> Result<(), String> {
        let revision = ledger.revision();
        let hash = ledger.state_hash();
        let known = self.states.entry(revision).or_insert(hash);
        if *known == hash {
            return Ok(());
        }
        Err(format!(
            "two ledgers are served at revision {revision} that differ"
        ))
    }
}

impl Checker for Replay {
    fn code(&self) -> &'static str {
        "I-04"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Published {
            coordinator,
            ledger,
            replay,
            is_newest,
        } = fact
        else {
            return Ok(());
        };
        if *is_newest {
            self.extend(ledger, replay)?;
            if ledger.revision() / EVERY != self.states.len() as u64 {
                let hash = self.ledger.state_hash();
                self.states.insert(ledger.revision(), hash);
            }
        } else {
            self.compare(*coordinator, ledger, replay)?;
        }
        if self.states.contains_key(&ledger.revision()) {
            self.compare_states(ledger)?;
        }
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        let replayed = self.ledger.clone();
        self.compare_states(&replayed)?;
        for host in outcome.coordinators.members() {
            self.compare_states(host.published())?;
        }
        Ok(())
    }
}

/// FNV-1a: it is to tell entries apart, not to withstand anybody.
fn digest(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
