//! Feeds whose time is over, here or at the other coordinators.

use super::*;

#[test]
fn what_is_removed_stays_so_and_waits_for_what_is_being_written() {
    let (_, ledger, key) = ledgers();
    let ended = finished(&ledger, key, seal_of(4));
    let until_ms = ended_at(&ended, key).unwrap();
    let mut one = Member::new(1, &[2, 3], &ledger);
    one.push(1, 1, key, lines(0, 2));
    one.ledger = ended.clone();
    one.handle(2, FeedInput::Expired { until_ms });
    assert_eq!(
        one.disk.absent_until_ms, 0,
        "records are on their way to the disk"
    );
    one.settle(3);
    one.handle(4, FeedInput::Tick);
    assert_eq!((one.disk.absent_until_ms, one.disk.count), (until_ms, 0));
    for now in [1_000_000, 9_000_000] {
        one.handle(now, FeedInput::Tick);
        assert!(one.fetches.is_empty(), "nobody fetches it again");
    }
    one.push(9_000_001, 2, key, lines(0, 2));
    assert_eq!(one.answers[&2], PushAnswer::Refused);
    // One that starts, or joins, with the time on its disk.
    let mut late = Member::new(2, &[1, 3], &ledger);
    late.disk.absent_until_ms = until_ms;
    late.ledger = ended;
    late.handle(1, FeedInput::Tick);
    late.handle(9_000_000, FeedInput::Tick);
    assert!(late.fetches.is_empty() && late.stores.is_empty());
}

#[test]
fn what_a_majority_has_removed_is_not_waited_for() {
    let (_, ledger, key) = ledgers();
    let ended = finished(&ledger, key, seal_of(4));
    let until_ms = ended_at(&ended, key).unwrap();
    let mut five = Member::new(1, &[2, 3, 4, 5], &ended);
    let mut now = 0;
    let mut asked = Vec::new();
    while five.disk.absent_until_ms == 0 {
        now += 1_000_000;
        five.handle(now, FeedInput::Tick);
        let Some((key, _, member)) = five.fetches.pop_front() else {
            continue;
        };
        asked.push(member);
        let copies = Copies {
            is_end: true,
            is_closed: true,
            absent_until_ms: until_ms,
            ..Copies::default()
        };
        let copies = Some(copies);
        five.handle(
            now,
            FeedInput::Fetched {
                key,
                member,
                copies,
            },
        );
    }
    asked.dedup();
    assert_eq!(
        asked.len(),
        2,
        "with this one a majority of five: {asked:?}"
    );
    for _ in 0..20 {
        now += 60_000_000;
        five.handle(now, FeedInput::Tick);
    }
    assert!(five.fetches.is_empty(), "{:?}", five.said);
    assert_eq!(five.keeper.poll_wakeup(), None, "nothing waits");
}
