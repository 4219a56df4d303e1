//! Revokes a join token that was not used.

use std::sync::Arc;

use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::RevokeToken) -> Result<Outcome, Refused> {
    let Some(token) = ledger.tokens.get_mut(command.token_id.as_str()) else {
        return Err(Refused::NotFound {
            name: format!("tokens/{}", command.token_id),
        });
    };
    if let Some(used) = &token.used {
        return Err(Refused::TokenSpent {
            joiner: used.name.clone(),
        });
    }
    if token.revoked {
        return Ok(Outcome::Nothing);
    }
    Arc::make_mut(token).revoked = true;
    Ok(Outcome::Token {
        token_id: token.token_id.clone(),
    })
}
