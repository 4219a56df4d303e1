//! Uses a join token up. The entry that comes first wins, wherever it was asked for: that is what makes a token good for one use.

use std::sync::Arc;

use contract::ledger as pb;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::{self, Use};

pub(super) fn apply(ledger: &mut Ledger, command: &pb::ConsumeToken) -> Result<Outcome, Refused> {
    let key_digest = records::digest(&command.key_digest)
        .ok_or_else(|| malformed("key_digest is not 32 bytes"))?;
    let (index, now_ms) = (ledger.revision, ledger.time_ms);
    let Some(token) = ledger.tokens.get_mut(command.token_id.as_str()) else {
        return Err(Refused::TokenUnknown);
    };
    // A wrong secret looks like an unknown token: the id alone must tell nothing. Hashes are compared, so how long it takes tells nothing of the secret.
    if token.secret_digest[..] != command.secret_digest[..] {
        return Err(Refused::TokenUnknown);
    }
    if token.revoked {
        return Err(Refused::TokenRevoked);
    }
    if let Some(used) = &token.used {
        // Whose answer was lost asks again, with the same key.
        return match used.key_digest == key_digest && *used.name == command.name {
            true => Ok(joined(&command.token_id, used.index)),
            false => Err(Refused::TokenUsed),
        };
    }
    if token.is_expired(now_ms) {
        return Err(Refused::TokenExpired);
    }
    if token.role != command.role() {
        return Err(Refused::TokenRole { role: token.role });
    }
    if !token.name.is_empty() && *token.name != command.name {
        return Err(Refused::TokenName {
            name: token.name.clone(),
        });
    }
    Arc::make_mut(token).used = Some(Use {
        key_digest,
        name: Arc::from(command.name.as_str()),
        index,
    });
    Ok(joined(&command.token_id, index))
}

fn joined(token_id: &str, index: u64) -> Outcome {
    Outcome::Joined {
        token_id: Arc::from(token_id),
        index,
    }
}
