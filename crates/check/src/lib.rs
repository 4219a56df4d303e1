//! Whether what clients saw could have happened one operation at a time: linearizability (I-03).
//!
//! A history is what clients know: when each operation was called, when it was answered and with what, or that its outcome stayed
//! unknown. It is linearizable when every answered operation, and any of the unknown ones, can be given a moment between its call
//! and its answer so that a [`Model`] which does one operation at a time would have given the same answers.
//!
//! [`linearizable`] searches for such an order as Wing and Gong did, with the memory of Lowe: a set of operations done and the state
//! after them is tried once. The models of what Shoal promises are in [`models`]. Used by the simulator and by the tests of real
//! processes; times are numbers of any one clock, and nothing is read from outside.

mod history;

mod search;

pub mod models;

pub use history::{Operation, Outcome};
pub use search::{Blocked, Limit, Model, Verdict, linearizable};
