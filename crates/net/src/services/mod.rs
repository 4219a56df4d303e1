//! The services of the contract, one file each.

pub(crate) mod pipeline;

pub(crate) mod execution;

pub(crate) mod log;

mod log_pump;

mod metadata;

mod metrics;

pub(crate) mod join;

pub(crate) mod token;

pub(crate) mod data;

pub(crate) mod blob;

pub(crate) mod worker;

pub(crate) mod cluster;

pub(crate) mod peer;

pub(crate) mod worker_link;
