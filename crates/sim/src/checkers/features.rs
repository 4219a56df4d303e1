//! I-12: no coordinator goes on with a ledger that needs more than its program knows, and the feature level never falls.

use std::collections::BTreeMap;

use super::{Checker, Fact, Moment, Outcome};
use crate::event::CoordinatorId;

/// The newest level, and what each coordinator's program knows. Nothing is known where no seed upgrades.
#[derive(Debug, Default)]
pub(super) struct Features {
    level: u32,
    knows: BTreeMap<CoordinatorId, u32>,
}

impl Checker for Features {
    fn code(&self) -> &'static str {
        "I-12"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Installed { coordinator, level } => {
                self.knows.insert(*coordinator, *level);
            }
            Fact::Published {
                coordinator,
                ledger,
                is_newest,
                ..
            } => {
                let level = ledger.feature_level();
                let knows = self.knows.get(coordinator).copied().unwrap_or_default();
                if level > knows {
                    return Err(format!(
                        "coordinator {coordinator} knows level {knows} and goes on at {level}"
                    ));
                }
                if *is_newest && level < self.level {
                    return Err(format!("the level fell from {} to {level}", self.level));
                }
                self.level = self.level.max(level);
            }
            _ => {}
        }
        Ok(())
    }

    /// The upgrade is finished by then: all know the same.
    fn end(&mut self, outcome: &Outcome<'_>) -> Result<(), String> {
        let level = outcome.ledger.feature_level();
        match self.knows.values().min() {
            Some(least) if level < *least => Err(format!(
                "all know level {least}, and the cluster stays at {level}"
            )),
            _ => Ok(()),
        }
    }
}
