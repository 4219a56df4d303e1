//! I-08: nothing is stuck. When everything works again, everything comes to its end.

use super::{Checker, Fact, Moment, Outcome};

/// Looks only at the end.
#[derive(Debug)]
pub(super) struct Stuck;

impl Checker for Stuck {
    fn code(&self) -> &'static str {
        "I-08"
    }

    fn see(&mut self, _: &Moment<'_>, _: &Fact<'_>) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        match outcome.unfinished.as_slice() {
            [] => Ok(()),
            unfinished => Err(unfinished.join("; ")),
        }
    }
}
