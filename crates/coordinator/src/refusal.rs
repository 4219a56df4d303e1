//! Why a request is refused: a reason from the contract's closed list, words for people, and everything dynamic as metadata.

use std::collections::BTreeMap;

use contract::api::ErrorReason;

/// A refused request. `net` turns it into a gRPC status with `ErrorInfo` and the detail that fits the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the contract's reasons.
    pub reason: ErrorReason,
    /// One or more sentences: what is wrong and what to do.
    pub message: String,
    /// Every bad field or place, all of them at once; empty unless the request itself is at fault.
    pub violations: Vec<Violation>,
    /// Everything dynamic in the message, for programs.
    pub metadata: BTreeMap<String, String>,
}

/// One bad field of a request, or one bad place in the file it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field (`parameters[2].value`), or `config:LINE:COLUMN`.
    pub field: String,
    /// What is wrong with it and what was expected.
    pub description: String,
}

impl Refusal {
    /// A refusal with a reason and a message and nothing else.
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            violations: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// Adds a value that programs may want to read.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a bad field or place.
    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.violations.push(Violation {
            field: field.into(),
            description: description.into(),
        });
        self
    }

    /// The request names a resource that does not exist.
    pub fn not_found(name: &str) -> Self {
        Self::new(
            ErrorReason::ResourceNotFound,
            format!("{name} does not exist"),
        )
        .with("resource", name)
    }

    /// A single bad field.
    pub fn invalid_field(field: &str, description: impl Into<String>) -> Self {
        let description = description.into();
        Self::new(ErrorReason::InvalidField, format!("{field}: {description}"))
            .violation(field, description)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason.as_str_name(), self.message)
    }
}

impl std::error::Error for Refusal {}
