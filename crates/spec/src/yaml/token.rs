//! The words of YAML's grammar.

use super::cursor::Mark;

/// A word and its place.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: Mark,
    pub end: Mark,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    StreamEnd,
    Directive(Directive),
    /// `---`
    DocumentStart,
    /// `...`
    DocumentEnd,
    /// A column further right begins a block of `-` items.
    BlockSequenceStart,
    /// A column further right begins a block of keys.
    BlockMappingStart,
    /// The column went back to the left.
    BlockEnd,
    /// `[`
    FlowSequenceStart,
    /// `]`
    FlowSequenceEnd,
    /// `{`
    FlowMappingStart,
    /// `}`
    FlowMappingEnd,
    /// `-`
    BlockEntry,
    /// `,`
    FlowEntry,
    /// What follows is a key: `?`, or nothing at all.
    Key,
    /// `:`
    Value,
    Alias(String),
    Anchor(String),
    /// Handle (absent for `!<…>`) and suffix.
    Tag(Option<String>, String),
    /// Text, and whether it is plain: neither quoted nor a block.
    Scalar(String, bool),
}

/// A line that begins with `%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    /// Its major version.
    Yaml(String),
    /// Handle and prefix.
    Tag(String, String),
    /// Any other; it means nothing.
    Unknown,
}

impl Kind {
    /// The word, for people.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Kind::StreamEnd => "the end of the file",
            Kind::Directive(_) => "a `%` directive",
            Kind::DocumentStart => "`---`",
            Kind::DocumentEnd => "`...`",
            Kind::BlockSequenceStart => "a list",
            Kind::BlockMappingStart => "a map",
            Kind::BlockEnd => "the end of the block",
            Kind::FlowSequenceStart => "`[`",
            Kind::FlowSequenceEnd => "`]`",
            Kind::FlowMappingStart => "`{`",
            Kind::FlowMappingEnd => "`}`",
            Kind::BlockEntry => "a `-` item",
            Kind::FlowEntry => "`,`",
            Kind::Key => "a key",
            Kind::Value => "`:`",
            Kind::Alias(_) => "an alias",
            Kind::Anchor(_) => "an anchor",
            Kind::Tag(..) => "a tag",
            Kind::Scalar(..) => "a text",
        }
    }
}
