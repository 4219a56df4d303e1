//! What should run where.
//!
//! Scheduling is three steps: [`Problem::reduce`] looks at the ledger and at what it does not know ([`Facts`]), [`solve`]
//! answers with placements, and the caller turns those into commands. Nothing is remembered in between: when the
//! placements have been applied, solving again places nothing.
//!
//! *Which first*: the project with the fewest executions at workers, then the oldest execution. *Where*: on a worker that
//! is in contact, does not drain and serves the environment; first where a slot is free, and only when there is none, in a
//! worker's backlog. Among those, where most bytes of the inputs are, then the least loaded, then by name.
//!
//! The cost of a decision does not grow with the queue: only the heads of its lanes are looked at.

mod facts;

mod problem;

mod machines;
mod solve;

mod explain;

pub use explain::{Explanation, Requirement, Verdict, explain};
pub use facts::{Facts, WorkerFact};
pub use problem::Problem;
pub use solve::{Placement, solve};
