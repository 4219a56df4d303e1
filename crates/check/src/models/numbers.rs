//! A project's executions are numbered in the order they are made, without a gap and without a repeat (I-01, I-02, I-03).

use crate::Model;

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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, Operation, Verdict, linearizable};

    fn create(number: u64, start: u64, end: u64) -> Operation<NumberCall, NumberAnswer> {
        Operation::answered(NumberCall::Create, NumberAnswer::Number(number), start, end)
    }

    fn newest(number: u64, start: u64, end: u64) -> Operation<NumberCall, NumberAnswer> {
        Operation::answered(NumberCall::Newest, NumberAnswer::Number(number), start, end)
    }

    fn holds(history: &[Operation<NumberCall, NumberAnswer>]) -> bool {
        matches!(
            linearizable(&Numbers, history, Limit::default()),
            Verdict::Linearizable(_)
        )
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
