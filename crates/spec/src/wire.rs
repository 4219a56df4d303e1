//! Plans, templates and values as messages of the contract, and back.
//!
//! What a plan says is written to the log once, so that no later version reads the file differently. Places in the file
//! and words for people are not written; what comes back says the same otherwise.

mod plan;

mod template;

mod value;

use thiserror::Error;

/// A message that says nothing this version understands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A field that must be there is not.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A word or a number that is not known.
    #[error("the field `{field}` has an unknown value `{value}`")]
    Unknown {
        /// Where.
        field: &'static str,
        /// What.
        value: String,
    },
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
