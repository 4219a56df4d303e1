//! Creates a join token. Its id is chosen by the caller, so a repeat is known by it.

use std::sync::Arc;

use contract::api::TokenRole;
use contract::ledger as pb;
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::outcome::{Outcome, Refused, malformed};
use crate::records::{self, Token};

/// Longest time for which a token can be used, in milliseconds.
const MAX_TTL_MS: u64 = 24 * 60 * 60 * 1_000;

/// For how long an expired token is still shown, in milliseconds.
const SHOWN_MS: i64 = 24 * 60 * 60 * 1_000;

pub(super) fn apply(ledger: &mut Ledger, command: &pb::CreateToken) -> Result<Outcome, Refused> {
    let request_id = request_id(command.request.as_ref())?;
    let secret_digest = records::digest(&command.secret_digest)
        .ok_or_else(|| malformed("secret_digest is not 32 bytes"))?;
    if command.token_id.is_empty() {
        return Err(malformed("token_id is empty"));
    }
    if command.role() == TokenRole::Unspecified {
        return Err(malformed("role is missing"));
    }
    if !(1..=MAX_TTL_MS).contains(&command.ttl_ms) {
        return Err(malformed("ttl_ms is not within a day"));
    }
    if let Some(known) = ledger.token(&command.token_id) {
        return match known.request_id == request_id && known.secret_digest == secret_digest {
            true => Ok(Outcome::Token {
                token_id: known.token_id.clone(),
            }),
            false => Err(Refused::TokenExists),
        };
    }
    let forgotten: Vec<Arc<str>> = ledger
        .tokens()
        .filter(|token| token.is_expired(ledger.time_ms.saturating_sub(SHOWN_MS)))
        .map(|token| token.token_id.clone())
        .collect();
    if ledger.tokens.len() - forgotten.len() >= crate::MAX_TOKENS {
        return Err(Refused::TooManyTokens);
    }
    for token_id in &forgotten {
        ledger.tokens.remove(token_id);
    }
    let token_id: Arc<str> = Arc::from(command.token_id.as_str());
    let token = Token {
        token_id: token_id.clone(),
        secret_digest,
        role: command.role(),
        name: Arc::from(command.name.as_str()),
        create_time_ms: ledger.time_ms,
        expire_time_ms: ledger.time_ms.saturating_add(command.ttl_ms as i64),
        creator: Arc::from(command.creator.as_str()),
        request_id,
        revoked: false,
        used: None,
    };
    ledger.tokens.insert(token_id.clone(), Arc::new(token));
    Ok(Outcome::Token { token_id })
}

/// The id of a request that is remembered with what it made, not among the others.
pub(super) fn request_id(key: Option<&pb::RequestKey>) -> Result<Uuid, Refused> {
    let key = key.ok_or_else(|| malformed("request is missing"))?;
    Uuid::from_slice(&key.request_id).map_err(|_| malformed("request_id is not 16 bytes"))
}
