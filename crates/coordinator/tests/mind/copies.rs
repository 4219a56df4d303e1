//! A worker that leaves hands over what only it has.

use contract::api::DrainWorkerRequest;
use contract::link::{CopyReport, Offer, OutputFile, SynchronizeRequest, WantedCopy};
use coordinator::Request;
use expect_test::expect;

use crate::world::{World, finished, uuid};

/// The digest of what `finished` says was made.
const NOTE: [u8; 32] = [7; 32];

/// The worker of a connection says what became of copies.
fn keep(world: &mut World, session: u64, copies: Vec<CopyReport>) {
    let name = format!("w{session}");
    let offer = Offer {
        address: format!("{name}:1"),
        keeps_copies: true,
        ..Offer::default()
    };
    world.say_as(
        session,
        &name,
        SynchronizeRequest {
            incarnation: 1,
            offer: Some(offer),
            desired_generation: u64::MAX,
            copies,
            ..SynchronizeRequest::default()
        },
    );
}

/// The worker of a connection says that it is there, and what became of the copy of the note if it was asked for one.
fn say(world: &mut World, session: u64, copy: Option<Result<(), &str>>) {
    let report = |copy: Result<(), &str>| CopyReport {
        digest: NOTE.to_vec().into(),
        kept: copy.is_ok(),
        problem: copy.err().unwrap_or_default().to_owned(),
    };
    keep(world, session, copy.map(report).into_iter().collect());
}

/// w1 has run a step, and has its output.
fn with_an_output(level: u32) -> World {
    let mut world = World::knowing(level);
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let fence = world.fence();
    world.report(1, 1, vec![finished(&fence)]);
    assert_eq!(world.mind.ledger().sole_count("w1", 9), 1);
    world
}

fn drain(world: &mut World, token: u64, name: &str, draining: bool) {
    let request = DrainWorkerRequest {
        request_id: uuid(token.into()),
        name: format!("workers/{name}"),
        draining,
    };
    let answer = world.ask(token, Request::DrainWorker(request));
    answer.expect("an answer").unwrap();
}

/// Who is asked for a copy by now.
fn asked(world: &mut World) -> Vec<(u64, Vec<WantedCopy>)> {
    world.pass(500_000);
    let asked = world.copies.iter().filter(|(_, copies)| !copies.is_empty());
    let asked = asked.map(|(session, copies)| (*session, copies.clone()));
    asked.collect()
}

#[test]
fn another_worker_is_asked_until_one_has_it() {
    let mut world = with_an_output(3);
    say(&mut world, 2, None);
    say(&mut world, 3, None);
    assert_eq!(asked(&mut world), [], "w1 stays");
    world.transcript.clear();
    drain(&mut world, 10, "w1", true);
    let first = asked(&mut world);
    let [(taker, copies)] = &first[..] else {
        panic!("one is asked, not {first:?}");
    };
    assert_eq!(
        copies[..],
        [WantedCopy {
            digest: NOTE.to_vec().into(),
            size_bytes: 3,
            locations: vec!["w1:1".to_owned()],
        }]
    );
    let names = ["", "", "w2", "w3"];
    // It cannot have it: the other one is asked, after a while.
    say(&mut world, *taker, Some(Err("no way")));
    assert_eq!(asked(&mut world), [], "not at once");
    world.pass(2_000_000);
    let second = asked(&mut world);
    let [(other, _)] = &second[..] else {
        panic!("one is asked, not {second:?}");
    };
    assert_ne!(taker, other, "the one that has not failed");
    say(&mut world, *other, Some(Ok(())));
    assert_eq!(asked(&mut world), [], "it is on record");
    let ledger = world.mind.ledger();
    assert_eq!(ledger.sole_count("w1", 9), 0);
    let holders: Vec<&str> = ledger
        .blob(&NOTE)
        .unwrap()
        .holders()
        .iter()
        .map(|name| &**name)
        .collect();
    assert_eq!(holders, ["w1", names[*other as usize]]);
    // The one that took it leaves as well, so the first is asked again, and may take it from either.
    drain(&mut world, 11, names[*other as usize], true);
    let third = asked(&mut world);
    let [(again, copies)] = &third[..] else {
        panic!("one is asked, not {third:?}");
    };
    assert_eq!(again, taker);
    assert_eq!(copies[0].locations.len(), 2);
    // What stays after all is handed over by nobody.
    drain(&mut world, 12, "w1", false);
    assert_eq!(asked(&mut world), []);
}

#[test]
fn a_new_leader_finds_out_by_itself_and_takes_what_is_kept_already() {
    let mut world = with_an_output(3);
    say(&mut world, 2, None);
    drain(&mut world, 10, "w1", true);
    assert_eq!(asked(&mut world).len(), 1);
    world.restart();
    world.copies.clear();
    world.report(11, 1, vec![]);
    // It says so before anybody has asked it anew.
    say(&mut world, 2, Some(Ok(())));
    assert_eq!(asked(&mut world), []);
    assert_eq!(world.mind.ledger().sole_count("w1", 9), 0);
}

#[test]
fn nobody_is_asked_who_cannot_or_by_whom_it_would_not_be_known() {
    // Some member does not know of copies yet.
    let mut world = with_an_output(2);
    say(&mut world, 2, None);
    drain(&mut world, 10, "w1", true);
    assert_eq!(asked(&mut world), []);
    say(&mut world, 2, Some(Ok(())));
    assert_eq!(world.mind.ledger().sole_count("w1", 9), 1);

    // Not one that leaves as well, nor one that does not keep copies; w1's own offer says nothing of them.
    let mut world = with_an_output(3);
    drain(&mut world, 10, "w1", true);
    assert_eq!(asked(&mut world), []);
    say(&mut world, 2, None);
    drain(&mut world, 11, "w2", true);
    assert_eq!(asked(&mut world), []);
    drain(&mut world, 12, "w1", false);
    assert_eq!(asked(&mut world), []);
    // Nor while w1 is away: it could not be had.
    drain(&mut world, 13, "w2", false);
    drain(&mut world, 14, "w1", true);
    assert_eq!(asked(&mut world).len(), 1);
    world.transcript.clear();
    world.gone(1);
    assert_eq!(asked(&mut world), []);
    world.report(21, 1, vec![]);
    assert_eq!(asked(&mut world).len(), 1);
    world.transcript.clear();
    say(&mut world, 2, Some(Ok(())));
    world.check(expect![[r#"
        persist 23 (1 entries)
        publish 14
    "#]]);
}

/// However much there is, workers are asked for so many at a time, until nothing is left.
#[test]
fn a_lot_is_handed_over_bit_by_bit() {
    let mut world = World::knowing(3);
    world.report(1, 1, vec![]);
    world.run_step(1, "greet").unwrap().unwrap();
    let mut report = finished(&world.fence());
    let result = report.result.as_mut().unwrap();
    let one = result.outputs[0].clone();
    let output = |number: u8| OutputFile {
        file_name: format!("{number}"),
        digest: vec![number; 32].into(),
        ..one.clone()
    };
    result.outputs = (0..200).map(output).collect();
    world.report(1, 1, vec![report]);
    drain(&mut world, 10, "w1", true);
    say(&mut world, 2, None);
    say(&mut world, 3, None);
    let mut rounds = 0;
    while world.mind.ledger().sole_count("w1", 999) > 0 {
        let asked = asked(&mut world);
        assert!(!asked.is_empty(), "nobody is asked for the rest");
        let most = asked.iter().map(|(_, copies)| copies.len()).max();
        assert!(most <= Some(32), "one is asked for {most:?}");
        for (session, copies) in asked {
            let kept = copies.into_iter().map(|copy| CopyReport {
                digest: copy.digest,
                kept: true,
                problem: String::new(),
            });
            keep(&mut world, session, kept.collect());
        }
        rounds += 1;
    }
    assert_eq!(rounds, 4, "64 at a time");
    let count = |worker| world.mind.ledger().stored_count(worker);
    assert_eq!(count("w2") + count("w3"), 200, "each once");
    assert!(count("w3") >= 96, "both have something to do");
}
