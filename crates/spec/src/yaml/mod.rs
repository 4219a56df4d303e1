//! YAML 1.1 with places, read as the format's reference reads it.
//!
//! ```text
//! text --cursor--> characters --scanner--> tokens --composer--> tree with tags and anchors --construct--> values
//! ```
//!
//! The reference reads with PyYAML, whose YAML 1.1 differs from the YAML 1.2 of the parsers we could have taken, both
//! in what is a mistake (tabs, `?` in flow collections, control characters) and in where it points. Files that people
//! have must mean the same here, so the four stages are our own; `docs/decisions/2026-11-23-yaml-reader.md` has the numbers.
//!
//! Invariants: time and memory are bounded by [`limits`]; nothing recurses deeper than the nesting limit; a file is
//! one document.

mod node;

mod cursor;
mod token;

mod scalars;
mod scanner;
mod tags;

mod composer;

mod construct;
mod scalar;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;

pub(crate) use node::{Data, Entry, Node, to_pairs};

use crate::span::Span;
use cursor::Mark;

/// What a file may cost. The largest real file known has 40 KiB, 2,000 nodes and a depth of 9.
pub mod limits {
    /// Most bytes of a file.
    pub const MAX_BYTES: usize = 1 << 20;
    /// Deepest nesting of lists and maps, aliases and merges included.
    pub const MAX_DEPTH: usize = 64;
    /// Most values, each use of an alias counted anew.
    pub const MAX_NODES: usize = 100_000;
}

/// Why a text is not a document, in words for people.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where.
    pub span: Span,
    /// Whether the text is good, but costs more than the limits allow.
    pub is_limit: bool,
}

/// Something that is legal and yet most likely a mistake.
#[derive(Debug)]
pub(crate) struct Notice {
    /// What looks wrong.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// A document.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its only value.
    pub root: Node,
    /// What looks wrong in it.
    pub notices: Vec<Notice>,
}

/// Reads the one document of a text. An empty text is a null at its beginning.
///
/// # Errors
/// A syntax error is alone, as nothing after it can be trusted; errors of single values come all at once.
pub(crate) fn read(text: &str) -> Result<Document, Vec<Fault>> {
    let tree = composer::compose(text).map_err(|fault| vec![fault])?;
    construct::construct(&tree)
}

impl Fault {
    fn new(message: impl Into<String>, mark: Mark) -> Self {
        Fault {
            message: message.into(),
            hint: None,
            span: mark.to(mark),
            is_limit: false,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
