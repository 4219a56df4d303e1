//! I-13: a member votes for one candidate in a term, whatever became of its disk in between.

use std::collections::BTreeMap;

use super::{Checker, Fact, Moment};

/// For whom each member voted, by member and term.
#[derive(Debug, Default)]
pub(super) struct Votes(BTreeMap<(u64, u64), u64>);

impl Checker for Votes {
    fn code(&self) -> &'static str {
        "I-13"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Voted {
            member,
            term,
            candidate,
        } = fact
        else {
            return Ok(());
        };
        let first = self.0.entry((*member, *term)).or_insert(*candidate);
        if first == candidate {
            return Ok(());
        }
        Err(format!(
            "member {member} votes for {candidate} in term {term}, and has voted for {first}"
        ))
    }
}
