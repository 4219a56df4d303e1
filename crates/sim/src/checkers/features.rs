//! I-12: no coordinator goes on with a ledger that needs more than its program knows, and the feature level never falls.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, Fact, Moment, Outcome};
use crate::event::CoordinatorId;

/// The newest level, and what each coordinator's program knows. Nothing is known where no seed upgrades.
#[derive(Debug, Default)]
pub(super) struct Features {
    level: u32,
    knows: BTreeMap<CoordinatorId, u32>,
    /// The most that each coordinator has known since it became the member that it is.
    knew: BTreeMap<CoordinatorId, u32>,
    /// Those that have published since then. The level may rise while somebody joins whom the leader does not know yet.
    take_part: BTreeSet<CoordinatorId>,
}

impl Checker for Features {
    fn code(&self) -> &'static str {
        "I-12"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Installed { coordinator, level } => {
                self.knows.insert(*coordinator, *level);
                let knew = self.knew.entry(*coordinator).or_default();
                *knew = (*knew).max(*level);
            }
            Fact::DiskLost { coordinator } => {
                self.knew.remove(coordinator);
                self.take_part.remove(coordinator);
            }
            Fact::Published {
                coordinator,
                ledger,
                is_newest,
                ..
            } => {
                self.take_part.insert(*coordinator);
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
                // A member that was never started has said nothing; one that was put back afterwards had said that it knows.
                let members = moment.members.iter().filter(|(member, _)| {
                    let known = ledger.member(**member);
                    known.is_some_and(|known| !known.is_removed())
                });
                let members = members.filter(|(_, id)| self.take_part.contains(id));
                let mut knew = members.filter_map(|(_, id)| self.knew.get(id));
                if level > self.level && knew.any(|knew| *knew < level) {
                    return Err(format!("the level rises to {level} before all know it"));
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
