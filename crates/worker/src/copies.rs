//! Copies that a worker keeps for others: blobs that would go with a worker that leaves.
//!
//! The coordinator says which ones, all of them, as often as it likes; each is fetched once, and what became of it is told for as long as it is asked
//! for. Who else is asked when one cannot be had, and when, is not decided here.

use std::collections::{BTreeMap, BTreeSet};

use blob::Digest;
use contract::link::{CopyReport, WantedCopy};

use crate::output::Output;

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Copy {
    Fetching,
    Kept,
    /// In words for people.
    Failed(String),
}

/// What is asked for, and how far it is.
#[derive(Debug, Default)]
pub(crate) struct Copies(BTreeMap<Digest, Copy>);

impl Copies {
    /// Takes in what should be here; whether that is anything new. What is not asked for any more is not told of any more.
    pub(crate) fn desired(&mut self, wanted: Vec<WantedCopy>, out: &mut Vec<Output>) -> bool {
        let mut asked = BTreeSet::new();
        let before = self.0.len();
        for copy in wanted {
            let Ok(digest) = <[u8; 32]>::try_from(&*copy.digest).map(Digest) else {
                continue;
            };
            asked.insert(digest);
            if self.0.contains_key(&digest) {
                continue;
            }
            self.0.insert(digest, Copy::Fetching);
            out.push(Output::KeepCopy {
                digest,
                size_bytes: copy.size_bytes,
                locations: copy.locations,
            });
        }
        let is_new = self.0.len() != before;
        self.0.retain(|digest, _| asked.contains(digest));
        is_new || self.0.len() != before
    }

    /// A copy is kept, or could not be had; whether somebody waits to hear that.
    pub(crate) fn came(&mut self, digest: &Digest, outcome: Result<(), String>) -> bool {
        let Some(copy) = self.0.get_mut(digest) else {
            return false;
        };
        *copy = match outcome {
            Ok(()) => Copy::Kept,
            Err(problem) => Copy::Failed(problem),
        };
        true
    }

    pub(crate) fn report(&self) -> Vec<CopyReport> {
        let report = |(digest, copy): (&Digest, &Copy)| CopyReport {
            digest: digest.as_bytes().to_vec().into(),
            kept: *copy == Copy::Kept,
            problem: match copy {
                Copy::Failed(problem) => problem.clone(),
                Copy::Fetching | Copy::Kept => String::new(),
            },
        };
        self.0.iter().map(report).collect()
    }
}
