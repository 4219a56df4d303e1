//! `inputs`: the files a step reads.

use crate::span::{Span, Spanned};

/// One input of a step, or of an override.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// The whole item.
    pub span: Span,
    /// Name of the directory under the inputs; at most 64 characters.
    pub name: Spanned<String>,
    /// Where the files are. A single string in the file is a list of one here; `None`: there is no default.
    pub default: Option<Vec<Spanned<String>>>,
    /// Whether the execution may start without files.
    pub optional: bool,
    /// Name for the file, if there is exactly one.
    pub filename: Option<Spanned<String>>,
    /// What is kept of the directories that the files come from.
    pub keep_directories: KeepDirectories,
    /// When the files are fetched.
    pub download: Spanned<Download>,
    /// For people.
    pub description: Option<String>,
}

/// What is kept of the path of an input file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepDirectories {
    /// Only its name (`none`, `false`).
    #[default]
    None,
    /// The path from the root of the store (`full`, `true`).
    Full,
    /// The path after what stands before the first wildcard.
    Suffix,
}

/// When the files of an input are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Download {
    /// Before the step starts.
    #[default]
    Always,
    /// When the program asks.
    OnDemand,
}
