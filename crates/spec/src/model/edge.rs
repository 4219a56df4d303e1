//! `edges` of a pipeline: what one node hands to another.

use crate::diagnostic::Code;
use crate::reader::{Reader, free_map, text};
use crate::span::Spanned;
use crate::yaml::{Data, Node};
use std::collections::BTreeSet;
use std::fmt;

use crate::span::Span;
use crate::value::Value;

/// From one socket to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The whole item.
    pub span: Span,
    /// Where it comes from.
    pub source: Socket,
    /// Where it goes.
    pub target: Socket,
    /// Free settings, passed through.
    pub configuration: Vec<(Value, Value)>,
}

/// One end of an edge: `node.kind.key`, cut at the first two dots, so that keys may contain dots.
#[derive(Clone, Debug, PartialEq)]
pub struct Socket {
    /// The whole text.
    pub span: Span,
    /// Name of the node.
    pub node: String,
    /// What of the node. A plural in the file is the singular here.
    pub kind: SocketKind,
    /// Which one; of outputs it may be a pattern.
    pub key: String,
}

/// What of a node an edge begins or ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketKind {
    /// Order only; the key means nothing.
    Dependency,
    /// Identifiers of what was deployed.
    Deployment,
    /// A variable of the environment.
    EnvironmentVariable,
    /// A file of an endpoint.
    File,
    /// Files of an input.
    Input,
    /// The latest value of a metadata key.
    Metadata,
    /// Outputs whose path matches the key.
    Output,
    /// The value of a parameter.
    Parameter,
}

impl SocketKind {
    /// All of them, by name.
    pub const ALL: [SocketKind; 8] = [
        SocketKind::Dependency,
        SocketKind::Deployment,
        SocketKind::EnvironmentVariable,
        SocketKind::File,
        SocketKind::Input,
        SocketKind::Metadata,
        SocketKind::Output,
        SocketKind::Parameter,
    ];

    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            SocketKind::Dependency => "dependency",
            SocketKind::Deployment => "deployment",
            SocketKind::EnvironmentVariable => "environment-variable",
            SocketKind::File => "file",
            SocketKind::Input => "input",
            SocketKind::Metadata => "metadata",
            SocketKind::Output => "output",
            SocketKind::Parameter => "parameter",
        }
    }
}

impl fmt::Display for SocketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.kind, self.key)
    }
}

impl Edge {
    /// Reads an edge between nodes of those names. With no names, any will do. `None` when one end is not understood.
    pub(crate) fn read(
        reader: &mut Reader,
        node: &Node,
        names: Option<&BTreeSet<&str>>,
    ) -> Option<Edge> {
        let (source, target, configuration) = match &node.data {
            Data::List(items) => {
                let ends: Vec<_> = (0..)
                    .zip(items)
                    .map(|(index, item)| reader.at(index, |reader| text(reader, item)))
                    .collect();
                let Ok([source, target]) = <[Spanned<String>; 2]>::try_from(ends) else {
                    let message = format!(
                        "an edge goes from one end to one other, not between {}",
                        items.len()
                    );
                    let hint = "write `[node.output.name, node.input.name]`".to_owned();
                    reader.error(Code::BadValue, node.span, message, Some(hint));
                    return None;
                };
                (source, target, Vec::new())
            }
            Data::Map(_) => {
                let mut fields =
                    reader.fields(node, "an edge", &["source", "target", "configuration"]);
                let configuration = fields
                    .optional("configuration", free_map)
                    .unwrap_or_default();
                (
                    fields.required("source", text),
                    fields.required("target", text),
                    configuration,
                )
            }
            Data::Scalar(_) => {
                reader.wrong_type(
                    node,
                    "a list of two strings, or a map of `source` and `target`,",
                );
                return None;
            }
        };
        let source = Socket::read(reader, &source, "source", names);
        let target = Socket::read(reader, &target, "target", names);
        Some(Edge {
            span: node.span,
            source: source?,
            target: target?,
            configuration,
        })
    }
}

impl Socket {
    fn read(
        reader: &mut Reader,
        text: &Spanned<String>,
        end: &str,
        names: Option<&BTreeSet<&str>>,
    ) -> Option<Socket> {
        // What is no text has no place and has been reported already.
        if text.is_empty() && reader.is_broken() {
            return None;
        }
        let mut parts = text.splitn(3, '.');
        let (Some(node), Some(word), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            let message = format!(
                "the {end} `{}` of the edge does not have three parts",
                **text
            );
            let hint = "write `node.type.name`, for instance `train.output.model.pkl`".to_owned();
            reader.error(Code::BadValue, text.span, message, Some(hint));
            return None;
        };
        if let Some(names) = names
            && !names.contains(node)
        {
            let hint = reader.suggest(node, "its nodes are", names.iter().copied());
            let message = format!("the pipeline has no node `{node}`, the {end} of this edge");
            reader.error(Code::UnknownReference, text.span, message, hint);
        }
        let kind = SocketKind::read(reader, text, word, end)?;
        Some(Socket {
            span: text.span,
            node: node.to_owned(),
            kind,
            key: key.to_owned(),
        })
    }
}

impl SocketKind {
    fn read(
        reader: &mut Reader,
        text: &Spanned<String>,
        word: &str,
        end: &str,
    ) -> Option<SocketKind> {
        let named = |word: &str| SocketKind::ALL.into_iter().find(|kind| kind.word() == word);
        if let Some(kind) = named(word) {
            return Some(kind);
        }
        if matches!(word, "outputs" | "inputs" | "parameters") {
            let kind = named(word.trim_end_matches('s'))?;
            let message = format!("`{word}` is taken for `{kind}`");
            let hint = format!("other programs refuse the plural; write `{kind}`");
            reader.warn(Code::OtherSpelling, text.span, message, Some(hint));
            return Some(kind);
        }
        let hint = reader.suggest(word, "the types are", SocketKind::ALL.map(SocketKind::word));
        let message = format!("`{word}` is no type of an edge's {end}");
        reader.error(Code::BadValue, text.span, message, hint);
        None
    }
}
