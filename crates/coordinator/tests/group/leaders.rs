//! Leaders: how soon there is one, what callers and workers hear meanwhile, handing over.

use contract::api::{ErrorReason, State};
use contract::link::{AttemptPhase, AttemptReport, AttemptResult, Offer, SynchronizeRequest};
use coordinator::{Answer, Input, Request, TICK_MS};

use crate::world::{World, session};

#[test]
fn a_leader_that_dies_is_followed_within_a_second() {
    let mut times: Vec<u64> = (0..60)
        .map(|seed| {
            let mut world = World::of(3, seed);
            world.elect();
            world.run(seed % 7);
            let leader = world.leader().unwrap();
            world.crash(leader, 0);
            world.elect() * TICK_MS
        })
        .collect();
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    assert!(median <= 800, "median {median} ms");
    assert!(worst <= 1_200, "worst {worst} ms");
}

#[test]
fn a_follower_sends_callers_to_the_leader() {
    let mut world = World::of(3, 1);
    world.elect();
    world.run(10);
    let leader = world.leader().unwrap();
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let token = world.submit(follower, 1);
    let refusal = world.answers[&token].clone().unwrap_err();
    assert_eq!(refusal.reason, ErrorReason::NotLeader);
    assert_eq!(refusal.metadata["leader"], format!("c{leader}:1"));
}

#[test]
fn without_a_majority_nobody_waits_for_long_and_nothing_is_said_to_be_done() {
    let mut world = World::of(3, 2);
    world.elect();
    let leader = world.leader().unwrap();
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    others.iter().for_each(|id| world.crash(*id, 0));
    let in_flight = world.submit(leader, 1);
    world.run(5_000 / TICK_MS);
    assert_eq!(world.reason(in_flight), Some(ErrorReason::OutcomeUnknown));
    let (late, read) = (world.submit(leader, 2), world.read(leader));
    assert_eq!(
        world.reason(late),
        Some(ErrorReason::NoQuorum),
        "at once by now"
    );
    assert_eq!(world.read_answer(read), Some(Err(ErrorReason::NoQuorum)));
    others.iter().for_each(|id| world.start(*id));
    world.heal_and_check();
}

#[test]
fn what_was_asked_while_nobody_led_is_done_once_somebody_does() {
    let mut world = World::of(3, 3);
    let token = world.submit(1, 1);
    let read = world.read(2);
    world.elect();
    world.run(10);
    assert!(matches!(world.read_answer(read), Some(Ok(_))));
    match &world.answers[&token] {
        Ok(_) => assert_eq!(world.leader(), Some(1)),
        Err(refusal) => assert_eq!(refusal.reason, ErrorReason::NotLeader),
    }
}

#[test]
fn a_leader_hands_over_when_it_is_asked_to_and_when_it_stops() {
    let mut world = World::of(3, 4);
    world.elect();
    world.run(10);
    let first = world.leader().unwrap();
    let second = first % 3 + 1;
    let token = world.ask(first, Request::TransferLeadership { member_id: second });
    world.run(4);
    let answer = Ok(Answer::Member { member_id: second });
    assert_eq!(
        (world.answers.get(&token), world.leader()),
        (Some(&answer), Some(second))
    );
    world.happen(second, Input::StepDown);
    world.run(4);
    assert!(world.leader().is_some_and(|leader| leader != second));
    assert!(!world.mind(second).leads());
    world.crash(world.leader().unwrap(), 0);
    let nobody = world.ask(second, Request::TransferLeadership { member_id: 99 });
    assert!(world.answers[&nobody].is_err());
    world.heal_and_check();
}

#[test]
fn members_that_all_stop_do_not_hand_leadership_round_for_ever() {
    let mut world = World::of(3, 8);
    world.elect();
    world.run(10);
    for id in 1..=3 {
        world.handle(id, Input::StepDown);
    }
    for id in 1..=3 {
        world.settle(id);
    }
    let before = world.mind(1).group().term();
    world.run(30);
    assert!(world.mind(1).group().term() <= before + 3);
}

#[test]
fn what_is_in_flight_at_a_handover_is_answered_when_it_commits() {
    let mut world = World::of(3, 5);
    world.elect();
    world.run(10);
    let first = world.leader().unwrap();
    let token = world.submit(first, 1);
    let transfer = world.ask(first, Request::TransferLeadership { member_id: 0 });
    world.run(4);
    assert!(world.answers[&transfer].is_ok());
    assert!(world.answers[&token].is_ok(), "{:?}", world.answers[&token]);
}

fn state(generation: u64, attempts: Vec<AttemptReport>) -> SynchronizeRequest {
    SynchronizeRequest {
        worker: "w1".into(),
        incarnation: 1,
        generation,
        offer: Some(Offer {
            address: "w1:1".into(),
            slot_count: 1,
            ..Offer::default()
        }),
        attempts,
        desired_generation: u64::MAX,
        ..SynchronizeRequest::default()
    }
}

#[test]
fn workers_move_to_the_new_leader_and_what_they_run_stays() {
    let mut world = crate::members::grown();
    let old = world.leader().unwrap();
    let say = |world: &mut World, id: u64, at: u64, state: SynchronizeRequest| {
        let input = Input::WorkerState {
            session: session(at),
            state: Box::new(state),
        };
        world.happen(id, input);
        world.run(4);
    };
    say(&mut world, old, 1, state(1, vec![]));
    world.submit(old, 1);
    world.run(4);
    let fence = world.nodes[&old].desired.last().unwrap().attempts[0]
        .fence
        .clone();
    let running = AttemptReport {
        fence: fence.clone(),
        phase: AttemptPhase::Running.into(),
        prepare_time_us: 5,
        start_time_us: 6,
        ..AttemptReport::default()
    };
    say(&mut world, old, 1, state(2, vec![running.clone()]));
    // The leader is cut off; the worker still speaks to it.
    world.cut.insert(old);
    world.elect();
    let new = world.leader().unwrap();
    world.cut.clear();
    world.run(20);
    let (ended, refusal) = world.nodes[&old].ended.last().unwrap();
    assert_eq!((*ended, refusal.reason), (1, ErrorReason::NotLeader));
    assert_eq!(refusal.metadata["leader"], format!("c{new}:1"));
    // A follower sends it on as well.
    let follower = (1..=3).find(|id| *id != new && *id != old).unwrap();
    say(&mut world, follower, 7, state(3, vec![running.clone()]));
    assert_eq!(world.nodes[&follower].ended.last().unwrap().0, 7);
    say(&mut world, new, 8, state(4, vec![running]));
    // Nobody declares it lost or starts it again.
    world.run(61_000 / TICK_MS);
    let execution = world.nodes[&new].published.execution("p", 1).unwrap();
    assert_eq!(
        execution.attempts.len(),
        1,
        "quorum loss and failover restart nothing"
    );
    assert_eq!(
        execution.live_fence().map(contract::link::Fence::from),
        fence
    );
}

/// A worker that reaches a coordinator which reaches no other is sent away, so that it finds those that decide before it counts as lost.
#[test]
fn a_coordinator_without_a_leader_keeps_no_worker_waiting() {
    let mut world = crate::members::grown();
    let old = world.leader().unwrap();
    let say = |world: &mut World, at: u64, generation: u64| {
        let input = Input::WorkerState {
            session: session(at),
            state: Box::new(state(generation, vec![])),
        };
        world.happen(old, input);
    };
    say(&mut world, 1, 1);
    world.run(4);
    world.cut.insert(old);
    world.run(8_000 / TICK_MS);
    let ended = |world: &World| {
        let ended = &world.nodes[&old].ended;
        ended
            .iter()
            .map(|(session, refusal)| (*session, refusal.reason))
            .collect::<Vec<_>>()
    };
    assert_eq!(ended(&world), [(1, ErrorReason::NoQuorum)]);
    // And one that comes meanwhile.
    say(&mut world, 2, 2);
    assert_eq!(ended(&world)[1], (2, ErrorReason::NoQuorum));
}

#[test]
fn a_worker_that_spoke_before_there_was_a_leader_is_heard_once_there_is() {
    let mut world = World::of(3, 7);
    for id in 1..=3 {
        let input = Input::WorkerState {
            session: session(id),
            state: Box::new(state(1, vec![])),
        };
        world.happen(id, input);
    }
    world.elect();
    world.run(10);
    let leader = world.leader().unwrap();
    assert!(world.nodes[&leader].published.worker("w1").is_some());
    for (id, node) in &world.nodes {
        let ended = usize::from(*id != leader);
        assert_eq!(node.ended.len(), ended, "member {id}");
    }
}

#[test]
fn a_result_counted_by_other_coordinators_than_those_of_now_is_not_taken() {
    let mut world = crate::members::grown();
    let leader = world.leader().unwrap();
    let say = |world: &mut World, state: SynchronizeRequest| {
        let input = Input::WorkerState {
            session: session(1),
            state: Box::new(state),
        };
        world.happen(leader, input);
        world.run(4);
        let published = &world.nodes[&leader].published;
        published.execution("p", 1).map(ledger::Execution::state)
    };
    assert_eq!(say(&mut world, state(1, vec![])), None);
    world.submit(leader, 1);
    world.run(4);
    let desired = world.nodes[&leader].desired.last().unwrap();
    let result = AttemptResult {
        state: State::Complete.into(),
        exit_code: Some(0),
        record_count: 2,
        feed_digest: vec![9; 32].into(),
        ..AttemptResult::default()
    };
    let finished = AttemptReport {
        fence: desired.attempts[0].fence.clone(),
        phase: AttemptPhase::Finished.into(),
        prepare_time_us: 5,
        start_time_us: 6,
        result: Some(result),
        ..AttemptReport::default()
    };
    // It was out of contact while the one coordinator became three: the log is on one disk.
    for (generation, counted) in [(2, vec![1]), (3, vec![1, 2]), (4, vec![1, 2, 4])] {
        let mut state = state(generation, vec![finished.clone()]);
        state.coordinator_ids = counted;
        assert_eq!(say(&mut world, state), Some(State::Queued), "I-21");
    }
    let mut state = state(5, vec![finished]);
    state.coordinator_ids = vec![3, 1, 2];
    assert_eq!(say(&mut world, state), Some(State::Complete));
}
