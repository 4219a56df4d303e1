//! A project's executions are numbered in the order they are made, without a gap and without a repeat (I-01, I-02, I-03).

use std::fmt;

use crate::{Model, Operation, Outcome};

/// The executions of one project.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers;

/// What a project can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberCall {
    /// Makes an execution; all calls with one request id are one operation, from the first call to the first answer.
    Create,
    /// Reads the newest execution.
    Newest,
    /// Reads whether there is an execution of this number.
    Exists(u64),
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberAnswer {
    /// The number of the execution that was made, or is the newest; 0 when there is none.
    Number(u64),
    /// Whether there is one.
    Exists(bool),
}

impl Model for Numbers {
    type State = u64;
    type Call = NumberCall;
    type Answer = NumberAnswer;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, call: &NumberCall, answer: Option<&NumberAnswer>) -> Option<u64> {
        let agrees = |right: NumberAnswer| answer.is_none_or(|answer| *answer == right);
        match call {
            NumberCall::Create => {
                let made = state + 1;
                agrees(NumberAnswer::Number(made)).then_some(made)
            }
            NumberCall::Newest => agrees(NumberAnswer::Number(*state)).then_some(*state),
            NumberCall::Exists(number) => {
                agrees(NumberAnswer::Exists(number <= state)).then_some(*state)
            }
        }
    }

    fn reads(&self, call: &NumberCall) -> bool {
        !matches!(call, NumberCall::Create)
    }
}

/// Why a history has no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// Somebody saw this number, and no operation can have made it.
    NeverMade(u64),
    /// Two operations made this number.
    MadeTwice(u64, [usize; 2]),
    /// This operation, by its place in the history, was answered with what is never right.
    Impossible(usize),
    /// The number was made after the first of these operations began, and before the second ended: but that ended first.
    NoTime(u64, [usize; 2]),
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverMade(number) => write!(f, "#{number} was seen, and nobody made it"),
            Self::MadeTwice(number, _) => write!(f, "#{number} was made twice"),
            Self::Impossible(_) => write!(f, "an answer that is never right"),
            Self::NoTime(number, _) => write!(f, "there is no time at which #{number} was made"),
        }
    }
}

/// A bound of the time at which a number was made, and the operation that gives it.
type Bound = (u64, usize);

/// Between which times a number was made.
#[derive(Clone, Copy)]
struct Window {
    maker: Option<usize>,
    from: Bound,
    until: Option<Bound>,
}

impl Window {
    fn not_before(&mut self, bound: Bound) {
        self.from = self.from.max(bound);
    }

    fn not_after(&mut self, bound: Bound) {
        self.until = Some(self.until.map_or(bound, |before| before.min(bound)));
    }
}

/// Whether there is an order of the operations in which [`Numbers`] gives the same answers: what [`linearizable`](crate::linearizable) finds by
/// a search, in the time that it takes to sort.
///
/// Numbers come in one order, so all there is to find is a time for each. Every operation bounds those times, each by itself: who
/// saw `n` or more bounds the time of `n` from above, who saw less bounds it from below. Then the earliest times are as good as any.
///
/// # Errors
/// Where there is none.
pub fn in_order(history: &[Operation<NumberCall, NumberAnswer>]) -> Result<(), Misplaced> {
    let last = history.iter().filter_map(seen).max().unwrap_or(0);
    let mut unknown: Vec<Bound> = Vec::new();
    let room = history
        .len()
        .min(usize::try_from(last).unwrap_or(usize::MAX));
    let open = Window {
        maker: None,
        from: (0, 0),
        until: None,
    };
    let mut windows = vec![open; room];
    let place = |number: u64| usize::try_from(number - 1).unwrap_or(usize::MAX);
    for (at, operation) in history.iter().enumerate() {
        let begun = (operation.start, at);
        let Outcome::Answered { answer, end } = &operation.outcome else {
            if operation.call == NumberCall::Create {
                unknown.push(begun);
            }
            continue;
        };
        let ended = ((*end).max(operation.start), at);
        // All numbers up to the first were there when it was done, and none from the second on.
        let (there, missing) = match (operation.call, answer) {
            (NumberCall::Create, NumberAnswer::Number(made)) if *made > 0 => {
                if let Some(window) = windows.get_mut(place(*made))
                    && let Some(other) = window.maker.replace(at)
                {
                    return Err(Misplaced::MadeTwice(*made, [other, at]));
                }
                (*made, *made)
            }
            (NumberCall::Newest, NumberAnswer::Number(newest)) => (*newest, newest + 1),
            (NumberCall::Exists(number), NumberAnswer::Exists(true)) => (number, u64::MAX),
            (NumberCall::Exists(number), NumberAnswer::Exists(false)) if number > 0 => (0, number),
            _ => return Err(Misplaced::Impossible(at)),
        };
        if let Some(window) = windows.get_mut(place(missing)) {
            window.not_before(begun);
        }
        if there > 0
            && let Some(window) = windows.get_mut(place(there))
        {
            window.not_after(ended);
        }
    }
    unknown.sort_unstable();
    let mut unknown = unknown.into_iter();
    let mut from = (0, 0);
    for (number, window) in (1..).zip(&mut windows) {
        if window.maker.is_none() {
            // Those of unknown outcome that began first serve first: the numbers' times only rise.
            let maker = unknown.next().ok_or(Misplaced::NeverMade(number))?;
            window.not_before(maker);
        }
        from = window.from.max(from);
        if let Some(until) = window.until
            && until.0 < from.0
        {
            return Err(Misplaced::NoTime(number, [from.1, until.1]));
        }
    }
    match last > room as u64 {
        true => Err(Misplaced::NeverMade(room as u64 + 1)),
        false => Ok(()),
    }
}

/// The highest number that the operation shows to exist.
fn seen(operation: &Operation<NumberCall, NumberAnswer>) -> Option<u64> {
    match (operation.call, operation.answer()?) {
        (NumberCall::Exists(number), NumberAnswer::Exists(true)) => Some(number),
        (_, NumberAnswer::Number(number)) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, Verdict, linearizable};
    use rand::{Rng as _, SeedableRng as _};

    fn create(number: u64, start: u64, end: u64) -> Operation<NumberCall, NumberAnswer> {
        Operation::answered(NumberCall::Create, NumberAnswer::Number(number), start, end)
    }

    fn newest(number: u64, start: u64, end: u64) -> Operation<NumberCall, NumberAnswer> {
        Operation::answered(NumberCall::Newest, NumberAnswer::Number(number), start, end)
    }

    fn holds(history: &[Operation<NumberCall, NumberAnswer>]) -> bool {
        let found = matches!(
            linearizable(&Numbers, history, Limit::default()),
            Verdict::Linearizable(_)
        );
        assert_eq!(in_order(history).is_ok(), found, "{history:?}");
        found
    }

    /// Histories that are right, or nearly so, with operations that overlap and some of unknown outcome.
    #[test]
    fn both_ways_to_judge_agree() {
        let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut right = 0;
        for _ in 0..20_000 {
            let (mut newest, mut now) = (0, 0);
            let count = chance.random_range(1..9);
            let mut history = Vec::new();
            for _ in 0..count {
                now += chance.random_range(0..4);
                let start = now - chance.random_range(0..=now.min(2));
                let end = now + chance.random_range(0..3);
                let (call, answer) = match chance.random_range(0..4) {
                    0 | 1 => {
                        newest += 1;
                        (NumberCall::Create, NumberAnswer::Number(newest))
                    }
                    2 => (NumberCall::Newest, NumberAnswer::Number(newest)),
                    _ => {
                        let number = chance.random_range(0..newest + 3);
                        let exists = NumberAnswer::Exists(number <= newest);
                        (NumberCall::Exists(number), exists)
                    }
                };
                history.push(match chance.random_ratio(1, 8) {
                    true => Operation::unknown(call, start),
                    false => Operation::answered(call, answer, start, end),
                });
            }
            // Often one answer is another's, or was given at another time.
            if chance.random_ratio(2, 3) {
                let one = chance.random_range(0..count);
                match (&mut history[one].outcome, chance.random_ratio(1, 3)) {
                    (
                        Outcome::Answered {
                            answer: NumberAnswer::Number(number),
                            ..
                        },
                        false,
                    ) => {
                        *number = (*number + 1).saturating_sub(chance.random_range(0..3));
                    }
                    (
                        Outcome::Answered {
                            answer: NumberAnswer::Exists(exists),
                            ..
                        },
                        false,
                    ) => {
                        *exists = !*exists;
                    }
                    _ => history.swap(0, one),
                }
            }
            right += u32::from(holds(&history));
        }
        assert!((2_000..19_000).contains(&right), "{right} were right");
    }

    #[test]
    fn one_after_the_other_and_side_by_side() {
        assert!(holds(&[
            create(1, 0, 1),
            create(3, 2, 9),
            create(2, 3, 4),
            newest(2, 4, 6),
            newest(3, 5, 6),
        ]));
    }

    #[test]
    fn a_number_given_twice_a_number_left_out_and_an_old_read_are_found() {
        assert!(!holds(&[create(1, 0, 1), create(1, 2, 3)]), "lost update");
        assert!(!holds(&[create(1, 0, 1), create(3, 2, 3)]), "double apply");
        assert!(!holds(&[create(1, 0, 1), newest(0, 2, 3)]), "stale read");
    }

    #[test]
    fn an_unknown_outcome_may_be_either() {
        let unknown = Operation::unknown(NumberCall::Create, 2);
        assert!(holds(&[
            create(1, 0, 1),
            unknown.clone(),
            newest(1, 3, 4),
            newest(2, 5, 6),
            create(3, 7, 8),
        ]));
        assert!(holds(&[create(1, 0, 1), unknown, create(2, 7, 8)]));
    }
}
