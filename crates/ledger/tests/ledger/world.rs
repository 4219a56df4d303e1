//! A ledger under test: everything it is given is kept, everything that must hold is checked after every entry.

use contract::ledger::{Entry, command::Kind};
use ledger::{Applied, Execution, Fence, Ledger, Outcome, Refused};

use crate::build::{self, PROJECT};

/// A ledger and its history.
pub struct World {
    pub ledger: Ledger,
    pub entries: Vec<(u64, Entry)>,
}

impl World {
    /// A founded cluster without anything else.
    pub fn new() -> Self {
        let mut world = Self {
            ledger: Ledger::new(),
            entries: Vec::new(),
        };
        world.apply(vec![build::found()]);
        world
    }

    /// Applies an entry, ten milliseconds after the last.
    pub fn apply(&mut self, kinds: Vec<Kind>) -> Applied {
        let index = self.ledger.revision() + 1;
        let entry = build::entry(index as i64 * 10, kinds);
        let before = self.content();
        let applied = self.ledger.apply(index, &entry);
        self.entries.push((index, entry));
        self.ledger.check_invariants().unwrap();
        assert_eq!(self.ledger.revision(), index);
        if applied
            .outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(_) | Ok(Outcome::Nothing)))
        {
            assert!(
                self.content() == before,
                "a refusal changed something: {:?}",
                applied.outcomes
            );
            assert_eq!(applied.subjects, [], "nothing changed, and subjects did");
        }
        applied
    }

    /// Applies one command.
    pub fn one(&mut self, kind: Kind) -> Result<Outcome, Refused> {
        self.apply(vec![kind]).outcomes.remove(0)
    }

    pub fn execution(&self, number: i64) -> &Execution {
        self.ledger.execution(PROJECT, number).unwrap()
    }

    pub fn fence(&self, number: i64) -> Fence {
        self.execution(number).live_fence().unwrap()
    }

    /// All but what every entry changes.
    fn content(&self) -> contract::ledger::Snapshot {
        let mut snapshot = self.ledger.snapshot();
        snapshot.applied_index = 0;
        snapshot.leader_time_ms = 0;
        snapshot.digest = Default::default();
        if self.entries.is_empty() {
            // The first entry founds the cluster, which no outcome tells.
            snapshot.cluster_id = "c".to_owned();
        }
        snapshot
    }

    /// Replays the history into a new ledger, and through a snapshot at `at`, and expects the same.
    pub fn check_replay(&self, at: usize) {
        let mut replayed = Ledger::new();
        for (position, (index, entry)) in self.entries.iter().enumerate() {
            if position == at {
                let restored = Ledger::restore(replayed.snapshot()).unwrap();
                assert_eq!(
                    restored.state_hash(),
                    replayed.state_hash(),
                    "a snapshot is not what it was made of"
                );
                replayed = restored;
            }
            replayed.apply(*index, entry);
            // Once more: what was applied is not applied again.
            let again = replayed.apply(*index, entry);
            assert!(
                again
                    .outcomes
                    .iter()
                    .all(|outcome| *outcome == Err(Refused::AlreadyApplied { index: *index }))
            );
        }
        assert_eq!(
            replayed.state_hash(),
            self.ledger.state_hash(),
            "a replay differs"
        );
        let changes = |ledger: &Ledger| -> Vec<_> {
            ledger
                .changed_since(0)
                .map(|(revision, subject)| (revision, subject.clone()))
                .collect()
        };
        assert_eq!(changes(&replayed), changes(&self.ledger));
    }
}
