//! What happened, line by line as far as somebody reads it, and a hash of all of it: two runs are the same when their hashes are.

use std::fmt::{self, Write as _};

/// How much of a run is kept as text. The hash covers everything in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// What people would want to know: answers, states, programs, faults.
    News,
    /// Every message and every order as well.
    Everything,
}

/// The lines of a run.
#[derive(Debug)]
pub(crate) struct Transcript {
    detail: Detail,
    text: String,
    line: String,
    hash: u64,
}

impl Transcript {
    pub(crate) fn new(detail: Detail) -> Self {
        Self {
            detail,
            text: String::new(),
            line: String::new(),
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Adds a line, if lines like it are kept.
    pub(crate) fn add(&mut self, now_us: u64, detail: Detail, words: fmt::Arguments<'_>) {
        if detail > self.detail {
            return;
        }
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = write!(
            self.line,
            "{:4}.{:03} {words}",
            now_us / 1_000_000,
            now_us / 1_000 % 1_000
        );
        self.text.push_str(self.line.trim_end());
        self.text.push('\n');
    }

    /// Mixes into the hash when something happened and how chance stood by then: whatever differs between two runs shows there.
    pub(crate) fn mark(&mut self, now_us: u64, chance: u64) {
        let mixed = (self.hash ^ now_us).wrapping_mul(0x0100_0000_01b3);
        self.hash = (mixed ^ chance)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }

    /// The hash of all that happened so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines that were kept since the last call.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}
