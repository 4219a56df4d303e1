//! What ends a node: faults after which going on could lose or corrupt what was promised.

use std::fmt;

/// Why a node had to end.
#[derive(Debug, Clone)]
pub struct Fault {
    message: String,
    untrusted: bool,
}

impl Fault {
    /// A fault in words for the operator.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            untrusted: false,
        }
    }

    /// The other end is not who it should be: nothing was said to it.
    pub fn untrusted(message: impl Into<String>) -> Self {
        Self {
            untrusted: true,
            ..Self::new(message)
        }
    }

    /// Whether the other end is not who it should be.
    pub fn is_untrusted(&self) -> bool {
        self.untrusted
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<disk::DiskError> for Fault {
    fn from(error: disk::DiskError) -> Self {
        let advice = if error.is_full() {
            "; nothing that was acknowledged is lost: make room and start again"
        } else if error.is_fatal() {
            "; nothing that was acknowledged before is lost: check the disk and start again"
        } else {
            ""
        };
        Self::new(format!("{error}{advice}"))
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
