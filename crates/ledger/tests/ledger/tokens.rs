//! Join tokens: good for one use, within their time, for their role and name; and revoked certificates.

use contract::api::TokenRole;
use contract::ledger::command::Kind;
use contract::ledger::{self as pb};
use ledger::{Ledger, MAX_TOKENS, Outcome, Refused, Uuid};

use crate::build;
use crate::world::World;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn digest(text: &str) -> prost::bytes::Bytes {
    blake3::hash(text.as_bytes()).as_bytes().to_vec().into()
}

fn request(label: &str) -> Option<pb::RequestKey> {
    Some(pb::RequestKey {
        request_id: digest(label).slice(..16),
        digest: digest(label),
    })
}

/// A token whose secret is its id.
fn create(token_id: &str, role: TokenRole, name: &str, ttl_ms: u64) -> Kind {
    Kind::CreateToken(pb::CreateToken {
        request: request(token_id),
        token_id: token_id.to_owned(),
        secret_digest: digest(token_id),
        role: role.into(),
        name: name.to_owned(),
        ttl_ms,
        creator: "user/admin".to_owned(),
    })
}

fn consume(token_id: &str, secret: &str, role: TokenRole, name: &str, key: &str) -> Kind {
    Kind::ConsumeToken(pb::ConsumeToken {
        token_id: token_id.to_owned(),
        secret_digest: digest(secret),
        role: role.into(),
        name: name.to_owned(),
        key_digest: digest(key),
    })
}

fn revoke(token_id: &str) -> Kind {
    Kind::RevokeToken(pb::RevokeToken {
        request: request("revoke"),
        token_id: token_id.to_owned(),
    })
}

fn revoke_principal(label: &str, principal: &str) -> Kind {
    Kind::RevokePrincipal(pb::RevokePrincipal {
        request: request(label),
        principal: principal.to_owned(),
    })
}

#[test]
fn a_token_lets_one_in_and_its_repeat() {
    let mut world = World::new();
    let worker = TokenRole::Worker;
    world.one(create("t", worker, "", DAY_MS)).unwrap();
    let first = world.one(consume("t", "t", worker, "w1", "key")).unwrap();
    assert_eq!(
        first,
        Outcome::Joined {
            token_id: "t".into(),
            index: 3
        }
    );
    // The answer was lost: the same joiner asks again and is the same.
    assert_eq!(
        world.one(consume("t", "t", worker, "w1", "key")).unwrap(),
        first
    );
    for (name, key) in [("w1", "another key"), ("w2", "key")] {
        let refused = world.one(consume("t", "t", worker, name, key)).unwrap_err();
        assert_eq!(refused.to_string(), "join token already used");
    }
    assert!(matches!(
        world.one(revoke("t")),
        Err(Refused::TokenSpent { .. })
    ));
    world.check_replay(3);
}

#[test]
fn two_in_one_entry_are_still_one() {
    let mut world = World::new();
    world
        .one(create("t", TokenRole::Worker, "", DAY_MS))
        .unwrap();
    let both = world.apply(vec![
        consume("t", "t", TokenRole::Worker, "w1", "a"),
        consume("t", "t", TokenRole::Worker, "w2", "b"),
    ]);
    assert!(both.outcomes[0].is_ok());
    assert_eq!(both.outcomes[1], Err(Refused::TokenUsed));
}

#[test]
fn the_wrong_ones_are_refused_and_the_right_one_still_gets_in() {
    let mut world = World::new();
    world
        .one(create("t", TokenRole::Worker, "w1", DAY_MS))
        .unwrap();
    let worker = TokenRole::Worker;
    for (kind, expected) in [
        (consume("u", "t", worker, "w1", "key"), "join token unknown"),
        (
            consume("t", "guess", worker, "w1", "key"),
            "join token unknown",
        ),
        (
            consume("t", "t", TokenRole::Coordinator, "", "key"),
            "join token not for this role: it is for worker",
        ),
        (
            consume("t", "t", TokenRole::Admin, "w1", "key"),
            "join token not for this role: it is for worker",
        ),
        (
            consume("t", "t", worker, "w2", "key"),
            "join token not for this name: it is for w1",
        ),
    ] {
        assert_eq!(world.one(kind).unwrap_err().to_string(), expected);
    }
    assert!(world.one(consume("t", "t", worker, "w1", "key")).is_ok());
}

#[test]
fn time_passes_by_the_clock_of_the_ledger() {
    let mut world = World::new();
    // Entries are ten milliseconds apart.
    let user = TokenRole::User;
    world.one(create("t", user, "ann", 20)).unwrap();
    world.one(create("r", user, "ann", DAY_MS)).unwrap();
    let late = world.one(consume("t", "t", user, "ann", "key"));
    assert_eq!(late.unwrap_err().to_string(), "join token expired");
    world.one(revoke("r")).unwrap();
    assert_eq!(world.one(revoke("r")), Ok(Outcome::Nothing));
    let revoked = world.one(consume("r", "r", user, "ann", "key"));
    assert_eq!(revoked.unwrap_err().to_string(), "join token revoked");
    let unknown = world.one(revoke("x")).unwrap_err();
    assert_eq!(unknown.to_string(), "tokens/x does not exist");
    world.check_replay(2);
}

#[test]
fn a_repeated_creation_is_the_first_and_an_id_is_taken_once() {
    let mut world = World::new();
    let worker = TokenRole::Worker;
    let first = world.one(create("t", worker, "", 1_000)).unwrap();
    assert_eq!(world.one(create("t", worker, "", 1_000)), Ok(first));
    let Kind::CreateToken(mut other) = create("t", worker, "", 1_000) else {
        unreachable!()
    };
    other.request = request("another");
    assert_eq!(
        world.one(Kind::CreateToken(other)),
        Err(Refused::TokenExists)
    );
    for ttl in [0, DAY_MS + 1] {
        assert!(matches!(
            world.one(create("u", worker, "", ttl)),
            Err(Refused::Malformed { .. })
        ));
    }
}

#[test]
fn expired_tokens_are_forgotten_after_a_day_and_their_number_is_bounded() {
    let mut ledger = Ledger::new();
    let many = |from: usize, to: usize| -> Vec<Kind> {
        (from..to)
            .map(|number| create(&format!("t{number}"), TokenRole::Worker, "", 1_000))
            .collect()
    };
    ledger.apply(1, &build::entry(0, many(0, MAX_TOKENS)));
    let more = |ledger: &mut Ledger, index, time_ms| {
        let entry = build::entry(time_ms, many(MAX_TOKENS, MAX_TOKENS + 1));
        ledger.apply(index, &entry).outcomes.remove(0)
    };
    let day = DAY_MS as i64;
    assert_eq!(more(&mut ledger, 2, day), Err(Refused::TooManyTokens));
    assert!(more(&mut ledger, 3, day + 1_000).is_ok());
    assert_eq!(ledger.tokens().count(), 1);
    ledger.check_invariants().unwrap();
}

#[test]
fn a_revocation_means_who_joined_before_it() {
    let mut world = World::new();
    world.one(revoke_principal("one", "worker/w1")).unwrap();
    let index = world.ledger.revision();
    assert!(world.ledger.is_revoked("worker/w1", index - 1));
    assert!(world.ledger.is_revoked("worker/w1", index));
    assert!(!world.ledger.is_revoked("worker/w1", index + 1));
    assert!(!world.ledger.is_revoked("worker/w2", 0));
    // The same request again does not mean who joined meanwhile; another one does.
    assert_eq!(
        world.one(revoke_principal("one", "worker/w1")),
        Ok(Outcome::Nothing)
    );
    assert!(!world.ledger.is_revoked("worker/w1", index + 1));
    world.one(revoke_principal("two", "worker/w1")).unwrap();
    assert!(world.ledger.is_revoked("worker/w1", index + 1));
    world.check_replay(2);
    assert_eq!(
        world.ledger.revocations().next().unwrap().request_id,
        Uuid::from_slice(&digest("two")[..16]).unwrap()
    );
}
