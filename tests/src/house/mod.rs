//! What the repository promises about itself, checked in `cargo test`. Each check is a function from a tree of files to
//! complaints, so that it can be shown on a small bad tree that it complains, before it is asked about the real one
//! (`tests/tests/house.rs`). A complaint says where, what, and what to do.

mod tree;
pub use tree::Tree;

/// Which crate may name which, and which libraries a mind may use.
pub mod arrows;
/// Pages that must exist, and links that must lead somewhere.
pub mod docs;
/// What the source of a mind must not contain.
pub mod minds;
/// Comments of the contract.
pub mod proto;
/// What every source file has, and what none has.
pub mod sources;

mod rust;

use std::fmt;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// The file, from the root of the repository.
    pub path: String,
    /// The line in it, from 1; 0 if it is about the whole file.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Complaint {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// The complaints, one a line.
pub fn listed(complaints: &[Complaint]) -> String {
    complaints
        .iter()
        .map(|complaint| format!("{complaint}\n"))
        .collect()
}

/// The crates that are minds: pure, deterministic, called.
pub const MINDS: [&str; 7] = [
    "spec",
    "ledger",
    "schedule",
    "feed",
    "blob",
    "coordinator",
    "worker",
];
