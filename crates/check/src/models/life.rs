//! The life of one execution as clients see it: made once, cancelled perhaps, ended once (I-02, I-05, I-10).

use crate::Model;

/// One execution, named by its request id. It may end by itself at any moment; only a cancel stops it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life;

/// Where an execution is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It was not made yet.
    Absent,
    /// It waits or runs; which of both may change back and forth.
    Live,
    /// It was cancelled and has not ended.
    Stopping,
    /// It was stopped.
    Stopped,
    /// It failed.
    Error,
    /// It is complete.
    Complete,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeCall {
    /// Makes it, or finds it made by an earlier call with the same request id.
    Create,
    /// Reads where it is.
    Read,
    /// Cancels it. How far it is when that is answered is a [`Read`](Self::Read) of its own at the same time: who asks again, after a leader's end say,
    /// is answered with how things are now, and may have cancelled it long before.
    Cancel,
}

/// Where it was when the call was done; the answer of a create does not count.
pub type LifeAnswer = Phase;

impl Phase {
    /// Whether it can come to be there by itself.
    fn leads_to(self, to: Self) -> bool {
        match self {
            Self::Absent | Self::Stopped | Self::Error | Self::Complete => self == to,
            Self::Live => matches!(to, Self::Live | Self::Error | Self::Complete),
            Self::Stopping => !matches!(to, Self::Absent | Self::Live),
        }
    }
}

impl Model for Life {
    type State = Phase;
    type Call = LifeCall;
    type Answer = LifeAnswer;

    fn initial(&self) -> Phase {
        Phase::Absent
    }

    fn step(&self, state: &Phase, call: &LifeCall, answer: Option<&Phase>) -> Option<Phase> {
        let after = match (call, state) {
            (LifeCall::Create, Phase::Absent) => return Some(Phase::Live),
            (LifeCall::Create, _) => return Some(*state),
            (LifeCall::Cancel, Phase::Live) => Phase::Stopping,
            (LifeCall::Read | LifeCall::Cancel, _) => *state,
        };
        // What was cancelled while it waited is stopped at once, and what had ended by itself stays so: both are led to.
        match (call, answer) {
            (_, None) => Some(after),
            (_, Some(answer)) if !after.leads_to(*answer) => None,
            (LifeCall::Cancel, Some(_)) => Some(after),
            (_, Some(answer)) => Some(*answer),
        }
    }

    fn reads(&self, call: &LifeCall) -> bool {
        matches!(call, LifeCall::Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, Operation, Verdict, linearizable};
    use LifeCall::{Cancel, Create, Read};
    use Phase::{Absent, Complete, Live, Stopped, Stopping};

    fn holds(calls: &[(LifeCall, Phase)]) -> bool {
        let history: Vec<_> = calls
            .iter()
            .zip(0_u64..)
            .map(|((call, answer), at)| Operation::answered(*call, *answer, at * 2, at * 2 + 1))
            .collect();
        matches!(
            linearizable(&Life, &history, Limit::default()),
            Verdict::Linearizable(_)
        )
    }

    #[test]
    fn lives_that_can_be() {
        assert!(holds(&[
            (Read, Absent),
            (Create, Live),
            (Read, Live),
            (Read, Complete)
        ]));
        assert!(holds(&[
            (Create, Live),
            (Cancel, Stopping),
            (Create, Live),
            (Read, Stopped)
        ]));
        assert!(holds(&[
            (Create, Live),
            (Cancel, Complete),
            (Read, Complete)
        ]));
    }

    /// A leader dies between a cancel and its answer, and the client asks again.
    #[test]
    fn a_cancel_may_be_answered_long_after_it_was_done() {
        let during = |call, answer, start, end| Operation::answered(call, answer, start, end);
        let history = [
            during(Create, Live, 0, 1),
            during(Cancel, Complete, 2, 9),
            during(Read, Complete, 2, 9),
            during(Read, Stopping, 3, 4),
            during(Read, Complete, 6, 7),
        ];
        let found = linearizable(&Life, &history, Limit::default());
        assert!(matches!(found, Verdict::Linearizable(_)), "{found:?}");
    }

    #[test]
    fn lives_that_cannot_be() {
        assert!(!holds(&[(Create, Live), (Read, Absent)]), "lost");
        assert!(
            !holds(&[(Create, Live), (Read, Stopped)]),
            "nobody cancelled it"
        );
        assert!(
            !holds(&[(Create, Live), (Cancel, Stopping), (Read, Live)]),
            "cancel lost"
        );
        assert!(!holds(&[(Create, Live), (Cancel, Live)]), "cancel ignored");
        assert!(!holds(&[(Create, Live), (Cancel, Absent)]), "cancel missed");
        assert!(
            !holds(&[(Create, Live), (Read, Complete), (Cancel, Stopping)]),
            "final is final"
        );
    }
}
