//! Raises the feature level: from the next command on, rules that came with it count. It never falls (I-12).

use std::sync::Arc;

use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};

pub(super) fn apply(
    ledger: &mut Ledger,
    command: &pb::RaiseFeatureLevel,
) -> Result<Outcome, Refused> {
    if command.level == 0 || command.version.is_empty() {
        return Err(malformed("level or version is empty"));
    }
    if command.level <= ledger.feature_level {
        return Ok(Outcome::Nothing);
    }
    ledger.feature_level = command.level;
    ledger.feature_version = Arc::from(command.version.as_str());
    Ok(Outcome::FeatureLevel {
        level: command.level,
    })
}
