//! Revokes every certificate that a principal has by now. Certificates carry the index at which their holder joined, so one that
//! joins later is not meant.

use std::sync::Arc;

use contract::ledger as pb;

use super::create_token::request_id;
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::Revocation;

pub(super) fn apply(
    ledger: &mut Ledger,
    command: &pb::RevokePrincipal,
) -> Result<Outcome, Refused> {
    let request_id = request_id(command.request.as_ref())?;
    if command.principal.is_empty() {
        return Err(malformed("principal is empty"));
    }
    let known = ledger.revocations.get(command.principal.as_str());
    if known.is_some_and(|known| known.request_id == request_id) {
        return Ok(Outcome::Nothing);
    }
    let principal: Arc<str> = Arc::from(command.principal.as_str());
    let revocation = Revocation {
        principal: principal.clone(),
        index: ledger.revision,
        request_id,
    };
    ledger.revocations.insert(principal.clone(), revocation);
    Ok(Outcome::Revoked { principal })
}
