//! Requests about join tokens and certificates, turned into commands.

use contract::api;
use contract::ledger::{self as pb, command::Kind};
use prost::bytes::Bytes;

use crate::admission::key;
use crate::{Refusal, TokenUse, names};

/// For how long a token can be used unless the request says, in milliseconds.
const DEFAULT_TTL_MS: u64 = 15 * 60 * 1_000;

/// The longest time, in milliseconds.
const MAX_TTL_MS: u64 = 24 * 60 * 60 * 1_000;

/// Letters in the id of a token.
const ID_LENGTH: usize = 16;

pub(crate) fn create(request: api::CreateTokenRequest, creator: String) -> Result<Kind, Refusal> {
    let key = key(
        &request.request_id,
        &api::CreateTokenRequest {
            request_id: String::new(),
            ..request.clone()
        },
    )?;
    check_id("token_id", &request.token_id)?;
    if request.secret_digest.len() != 32 {
        return Err(Refusal::invalid_field("secret_digest", "expected 32 bytes"));
    }
    let role = request.role();
    match role {
        api::TokenRole::Unspecified => {
            return Err(Refusal::invalid_field("role", "is no role"));
        }
        api::TokenRole::Coordinator if !request.joiner_name.is_empty() => {
            return Err(Refusal::invalid_field(
                "joiner_name",
                "a coordinator is named by the id that it gets",
            ));
        }
        api::TokenRole::User | api::TokenRole::Admin => {
            names::principal("joiner_name", &request.joiner_name)?;
        }
        api::TokenRole::Worker if !request.joiner_name.is_empty() => {
            names::principal("joiner_name", &request.joiner_name)?;
        }
        api::TokenRole::Worker | api::TokenRole::Coordinator => {}
    }
    Ok(Kind::CreateToken(pb::CreateToken {
        request: Some(key),
        token_id: request.token_id,
        secret_digest: request.secret_digest,
        role: role.into(),
        name: request.joiner_name,
        ttl_ms: ttl_ms(request.ttl)?,
        creator,
    }))
}

pub(crate) fn revoke(request: &api::RevokeTokenRequest) -> Result<Kind, Refusal> {
    let key = key(
        &request.request_id,
        &api::RevokeTokenRequest {
            request_id: String::new(),
            ..request.clone()
        },
    )?;
    Ok(Kind::RevokeToken(pb::RevokeToken {
        request: Some(key),
        token_id: named(&request.name)?.to_owned(),
    }))
}

pub(crate) fn revoke_principal(request: api::RevokePrincipalRequest) -> Result<Kind, Refusal> {
    let key = key(
        &request.request_id,
        &api::RevokePrincipalRequest {
            request_id: String::new(),
            ..request.clone()
        },
    )?;
    let name = ["worker/", "user/", "coordinator/"]
        .iter()
        .find_map(|kind| request.principal.strip_prefix(kind))
        .ok_or_else(|| {
            Refusal::invalid_field(
                "principal",
                format!(
                    "expected worker/NAME, user/NAME or coordinator/ID, got {:?}",
                    request.principal
                ),
            )
        })?;
    names::principal("principal", name)?;
    Ok(Kind::RevokePrincipal(pb::RevokePrincipal {
        request: Some(key),
        principal: request.principal,
    }))
}

pub(crate) fn consume(token: TokenUse) -> Kind {
    Kind::ConsumeToken(pb::ConsumeToken {
        token_id: token.token_id,
        secret_digest: Bytes::copy_from_slice(&token.secret_digest),
        role: token.role.into(),
        name: token.name,
        key_digest: Bytes::copy_from_slice(&token.key_digest),
    })
}

/// Reads `tokens/{token}`.
fn named(name: &str) -> Result<&str, Refusal> {
    let id = name.strip_prefix("tokens/").ok_or_else(|| {
        Refusal::invalid_field("name", format!("expected tokens/TOKEN, got {name:?}"))
    })?;
    check_id("name", id)?;
    Ok(id)
}

fn check_id(field: &str, id: &str) -> Result<(), Refusal> {
    let good = id.len() == ID_LENGTH
        && id
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if good {
        return Ok(());
    }
    Err(Refusal::invalid_field(
        field,
        format!("a token is named by {ID_LENGTH} lowercase hexadecimal digits, got {id:?}"),
    ))
}

fn ttl_ms(ttl: Option<prost_types::Duration>) -> Result<u64, Refusal> {
    let Some(ttl) = ttl else {
        return Ok(DEFAULT_TTL_MS);
    };
    let ms = i128::from(ttl.seconds) * 1_000 + i128::from(ttl.nanos) / 1_000_000;
    u64::try_from(ms)
        .ok()
        .filter(|ms| (1..=MAX_TTL_MS).contains(ms))
        .ok_or_else(|| Refusal::invalid_field("ttl", "expected more than 0 and at most 24 hours"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use contract::api::TokenRole;

    use super::*;

    fn request() -> api::CreateTokenRequest {
        api::CreateTokenRequest {
            request_id: "4b7c5d8e-0000-4000-8000-000000000001".to_owned(),
            token_id: "0123456789abcdef".to_owned(),
            secret_digest: vec![7; 32].into(),
            role: TokenRole::Worker.into(),
            ..api::CreateTokenRequest::default()
        }
    }

    fn field(request: api::CreateTokenRequest) -> String {
        let refusal = create(request, String::new()).unwrap_err();
        refusal.violations[0].field.clone()
    }

    #[test]
    fn a_token_is_good_for_a_quarter_of_an_hour_unless_it_says() {
        let Kind::CreateToken(made) = create(request(), "user/ann".to_owned()).unwrap() else {
            unreachable!()
        };
        assert_eq!((made.ttl_ms, made.creator.as_str()), (900_000, "user/ann"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |change: fn(&mut api::CreateTokenRequest)| {
            let mut request = request();
            change(&mut request);
            field(request)
        };
        assert_eq!(with(|request| request.request_id.clear()), "request_id");
        assert_eq!(with(|request| request.token_id.push('0')), "token_id");
        assert_eq!(
            with(|request| request.secret_digest = vec![7].into()),
            "secret_digest"
        );
        assert_eq!(with(|request| request.role = 0), "role");
        assert_eq!(
            with(|request| request.set_role(TokenRole::User)),
            "joiner_name"
        );
        let named = |request: &mut api::CreateTokenRequest| {
            request.set_role(TokenRole::Coordinator);
            request.joiner_name = "2".to_owned();
        };
        assert_eq!(with(named), "joiner_name");
        for (seconds, nanos) in [(0, 0), (-1, 0), (86_400, 1_000_000), (i64::MAX, 0)] {
            let mut request = request();
            request.ttl = Some(prost_types::Duration { seconds, nanos });
            assert_eq!(field(request), "ttl", "{seconds}");
        }
    }

    #[test]
    fn who_is_revoked_has_a_kind_and_a_name() {
        let of = |principal: &str| {
            revoke_principal(api::RevokePrincipalRequest {
                request_id: request().request_id,
                principal: principal.to_owned(),
            })
        };
        for good in ["worker/gpu-1", "user/ann", "coordinator/3"] {
            assert!(of(good).is_ok(), "{good}");
        }
        for bad in ["", "gpu-1", "worker/", "worker/a/b", "admin/ann"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
