//! What holds in every ledger: its own check of itself, after every change.

use super::{Checker, Fact, Moment};

/// Remembers nothing.
#[derive(Debug)]
pub(super) struct Sound;

impl Checker for Sound {
    fn code(&self) -> &'static str {
        "ledger"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Published {
                ledger,
                is_newest: true,
                ..
            } => ledger.check_invariants(),
            _ => Ok(()),
        }
    }
}
