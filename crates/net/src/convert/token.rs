//! Join tokens.

use contract::api::{self, TokenRole, TokenState};
use ledger::Token;

use super::from_millis;
use crate::gate::now_s;

/// A token without its secret.
pub(crate) fn token(token: &Token) -> api::Token {
    let state = if token.used.is_some() {
        TokenState::Used
    } else if token.revoked {
        TokenState::Revoked
    } else if token.is_expired(now_s().saturating_mul(1_000)) {
        TokenState::Expired
    } else {
        TokenState::Active
    };
    let joiner = token.used.as_ref().map(|used| match token.role {
        TokenRole::Worker => format!("worker/{}", used.name),
        TokenRole::User | TokenRole::Admin => format!("user/{}", used.name),
        TokenRole::Coordinator | TokenRole::Unspecified => "a coordinator".to_owned(),
    });
    api::Token {
        name: format!("tokens/{}", token.token_id),
        role: token.role.into(),
        joiner_name: token.name.to_string(),
        state: state.into(),
        create_time: from_millis(token.create_time_ms),
        expire_time: from_millis(token.expire_time_ms),
        creator: token.creator.to_string(),
        joiner: joiner.unwrap_or_default(),
    }
}
