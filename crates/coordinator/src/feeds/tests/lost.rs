//! Feeds that ended without a seal, while coordinators come and go.

use super::*;

/// A coordinator was replaced by another, after the attempt was assigned.
fn replaced(ledger: &Ledger, admitted: u64) -> Ledger {
    let mut ledger = ledger.clone();
    let admit = |member_id: u64| {
        Kind::AdmitMember(pb::AdmitMember {
            member_id,
            address: format!("c{member_id}:1"),
            ..pb::AdmitMember::default()
        })
    };
    apply(&mut ledger, admit(admitted));
    ledger
}

/// The oldest fetch is answered: that coordinator has these records and knows that the attempt has ended.
fn answer(one: &mut Member, now: u64, batches: Vec<Batch>) -> u64 {
    let (key, _, member) = one.fetches.pop_front().unwrap();
    let copies = Some(Copies {
        batches,
        is_end: true,
        is_closed: true,
        ..Copies::default()
    });
    let input = FeedInput::Fetched {
        key,
        member,
        copies,
    };
    one.handle(now, input);
    one.settle(now);
    member
}

#[test]
fn who_does_not_know_the_others_yet_does_not_say_that_they_have_no_more() {
    let (_, ledger, key) = ledgers();
    let mut one = Member::new(4, &[], &ledger);
    one.keeper = Keeper::new();
    one.ledger = lost(&ledger, key);
    one.handle(1, FeedInput::Tick);
    assert!(!one.keeper.is_settled(key), "I-21: it has just joined");
    assert_eq!(one.keeper.lacking(), 1);
    one.handle(2, FeedInput::Members(vec![2]));
    answer(&mut one, 3, vec![lines(0, 2)]);
    assert!(one.keeper.is_settled(key));
    assert_eq!((one.disk.count, one.keeper.lacking()), (2, 0));
}

#[test]
fn all_are_asked_when_the_coordinators_are_not_those_that_stored() {
    let (_, ledger, key) = ledgers();
    // Records were stored by 1, whose disk was lost, and by one of 2 and 3. With 4, which came in its place, a majority would have none of them.
    let mut one = Member::new(4, &[2, 3], &ledger);
    one.ledger = lost(&replaced(&ledger, 4), key);
    one.handle(1, FeedInput::Tick);
    let first = answer(&mut one, 2, Vec::new());
    assert!(!one.keeper.is_settled(key), "I-21");
    let second = answer(&mut one, 3, vec![lines(0, 2)]);
    assert_ne!(first, second);
    assert!(one.keeper.is_settled(key));
    assert_eq!(one.disk.count, 2);
}

#[test]
fn who_was_heard_and_is_gone_does_not_stand_for_who_came() {
    let (_, ledger, key) = ledgers();
    let mut one = Member::new(1, &[2, 3], &ledger);
    one.ledger = lost(&replaced(&ledger, 4), key);
    one.handle(1, FeedInput::Tick);
    let heard = answer(&mut one, 2, Vec::new());
    let other = [2, 3].into_iter().find(|id| *id != heard).unwrap();
    one.fetches.clear();
    one.handle(3, FeedInput::Members(vec![other, 4]));
    assert!(!one.keeper.is_settled(key));
}
