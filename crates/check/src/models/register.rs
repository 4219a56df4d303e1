//! A register: what was written last is what is read.

use crate::Model;

/// One value, written and read. Its first value is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// What a register can be asked. A write answers with what it wrote, a read with what it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterCall {
    /// Writes a value.
    Write(u64),
    /// Reads it.
    Read,
    /// Writes the second value if the first one is there; answers with what was there.
    CompareAndSet(u64, u64),
}

impl Model for Register {
    type State = u64;
    type Call = RegisterCall;
    type Answer = u64;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, call: &RegisterCall, answer: Option<&u64>) -> Option<u64> {
        let agrees = |value: u64| answer.is_none_or(|answer| *answer == value);
        match *call {
            RegisterCall::Write(value) => agrees(value).then_some(value),
            RegisterCall::Read => agrees(*state).then_some(*state),
            RegisterCall::CompareAndSet(from, to) => {
                agrees(*state).then_some(if *state == from { to } else { *state })
            }
        }
    }

    fn reads(&self, call: &RegisterCall) -> bool {
        matches!(call, RegisterCall::Read)
    }
}
