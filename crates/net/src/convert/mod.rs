//! Records of the ledger as messages of the contract, one file per resource, and names the other way.

pub(crate) mod name;

mod time;

pub(crate) mod datum;

pub(crate) mod execution;

pub(crate) mod pipeline;

pub(crate) mod token;
pub(crate) mod worker;

pub(crate) use time::{from_micros, from_millis};

/// A count or revision as the contract writes it. Nothing here comes near the bound.
pub(crate) fn int64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
