//! The replicated truth: one transition function.
//!
//! ```text
//! 1 <= fence.index <= revision          a fence is the index of an entry that was applied
//! leader_time(entry n) <= time          the ledger's time never runs back
//! attempts(execution) <= MAX_ATTEMPTS   and at most the last of them is live
//! ```
//!
//! [`Ledger::apply`] is how anything ever changes: live traffic, replay after a restart and the simulator all go through
//! it, and a restored snapshot equals the replay of the entries before it. It reads no clock and no file, draws no random
//! number and decides nothing by the order of a hash map, so equal entries make equal ledgers everywhere.
//!
//! A [`Ledger`] is made of persistent maps: a clone takes constant time and the two go their own ways from then on.
//!
//! Modules, in reading order: `records` is what is held, `transition` which states may follow which, `needs` what is asked of a machine, `outcome` what
//! applying answers, `ledger` the maps and `upkeep` how they change, `stored` who has the bytes, `commands` one file per decision, `attempts` how a try ends,
//! `pipeline` how a node that ended moves its pipeline (`edges`, `actions` and `launch` help it), `snapshot` and
//! `invariants` what is written to disk and what always holds.

mod ids;
mod needs;
mod records;
mod transition;

mod outcome;

mod changes;
mod lanes;
mod ledger;
mod principals;
mod stored;
mod upkeep;

mod commands;

mod attempts;
mod launch;
mod recipes;

mod actions;
mod edges;
mod pipeline;

mod digest;
mod feature;
mod grants;
mod identity;
mod invariants;
mod json;
mod snapshot;
mod transcript;

pub use changes::Subject;
pub use commands::ENTRY_VERSION;
pub use contract::link::Device;
pub use feature::{COPIES, FEATURE_LEVEL, Knows, PRIORITIES, TooOld};
pub use ids::Fence;
pub use lanes::Lane;
pub use ledger::Ledger;
pub use needs::{DeviceNeed, MountNeed, Needs};
pub use outcome::{Applied, Outcome, Refused};
pub use pipeline::RETRY_LIMIT;
pub use records::{
    Attempt, Blueprint, Datum, Execution, Input, InputFile, Member, Node, Pipeline, PlannedNode,
    Project, Promise, Recipe, Request, Revocation, Taken, Token, Use, Worker,
};
pub use snapshot::{RestoreError, SNAPSHOT_VERSION};
pub use stored::{Blob, Digest};
pub use transcript::line;
pub use uuid::Uuid;

/// How many attempts an execution gets before it counts as lost.
pub const MAX_ATTEMPTS: u32 = 16;

/// Priorities that an execution may have: greater is sooner. One that is given none has 0.
pub const PRIORITY_RANGE: std::ops::RangeInclusive<i32> = -100..=100;

/// How many join tokens there may be at once.
pub const MAX_TOKENS: usize = 1_000;

/// How many requests are remembered; the oldest is forgotten first.
pub const REMEMBERED_REQUESTS: usize = 100_000;
