//! Coordinators as the ledger knows them (I-13), and ledgers that are compared (I-04).

use contract::ledger::command::Kind;
use contract::ledger::{AdmitMember, RaiseFeatureLevel, RemoveMember, RequestKey, VerifyState};
use ledger::{Ledger, Outcome, Refused};
use proptest::prelude::*;

use crate::build;
use crate::world::World;

fn key(request: u8) -> Option<RequestKey> {
    Some(RequestKey {
        request_id: vec![request; 16].into(),
        digest: vec![request; 32].into(),
    })
}

fn admit(request: u8, address: &str) -> Kind {
    Kind::AdmitMember(AdmitMember {
        request: key(request),
        address: address.to_owned(),
        member_id: 0,
        feature_level: 0,
    })
}

fn raise(level: u32, version: &str) -> Kind {
    Kind::RaiseFeatureLevel(RaiseFeatureLevel {
        level,
        version: version.to_owned(),
    })
}

/// I-12: the level rises, is kept in snapshots, and who does not know it is not admitted.
#[test]
fn the_feature_level_rises_and_never_falls() {
    let mut world = World::new();
    let is = |level| Ok(Outcome::FeatureLevel { level });
    assert_eq!(world.one(raise(2, "0.2.0")), is(2));
    assert_eq!(world.one(raise(2, "0.2.0")), Ok(Outcome::Nothing));
    assert_eq!(world.one(raise(1, "0.1.0")), Ok(Outcome::Nothing));
    assert_eq!(world.one(raise(3, "0.3.0")), is(3));
    assert!(world.one(raise(0, "0.3.0")).is_err());
    let restored = Ledger::restore(world.ledger.snapshot()).unwrap();
    assert_eq!(
        (restored.feature_level(), restored.feature_version()),
        (3, "0.3.0")
    );
    assert_eq!(restored.state_hash(), world.ledger.state_hash());
    let joins = |request, address: &str, feature_level| {
        Kind::AdmitMember(AdmitMember {
            request: key(request),
            address: address.to_owned(),
            member_id: 0,
            feature_level,
        })
    };
    let refused = world.one(joins(7, "a:1", 2)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "this cluster is at feature level 3; the coordinator that would join knows up to 2; use version 0.3.0 or newer"
    );
    for (request, address, level) in [(8, "b:1", 3), (9, "c:1", 4), (10, "d:1", 0)] {
        assert!(world.one(joins(request, address, level)).is_ok());
    }
    // A repeat is the same member, whatever happened since.
    assert_eq!(world.one(raise(5, "0.5.0")), is(5));
    assert!(world.one(joins(8, "b:1", 3)).is_ok());
    world.check_replay(3);
}

/// A leader says where a member is.
fn introduce(member_id: u64, address: &str) -> Kind {
    Kind::AdmitMember(AdmitMember {
        request: None,
        address: address.to_owned(),
        member_id,
        feature_level: 0,
    })
}

fn remove(request: u8, member_id: u64) -> Kind {
    Kind::RemoveMember(RemoveMember {
        request: key(request),
        member_id,
    })
}

#[test]
fn ids_rise_and_never_come_back() {
    let mut world = World::new();
    let is = |member_id| Ok(Outcome::Member { member_id });
    assert_eq!(world.one(introduce(1, "a:1")), is(1));
    assert_eq!(world.one(admit(1, "b:1")), is(2));
    assert_eq!(
        world.one(admit(1, "b:1")),
        is(2),
        "I-02: a repeat is the same member"
    );
    assert_eq!(
        world.one(admit(2, "b:1")),
        Err(Refused::AddressTaken {
            address: "b:1".into(),
            member_id: 2
        })
    );
    assert_eq!(world.one(remove(3, 2)), is(2));
    assert_eq!(world.one(remove(4, 2)), is(2), "gone is gone");
    assert_eq!(
        world.one(introduce(2, "b:1")),
        Err(Refused::MemberRemoved { member_id: 2 })
    );
    assert_eq!(
        world.one(admit(5, "b:1")),
        is(3),
        "the same machine is somebody else"
    );
    assert_eq!(
        world.one(remove(6, 9)),
        Err(Refused::UnknownMember { member_id: 9 })
    );
    assert_eq!(world.one(remove(7, 1)), is(1));
    assert_eq!(
        world.one(remove(8, 3)),
        Err(Refused::LastMember { member_id: 3 })
    );
    // A member moves; it stays who it is.
    assert_eq!(world.one(introduce(3, "c:1")), is(3));
    assert_eq!(&*world.ledger.member(3).unwrap().address, "c:1");
    let restored = Ledger::restore(world.ledger.snapshot()).unwrap();
    assert_eq!(restored.snapshot(), world.ledger.snapshot());
    assert!(restored.member(1).unwrap().is_removed());
}

#[test]
fn a_founder_whose_address_nobody_knows_yet_counts_all_the_same() {
    let mut world = World::new();
    world.one(introduce(3, "")).unwrap();
    assert_eq!(
        world.one(admit(1, "d:1")),
        Ok(Outcome::Member { member_id: 4 })
    );
    assert!(
        matches!(world.one(introduce(3, "")), Err(Refused::Malformed { .. })),
        "what is known is not unsaid"
    );
    assert!(world.one(admit(2, "")).is_err());
}

#[test]
fn a_ledger_that_differs_is_found_out() {
    let mut world = World::new();
    world.one(build::worker("w1", 1, &[])).unwrap();
    let verify = |ledger: &Ledger| {
        Kind::VerifyState(VerifyState {
            index: ledger.revision(),
            digest: ledger.digest().to_vec().into(),
        })
    };
    let same = verify(&world.ledger);
    let mut other = world.ledger.clone();
    assert_eq!(world.one(same.clone()), Ok(Outcome::Nothing));
    // The other took in something that the log does not hold.
    other.apply(
        other.revision() + 1,
        &build::entry(0, vec![build::worker("w2", 1, &[])]),
    );
    let applied = other.apply(other.revision() + 1, &build::entry(0, vec![same]));
    assert!(matches!(applied.outcomes[0], Err(Refused::Diverged { .. })));
}

proptest! {
    /// Whatever an entry does, the digest goes with it: equal histories have equal ones, across snapshots too.
    #[test]
    fn the_digest_follows_the_history(names in prop::collection::vec(0..4_u8, 1..12), at in any::<prop::sample::Index>()) {
        let entries: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(time, name)| build::entry(time as i64, vec![build::worker(&format!("w{name}"), 1 + time as u64, &[])]))
            .collect();
        let mut straight = World::new().ledger;
        let mut restored = straight.clone();
        let at = at.index(entries.len());
        for (number, entry) in entries.iter().enumerate() {
            let index = straight.revision() + 1;
            straight.apply(index, entry);
            if number == at {
                restored = Ledger::restore(restored.snapshot()).unwrap();
            }
            let before = restored.digest();
            restored.apply(index, entry);
            prop_assert_eq!(straight.digest(), restored.digest());
            prop_assert_ne!(before, restored.digest());
        }
    }
}
