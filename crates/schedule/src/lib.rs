//! What should run where.
//!
//! A [`Scheduler`] follows the ledger and what the ledger does not know ([`WorkerFact`]); [`Scheduler::plan`] answers with placements and promises,
//! which the caller turns into commands. It remembers nothing that does not follow from those two: one that is made anew plans the same, and when
//! a plan has been applied, the next one is empty.
//!
//! *Which first*: who was promised its start; then the greatest priority, to which each hour of being passed over adds one; then the project whose
//! executions at workers weigh least; then the oldest. *Where*: on a worker that is in contact, does not drain, serves the environment and grants
//! what is asked; first where a slot is free, and only when there is none, in a worker's backlog. Among those, where most bytes of the inputs are,
//! then the least loaded, then by name.
//!
//! *Promises*: in each environment the one with the oldest claim that needs more than is free is promised its start on the worker that can have room
//! for it soonest (of eight, in a large fleet), which is kept for it: from then on others start there only if they have ended by then, or are not in its way. An hour of age
//! counts as much as a priority greater by one, so a later one of no greater priority never takes a promise over. Nothing is promised where nothing has to
//! be saved up: to who waits for one attempt alone, while nothing of what is missing is free.
//!
//! The cost of a decision follows what changed and how many kinds of needs wait, not how many executions or workers there are.

mod facts;

mod machine;
mod tree;

mod fleet;
mod queue;

mod scheduler;

mod explain;

pub use explain::{Explanation, Requirement, Verdict, explain};
pub use facts::{Facts, WorkerFact};
pub use scheduler::{Placement, Plan, Scheduler};
