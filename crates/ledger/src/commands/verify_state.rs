//! Compares this ledger with what the leader's was (I-04). The digest is folded once an entry is through, so here it still
//! is that of the entry before.

use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};

pub(super) fn apply(ledger: &Ledger, command: &pb::VerifyState) -> Result<Outcome, Refused> {
    if *command.digest == ledger.digest {
        return Ok(Outcome::Nothing);
    }
    Err(Refused::Diverged {
        index: command.index,
    })
}
