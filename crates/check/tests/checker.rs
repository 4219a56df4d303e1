//! The checker is checked: planted faults are always found, small histories are judged as trying every order judges them, and long
//! ones are judged quickly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use check::models::{
    Life, LifeCall, NumberAnswer, NumberCall, Numbers, Phase, Register, RegisterCall,
};
use check::{Limit, Model, Operation, Outcome, Verdict, linearizable};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

fn holds<M: Model>(model: &M, history: &[Operation<M::Call, M::Answer>]) -> bool {
    match linearizable(model, history, Limit::default()) {
        Verdict::Linearizable(order) => {
            replay(model, history, &order);
            true
        }
        Verdict::Violation(_) => false,
        Verdict::Undecided => panic!("the limit was reached"),
    }
}

/// The order that was found is one: every answer in it once, in an order that time and the model allow.
fn replay<M: Model>(model: &M, history: &[Operation<M::Call, M::Answer>], order: &[usize]) {
    let mut state = model.initial();
    let mut done = vec![false; history.len()];
    let mut latest = 0;
    for at in order {
        let operation = &history[*at];
        assert!(!std::mem::replace(&mut done[*at], true), "done twice");
        latest = latest.max(operation.start);
        if let Outcome::Answered { end, .. } = operation.outcome {
            assert!(end >= latest, "done after its answer");
        }
        state = model
            .step(&state, &operation.call, operation.answer())
            .expect("the model gives this answer");
    }
    for (operation, done) in history.iter().zip(done) {
        assert!(done || operation.answer().is_none(), "left out");
    }
}

/// Operations of several clients that were truly done one at a time: the moment of each lies somewhere between its two ends.
fn played<M: Model>(
    model: &M,
    chance: &mut ChaCha8Rng,
    calls: impl IntoIterator<Item = M::Call>,
    clients: u64,
    answer: impl Fn(&M::State, &M::Call) -> M::Answer,
) -> Vec<Operation<M::Call, M::Answer>> {
    let mut state = model.initial();
    let mut free = vec![0_u64; clients as usize];
    let mut now = 0;
    calls
        .into_iter()
        .map(|call| {
            now += 10;
            let client = chance.random_range(0..free.len());
            let start = free[client].max(now - chance.random_range(0..(8 * clients).min(now)));
            now = now.max(start);
            let end = now + chance.random_range(1..8 * clients);
            free[client] = end + 1;
            let told = answer(&state, &call);
            state = model.step(&state, &call, Some(&told)).unwrap();
            Operation::answered(call, told, start, end)
        })
        .collect()
}

fn project(
    chance: &mut ChaCha8Rng,
    length: usize,
    clients: u64,
) -> Vec<Operation<NumberCall, NumberAnswer>> {
    let calls: Vec<_> = (0..length)
        .map(|at| match chance.random_range(0..4) {
            0 => NumberCall::Newest,
            1 => NumberCall::Exists(chance.random_range(1..at as u64 + 2)),
            _ => NumberCall::Create,
        })
        .collect();
    played(&Numbers, chance, calls, clients, |state, call| match call {
        NumberCall::Create => NumberAnswer::Number(state + 1),
        NumberCall::Newest => NumberAnswer::Number(*state),
        NumberCall::Exists(number) => NumberAnswer::Exists(number <= state),
    })
}

fn register(
    chance: &mut ChaCha8Rng,
    length: usize,
    clients: u64,
) -> Vec<Operation<RegisterCall, u64>> {
    let calls: Vec<_> = (1..=length as u64)
        .map(|at| match chance.random_range(0..2) {
            0 => RegisterCall::Read,
            _ => RegisterCall::Write(at),
        })
        .collect();
    played(
        &Register,
        chance,
        calls,
        clients,
        |state, call| match call {
            RegisterCall::Write(value) => *value,
            _ => *state,
        },
    )
}

fn end(operation: &Operation<impl Sized, impl Sized>) -> u64 {
    match operation.outcome {
        Outcome::Answered { end, .. } => end,
        Outcome::Unknown => u64::MAX,
    }
}

/// Some answers of these never came.
fn forget<C, A>(chance: &mut ChaCha8Rng, history: &mut [Operation<C, A>], one_in: u32) {
    for operation in history {
        if chance.random_ratio(1, one_in) {
            operation.outcome = Outcome::Unknown;
        }
    }
}

#[test]
fn what_was_done_one_at_a_time_is_linearizable() {
    for seed in 0..150 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut numbers = project(&mut chance, 200, 8);
        assert!(holds(&Numbers, &numbers), "seed {seed}");
        forget(&mut chance, &mut numbers, 40);
        assert!(holds(&Numbers, &numbers), "seed {seed}, unknown outcomes");
        let mut register = register(&mut chance, 200, 5);
        assert!(holds(&Register, &register), "seed {seed}");
        forget(&mut chance, &mut register, 40);
        assert!(holds(&Register, &register), "seed {seed}, unknown outcomes");
    }
}

#[test]
fn a_planted_stale_read_is_always_found() {
    let mut planted = 0;
    for seed in 0..1_200 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut history = register(&mut chance, 120, 6);
        // A read that begins after a write was answered that began after an older one was: the older value is gone for good.
        let writes: Vec<_> = history
            .iter()
            .filter_map(|operation| match operation.call {
                RegisterCall::Write(value) => Some((value, operation.start, end(operation))),
                _ => None,
            })
            .collect();
        let mut places = Vec::new();
        for (at, operation) in history.iter().enumerate() {
            if operation.call == RegisterCall::Read {
                for (_, newer_start, newer_end) in &writes {
                    for (old, _, old_end) in &writes {
                        if old_end < newer_start && *newer_end < operation.start {
                            places.push((at, *old));
                        }
                    }
                }
            }
        }
        let Some((at, old)) = places.choose(&mut chance).copied() else {
            continue;
        };
        let when = end(&history[at]);
        history[at].outcome = Outcome::Answered {
            answer: old,
            end: when,
        };
        assert!(
            !holds(&Register, &history),
            "seed {seed}: operation {at} reads {old}"
        );
        planted += 1;
    }
    assert!(planted >= 1_000, "{planted}");
}

#[test]
fn a_planted_lost_update_and_double_apply_are_always_found() {
    for seed in 0..1_000 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let history = project(&mut chance, 120, 6);
        let creates: Vec<usize> = (0..history.len())
            .filter(|at| history[*at].call == NumberCall::Create)
            .collect();
        let at = creates[chance.random_range(1..creates.len() - 1)];
        let NumberAnswer::Number(number) = *history[at].answer().unwrap() else {
            unreachable!();
        };
        for (what, change) in [("lost update", -1_i64), ("double apply", 1)] {
            let mut history = history.clone();
            // From this one on everything is told as if one had not counted, or one had counted twice.
            for (later, operation) in history.iter_mut().enumerate() {
                if let Outcome::Answered {
                    answer: NumberAnswer::Number(told),
                    ..
                } = &mut operation.outcome
                    && later >= at
                    && *told >= number
                {
                    *told = told.checked_add_signed(change).unwrap();
                }
            }
            assert!(
                !holds(&Numbers, &history),
                "seed {seed}: {what} of {number}"
            );
        }
    }
}

/// Tries every order.
fn every_order<M: Model>(
    model: &M,
    history: &[Operation<M::Call, M::Answer>],
    state: &M::State,
    done: u32,
) -> bool {
    let open = |at: usize| done & (1 << at) == 0;
    let left = || (0..history.len()).filter(|at| open(*at));
    let Some(first_end) = left().map(|at| end(&history[at])).min() else {
        return true;
    };
    if first_end == u64::MAX {
        return true;
    }
    left()
        .filter(|at| history[*at].start <= first_end)
        .any(|at| {
            model
                .step(state, &history[at].call, history[at].answer())
                .is_some_and(|state| every_order(model, history, &state, done | (1 << at)))
        })
}

#[test]
fn small_histories_are_judged_as_every_order_judges_them() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..20_000 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let unanswered = if seed % 2 == 0 { 6 } else { 2 };
        let history: Vec<_> = (0..chance.random_range(2..8))
            .map(|_| {
                let mut value = || chance.random_range(0..3);
                let (a, b, answer) = (value(), value(), value());
                let call = match chance.random_range(0..3) {
                    0 => RegisterCall::Write(a),
                    1 => RegisterCall::Read,
                    _ => RegisterCall::CompareAndSet(a, b),
                };
                let answer = if let RegisterCall::Write(value) = call {
                    value
                } else {
                    answer
                };
                let start = chance.random_range(0..20);
                if chance.random_ratio(1, unanswered) {
                    return Operation::unknown(call, start);
                }
                Operation::answered(call, answer, start, start + chance.random_range(0..12))
            })
            .collect();
        let expected = every_order(&Register, &history, &0, 0);
        assert_eq!(
            holds(&Register, &history),
            expected,
            "seed {seed}: {history:#?}"
        );
        if expected {
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(good > 2_000 && bad > 2_000, "{good} good, {bad} bad");
}

/// Somebody asks for the same again and again and hears nothing, while others read: as a simulated cluster without a leader showed it.
#[test]
fn what_was_asked_in_vain_again_and_again_does_not_multiply_the_orders() {
    let mut history = vec![Operation::answered(LifeCall::Create, Phase::Live, 0, 1)];
    for at in 0..200 {
        history.push(Operation::unknown(LifeCall::Cancel, 10 + at));
        history.push(Operation::answered(
            LifeCall::Read,
            Phase::Stopping,
            300 + at,
            1_000 + at,
        ));
    }
    history.push(Operation::answered(LifeCall::Read, Phase::Live, 20, 999));
    assert!(holds(&Life, &history));
    history.push(Operation::answered(
        LifeCall::Read,
        Phase::Live,
        1_001,
        1_002,
    ));
    assert!(!holds(&Life, &history), "it was read as stopping before");
}

#[test]
fn ten_thousand_operations_take_less_than_half_a_minute() {
    let mut chance = ChaCha8Rng::seed_from_u64(7);
    let mut numbers = project(&mut chance, 10_000, 32);
    forget(&mut chance, &mut numbers, 500);
    let register = register(&mut chance, 10_000, 10);
    let start = Instant::now();
    assert!(holds(&Numbers, &numbers));
    assert!(holds(&Register, &register));
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    eprintln!("2 histories of 10,000 operations: {:?}", start.elapsed());
}
