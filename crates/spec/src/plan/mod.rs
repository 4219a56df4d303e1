//! From a blueprint to what is run.

mod merge;

mod payload;

pub use payload::reference_json;
