//! Founds the cluster: its id goes into every id that is derived from then on.

use std::sync::Arc;

use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::FoundCluster) -> Result<Outcome, Refused> {
    if command.cluster_id.is_empty() {
        return Err(malformed("cluster_id is empty"));
    }
    if *ledger.cluster_id == *command.cluster_id {
        return Ok(Outcome::Nothing);
    }
    if !ledger.cluster_id.is_empty() {
        let cluster_id = ledger.cluster_id.clone();
        return Err(Refused::Founded { cluster_id });
    }
    ledger.cluster_id = Arc::from(command.cluster_id.as_str());
    Ok(Outcome::Nothing)
}
