//! The search for an order.
//!
//! Calls and answers are events in a list, in the order of their times. The search takes the first call whose operation the model
//! can do, removes both its events, and begins again at the head of the list. An answer at which it arrives belongs to an operation
//! that should have been done before it: then the last choice was wrong, its events are put back, and the next call is tried.
//! The order is found when no answer is left.
//!
//! Two kinds of choices need not be tried, for another one is at least as good. A read that was answered with the state as it is may as well be done
//! at once, and then nothing else needs to be done in its place. What has no answer may as well be left out where it leaves the state as it is, and
//! wait where the same was asked before it, has no answer either and is not done yet.
//!
//! ```text
//! done = all operations before `frontier`, without the `holes`; holes < frontier
//! ```

use std::collections::HashSet;
use std::hash::Hash;

use crate::Operation;

/// Something that does one operation at a time.
pub trait Model {
    /// What it remembers from one operation to the next.
    type State: Clone + Eq + Hash;
    /// What it can be asked.
    type Call: PartialEq;
    /// What it answers.
    type Answer;

    /// What it remembers before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `call` was done in `state` and answered with `answer`; none when it would have answered otherwise. With no
    /// answer, the state after `call` was done and answered with anything.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;

    /// Whether the call changes nothing by itself, in any state.
    fn reads(&self, call: &Self::Call) -> bool;
}

/// How many steps of the model a search may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub u64);

impl Default for Limit {
    /// 50 million: some seconds, and some gigabytes at the worst.
    fn default() -> Self {
        Self(50_000_000)
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order; these are the operations in it, by their places in the history.
    Linearizable(Vec<usize>),
    /// There is none.
    Violation(Blocked),
    /// The limit was reached before either was known.
    Undecided,
}

/// Where every order ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The operations of the longest order that was found, by their places in the history.
    pub done: Vec<usize>,
    /// The operation that cannot follow them, though it was answered before any other that is left.
    pub stuck: usize,
}

/// Searches for an order of the operations in which the model gives the same answers.
pub fn linearizable<M: Model>(
    model: &M,
    history: &[Operation<M::Call, M::Answer>],
    limit: Limit,
) -> Verdict {
    Search::new(model, history).run(limit)
}

/// No event.
const NONE: u32 = u32::MAX;

/// An event is the call (even) or the answer (odd) of operation `event / 2`; the last number is the head of the list.
struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Call, M::Answer>],
    /// Places in `history` by the time of the call: an operation's number is its place here.
    order: Vec<usize>,
    /// For each operation without an answer, the last one before it that asks the same and has none either.
    twins: Vec<Option<u32>>,
    next: Vec<u32>,
    previous: Vec<u32>,
    /// Answers that are left.
    left: usize,
    done: Done,
    seen: HashSet<(Done, M::State)>,
}

/// What was done, and the state before it, unless it left that as it was and nothing need be tried in its place.
struct Choice<State> {
    call: u32,
    before: Option<State>,
}

/// The set of operations that are done.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Done {
    frontier: u32,
    holes: Vec<u32>,
}

impl Done {
    fn contains(&self, operation: u32) -> bool {
        operation < self.frontier && self.holes.binary_search(&operation).is_err()
    }

    fn insert(&mut self, operation: u32) {
        if operation >= self.frontier {
            self.holes.extend(self.frontier..operation);
            self.frontier = operation + 1;
        } else if let Ok(at) = self.holes.binary_search(&operation) {
            self.holes.remove(at);
        }
    }

    fn remove(&mut self, operation: u32) {
        if operation + 1 == self.frontier {
            self.frontier = operation;
            while self.frontier > 0 && self.holes.last() == Some(&(self.frontier - 1)) {
                self.holes.pop();
                self.frontier -= 1;
            }
        } else if let Err(at) = self.holes.binary_search(&operation) {
            self.holes.insert(at, operation);
        }
    }
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Call, M::Answer>]) -> Self {
        let mut order: Vec<usize> = (0..history.len()).collect();
        order.sort_by_key(|at| history[*at].start);
        let twin = |number: usize| {
            let one = &history[order[number]];
            if one.answer().is_some() {
                return None;
            }
            let is_same = |earlier: &usize| {
                let other = &history[order[*earlier]];
                other.answer().is_none() && other.call == one.call
            };
            (0..number).rev().find(is_same).map(|at| at as u32)
        };
        let twins = (0..order.len()).map(twin).collect();
        let mut events = Vec::new();
        for (number, at) in order.iter().enumerate() {
            // At one time calls come before answers: such operations may have overlapped.
            events.push((history[*at].start, 0, number as u32 * 2));
            if let crate::Outcome::Answered { end, .. } = history[*at].outcome {
                events.push((end.max(history[*at].start), 1, number as u32 * 2 + 1));
            }
        }
        events.sort_unstable();
        let head = history.len() * 2;
        let (mut next, mut previous) = (vec![NONE; head + 1], vec![NONE; head + 1]);
        let mut last = head as u32;
        for (_, _, event) in &events {
            next[last as usize] = *event;
            previous[*event as usize] = last;
            last = *event;
        }
        Self {
            model,
            history,
            order,
            twins,
            next,
            previous,
            left: events.len() - history.len(),
            done: Done::default(),
            seen: HashSet::new(),
        }
    }

    fn operation(&self, event: u32) -> &'a Operation<M::Call, M::Answer> {
        &self.history[self.order[event as usize / 2]]
    }

    fn run(mut self, limit: Limit) -> Verdict {
        let head = self.history.len() * 2;
        let mut state = self.model.initial();
        let mut chosen: Vec<Choice<M::State>> = Vec::new();
        let mut best: Option<Blocked> = None;
        let mut steps = 0;
        self.take_free(&state, &mut chosen);
        let mut event = self.next[head];
        while self.left > 0 {
            if event & 1 == 0 {
                steps += 1;
                if steps > limit.0 {
                    return Verdict::Undecided;
                }
                match self.advance(event, &state) {
                    Some(after) => {
                        chosen.push(Choice {
                            call: event,
                            before: Some(std::mem::replace(&mut state, after)),
                        });
                        self.take_free(&state, &mut chosen);
                        event = self.next[head];
                    }
                    None => event = self.next[event as usize],
                }
                continue;
            }
            if best
                .as_ref()
                .is_none_or(|best| best.done.len() < chosen.len())
            {
                best = Some(Blocked {
                    done: self.places(&chosen),
                    stuck: self.order[event as usize / 2],
                });
            }
            loop {
                let Some(Choice { call, before }) = chosen.pop() else {
                    // An answer was arrived at, so there is a best.
                    return best.map_or(Verdict::Undecided, Verdict::Violation);
                };
                self.put_back(call);
                if let Some(before) = before {
                    state = before;
                    event = self.next[call as usize];
                    break;
                }
            }
        }
        Verdict::Linearizable(self.places(&chosen))
    }

    fn places(&self, chosen: &[Choice<M::State>]) -> Vec<usize> {
        chosen
            .iter()
            .map(|choice| self.order[choice.call as usize / 2])
            .collect()
    }

    /// Does every read that was answered with the state as it is.
    fn take_free(&mut self, state: &M::State, chosen: &mut Vec<Choice<M::State>>) {
        let mut event = self.next[self.history.len() * 2];
        while event != NONE && event & 1 == 0 {
            let operation = self.operation(event);
            let answer = operation.answer();
            let is_free = answer.is_some()
                && self.model.reads(&operation.call)
                && self.model.step(state, &operation.call, answer).as_ref() == Some(state);
            let before = self.previous[event as usize];
            if is_free {
                self.take(event);
                chosen.push(Choice {
                    call: event,
                    before: None,
                });
                event = self.next[before as usize];
            } else {
                event = self.next[event as usize];
            }
        }
    }

    /// Does the operation of this call, if the model can, it was not tried yet and nothing as good is.
    fn advance(&mut self, call: u32, state: &M::State) -> Option<M::State> {
        let operation = self.operation(call);
        let is_unanswered = operation.answer().is_none();
        let waits = |twin: u32| !self.done.contains(twin);
        if self.twins[call as usize / 2].is_some_and(waits) {
            return None;
        }
        let after = self
            .model
            .step(state, &operation.call, operation.answer())?;
        if is_unanswered && after == *state {
            return None;
        }
        self.done.insert(call / 2);
        if !self.seen.insert((self.done.clone(), after.clone())) {
            self.done.remove(call / 2);
            return None;
        }
        self.take(call);
        Some(after)
    }

    /// Counts the operation of this call as done.
    fn take(&mut self, call: u32) {
        self.done.insert(call / 2);
        self.take_out(call);
        if self.operation(call).answer().is_some() {
            self.take_out(call + 1);
            self.left -= 1;
        }
    }

    /// Undoes [`Self::take`]; the last one that was done first.
    fn put_back(&mut self, call: u32) {
        if self.operation(call).answer().is_some() {
            self.put_in(call + 1);
            self.left += 1;
        }
        self.put_in(call);
        self.done.remove(call / 2);
    }

    fn take_out(&mut self, event: u32) {
        let (before, after) = (self.previous[event as usize], self.next[event as usize]);
        self.next[before as usize] = after;
        if after != NONE {
            self.previous[after as usize] = before;
        }
    }

    fn put_in(&mut self, event: u32) {
        let (before, after) = (self.previous[event as usize], self.next[event as usize]);
        self.next[before as usize] = event;
        if after != NONE {
            self.previous[after as usize] = event;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_and_removed_leaves_the_same_set() {
        let mut done = Done::default();
        let empty = done.clone();
        done.insert(3);
        assert_eq!(done.holes, [0, 1, 2]);
        done.insert(1);
        done.insert(0);
        let three = done.clone();
        done.insert(7);
        assert_eq!(done.holes, [2, 4, 5, 6]);
        done.remove(7);
        assert!(done == three);
        for operation in [0, 1, 3] {
            done.remove(operation);
        }
        assert!(done == empty);
    }
}
