//! I-07: a program that its worker is told to have no longer is gone within five seconds.

use std::collections::{BTreeMap, BTreeSet};

use contract::link::SynchronizeResponse;
use worker::Fence;

use super::{Checker, Fact, Moment, Outcome};
use crate::event::MachineId;
use crate::swarm::SECOND;

/// How long it may take.
const WITHIN_US: u64 = 5 * SECOND;

/// What runs where, and until when.
#[derive(Debug, Default)]
pub(super) struct Stale {
    running: BTreeMap<Fence, MachineId>,
    /// What each daemon was told last, and by which generation.
    told: BTreeMap<MachineId, (u64, BTreeSet<Fence>)>,
    deadlines: BTreeMap<Fence, u64>,
}

impl Checker for Stale {
    fn code(&self) -> &'static str {
        "I-07"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Some((fence, _)) = self
            .deadlines
            .iter()
            .find(|(_, deadline)| **deadline < moment.now_us)
        {
            return Err(format!(
                "{fence} runs on although its worker was told to drop it"
            ));
        }
        match fact {
            Fact::Told { machine, desired } => {
                let newest = self
                    .told
                    .get(machine)
                    .map_or(0, |(generation, _)| *generation);
                if desired.generation >= newest {
                    self.told
                        .insert(*machine, (desired.generation, fences(desired)));
                }
            }
            Fact::Started { machine, fence, .. } => drop(self.running.insert(*fence, *machine)),
            Fact::Ended { fence, .. } => {
                self.running.remove(fence);
                self.deadlines.remove(fence);
            }
            // A daemon that is not there can stop nothing, and has forgotten what it was told.
            Fact::DaemonStarted { machine } | Fact::DaemonEnded { machine } => {
                self.told.remove(machine);
                self.deadlines
                    .retain(|fence, _| self.running.get(fence) != Some(machine));
            }
            _ => return Ok(()),
        }
        for (fence, machine) in &self.running {
            let unwanted = self
                .told
                .get(machine)
                .is_some_and(|(_, wanted)| !wanted.contains(fence));
            if unwanted {
                self.deadlines
                    .entry(*fence)
                    .or_insert(moment.now_us + WITHIN_US);
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &Outcome<'_>) -> Result<(), String> {
        match self.running.first_key_value() {
            Some((fence, _)) => Err(format!("{fence} still runs when everything has ended")),
            None => Ok(()),
        }
    }
}

fn fences(desired: &SynchronizeResponse) -> BTreeSet<Fence> {
    let fences = desired
        .attempts
        .iter()
        .filter_map(|attempt| attempt.fence.as_ref());
    fences
        .filter_map(|fence| Fence::try_from(fence).ok())
        .collect()
}
