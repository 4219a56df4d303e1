//! I-12: nobody who is behind ends what runs: a program is killed as unwanted only when its attempt is no longer the one that counts.

use contract::api::State;
use ledger::{Ledger, Uuid};

use super::{Checker, Fact, Moment};

/// The newest ledger that was published.
#[derive(Debug, Default)]
pub(super) struct Restarts(Ledger);

impl Checker for Restarts {
    fn code(&self) -> &'static str {
        "I-12"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Published {
                ledger,
                is_newest: true,
                ..
            } => self.0 = (*ledger).clone(),
            Fact::Signalled {
                fence,
                is_wanted: false,
            } => {
                let id = Uuid::from_bytes(fence.execution_id);
                let Some(execution) = self.0.execution_by_id(&id) else {
                    return Ok(());
                };
                let is_live = execution.live_fence().map(crate::stage::fence) == Some(*fence);
                if is_live && execution.state() != State::Stopping {
                    return Err(format!(
                        "{fence} is killed as unwanted although #{} counts on it",
                        execution.number
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
