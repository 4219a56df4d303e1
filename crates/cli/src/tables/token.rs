//! Join tokens.

use std::path::Path;

use contract::api::{self, TokenRole, TokenState};

use super::{Now, cell};
use crate::print::table;

/// A list of tokens.
pub(crate) fn tokens(tokens: &[api::Token], now: Now) -> String {
    if tokens.is_empty() {
        return "no tokens; `shoal token create --role worker` makes one\n".to_owned();
    }
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|token| {
            vec![
                cell(token.name.trim_start_matches("tokens/")),
                role(token).to_owned(),
                match token.joiner_name.as_str() {
                    "" => "-".to_owned(),
                    name => cell(name),
                },
                state(token),
                now.ago(token.create_time.as_ref()),
                match token.creator.as_str() {
                    "" => "-".to_owned(),
                    creator => cell(creator),
                },
            ]
        })
        .collect();
    table::render(&["TOKEN", "ROLE", "FOR", "STATE", "CREATED", "BY"], &rows)
}

/// Where a token was written to, and what it is good for.
pub(crate) fn where_it_is(token: &api::Token, file: &Path, now: Now) -> String {
    format!(
        "{} is good for one {} within {} min; give it with --join-token-file",
        file.display(),
        role(token),
        minutes_left(token, now)
    )
}

/// How many minutes it counts yet.
fn minutes_left(token: &api::Token, now: Now) -> f64 {
    let end = token.expire_time.as_ref();
    let left = end.map_or(0.0, |time| (time.seconds as f64 - now.0).max(0.0));
    (left / 60.0).ceil()
}

/// What to do with a token that was just made.
pub(crate) fn how_to_join(token: &api::Token, now: Now) -> String {
    let minutes = minutes_left(token, now);
    let how = match token.role() {
        TokenRole::Worker => "shoal worker --coordinator ADDRESS --data-dir DIR --join-token TOKEN",
        TokenRole::Coordinator => {
            "shoal coordinator --join ADDRESS --data-dir DIR --join-token TOKEN"
        }
        _ => "shoal login ADDRESS --token TOKEN",
    };
    format!(
        "good for one {} within {minutes} min, with `{how}`; it is shown this once",
        role(token)
    )
}

fn role(token: &api::Token) -> &'static str {
    match token.role() {
        TokenRole::Worker => "worker",
        TokenRole::Coordinator => "coordinator",
        TokenRole::User => "user",
        TokenRole::Admin => "admin",
        TokenRole::Unspecified => "?",
    }
}

fn state(token: &api::Token) -> String {
    match token.state() {
        TokenState::Active => "active".to_owned(),
        TokenState::Used => format!("used by {}", cell(&token.joiner)),
        TokenState::Revoked => "revoked".to_owned(),
        TokenState::Expired => "expired".to_owned(),
        TokenState::Unspecified => "?".to_owned(),
    }
}
