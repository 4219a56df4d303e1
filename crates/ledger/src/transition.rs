//! Which state of an execution may follow which: the one table.
//!
//! ```text
//! CREATED -> QUEUED -> STARTED -> COMPLETE | ERROR | STOPPED
//!              |  ^------'  |            the attempt was lost; there will be another
//!              '-> STOPPING <-'          asked to stop, and a worker has it
//! ```
//!
//! Final is final (I-05): nothing follows COMPLETE, ERROR and STOPPED.

use contract::api::State;

/// Whether an execution in state `from` may come into state `to`.
pub(crate) fn may(from: State, to: State) -> bool {
    use State::{Complete, Created, Error, Queued, Started, Stopped, Stopping};
    matches!(
        (from, to),
        (Created, Queued)
            | (Queued, Started | Stopping | Stopped | Error)
            | (Started, Queued | Stopping | Stopped | Error | Complete)
            | (Stopping, Stopped | Error | Complete)
    )
}

/// Whether nothing can follow.
pub(crate) fn is_final(state: State) -> bool {
    matches!(state, State::Complete | State::Error | State::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 7] = [
        State::Created,
        State::Queued,
        State::Started,
        State::Stopping,
        State::Stopped,
        State::Error,
        State::Complete,
    ];

    #[test]
    fn final_is_what_nothing_follows() {
        for from in ALL {
            assert_eq!(
                is_final(from),
                !ALL.iter().any(|to| may(from, *to)),
                "{from:?}"
            );
        }
    }

    #[test]
    fn every_state_is_reached_from_created() {
        let mut reached = vec![State::Created];
        let mut at = 0;
        while let Some(from) = reached.get(at).copied() {
            at += 1;
            for to in ALL {
                if may(from, to) && !reached.contains(&to) {
                    reached.push(to);
                }
            }
        }
        assert_eq!(reached.len(), ALL.len());
    }
}
