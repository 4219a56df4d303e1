//! `inputs`: the files a step reads.

use crate::reader::{Reader, boolean, choice, is_text, short_text, text, texts, words};
use crate::span::{Span, Spanned};
use crate::value::Value;
use crate::yaml::{Data, Node};

/// One input of a step, or of an override.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// The whole item.
    pub span: Span,
    /// Name of the directory under the inputs; at most 64 characters.
    pub name: Spanned<String>,
    /// Where the files are. A single string in the file is a list of one here; `None`: there is no default.
    pub default: Option<Vec<Spanned<String>>>,
    /// Whether the file gives the default as one string rather than as a list. It matters only where an input is
    /// printed as it was written.
    pub default_is_text: bool,
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

impl Input {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Input {
        let mut fields = reader.fields(
            node,
            "an input",
            &[
                "name",
                "default",
                "optional",
                "description",
                "filename",
                "keep-directories",
                "download",
            ],
        );
        Input {
            span: fields.span(),
            name: fields.required("name", short_text(64)),
            default: fields.optional("default", texts),
            default_is_text: is_text(node.get("default")),
            optional: fields
                .optional("optional", boolean)
                .is_some_and(|optional| *optional),
            filename: fields.optional("filename", text),
            keep_directories: fields
                .optional("keep-directories", KeepDirectories::read)
                .unwrap_or_default(),
            download: fields
                .optional("download", choice(&Download::WORDS))
                .unwrap_or_default(),
            description: fields.optional("description", words),
        }
    }
}

impl KeepDirectories {
    fn read(reader: &mut Reader, node: &Node) -> KeepDirectories {
        const WORDS: [(&str, KeepDirectories); 3] = [
            ("none", KeepDirectories::None),
            ("full", KeepDirectories::Full),
            ("suffix", KeepDirectories::Suffix),
        ];
        match &node.data {
            Data::Scalar(Value::Bool(true)) => KeepDirectories::Full,
            Data::Scalar(Value::Bool(false)) => KeepDirectories::None,
            _ => choice(&WORDS)(reader, node).value,
        }
    }
}

impl Download {
    const WORDS: [(&str, Download); 2] = [
        ("always", Download::Always),
        ("on-demand", Download::OnDemand),
    ];
}
