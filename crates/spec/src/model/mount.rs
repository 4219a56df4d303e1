//! `mounts`: directories of the host inside a step.

use crate::diagnostic::Code;
use crate::reader::{Reader, boolean, free_map, text};
use crate::span::{Span, Spanned};
use crate::value::Value;
use crate::yaml::{Data, Node};

/// One mount.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mount {
    /// The whole item.
    pub span: Span,
    /// What is mounted.
    pub source: Spanned<String>,
    /// Where it appears; absolute.
    pub destination: Spanned<String>,
    /// Whether the step may write there.
    pub readonly: bool,
    /// Kind of file system, in lower case (`nfs`).
    pub kind: Option<Spanned<String>>,
    /// Free options of that kind; null ones are dropped.
    pub options: Vec<(Value, Value)>,
}

impl Mount {
    /// `source:destination`, or a map.
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Mount {
        match &node.data {
            Data::Scalar(Value::Str(short)) => Mount::read_short(reader, node, short),
            Data::Map(_) => Mount::read_fields(reader, node),
            _ => {
                reader.wrong_type(node, "a string `source:destination` or a map");
                Mount::default()
            }
        }
    }

    fn read_short(reader: &mut Reader, node: &Node, short: &str) -> Mount {
        if !is_pair_of_paths(short) {
            let hint = "write `/on/the/host:/in/the/step`".to_owned();
            reader.refuse(
                Code::BadValue,
                node.span,
                "a mount is two absolute paths with a colon",
                Some(hint),
            );
        }
        // The first colon counts, whatever follows.
        let (source, destination) = short.split_once(':').unwrap_or((short, ""));
        if let Some((before, mode)) = destination.rsplit_once(':')
            && matches!(mode, "ro" | "rw" | "readonly")
        {
            let message = format!("this mounts at `{destination}`: no mode follows here");
            let readonly = mode != "rw";
            let hint = format!(
                "write `{{source: {source}, destination: {before}, readonly: {readonly}}}`"
            );
            reader.warn(Code::NoEffect, node.span, message, Some(hint));
        }
        Mount {
            span: node.span,
            source: Spanned::new(source.to_owned(), node.span),
            destination: Spanned::new(destination.to_owned(), node.span),
            ..Mount::default()
        }
    }

    fn read_fields(reader: &mut Reader, node: &Node) -> Mount {
        let known = ["source", "destination", "readonly", "type", "options"];
        let mut fields = reader.fields(node, "a mount", &known);
        let mut options = fields.optional("options", free_map).unwrap_or_default();
        options.retain(|(_, value)| *value != Value::None);
        Mount {
            span: fields.span(),
            source: fields.required("source", text),
            destination: fields.required("destination", absolute),
            readonly: fields
                .optional("readonly", boolean)
                .is_some_and(|readonly| *readonly),
            kind: fields
                .optional("type", text)
                .filter(|kind| !kind.is_empty())
                .map(|kind| kind.map(|kind| kind.to_lowercase())),
            options,
        }
    }
}

fn absolute(reader: &mut Reader, node: &Node) -> Spanned<String> {
    let path = text(reader, node);
    if node.as_str().is_some() && !is_absolute(&path) {
        reader.refuse(
            Code::BadValue,
            node.span,
            "an absolute path is expected here",
            None,
        );
    }
    path
}

/// One line that begins with a slash and goes on. A line break at its end is as good as none.
fn is_absolute(path: &str) -> bool {
    let line = path.strip_suffix('\n').unwrap_or(path);
    line.len() > 1 && line.starts_with('/') && !line.contains('\n')
}

/// `/a:/b`, where the colon may be any one that is followed by a slash.
fn is_pair_of_paths(pair: &str) -> bool {
    let line = pair.strip_suffix('\n').unwrap_or(pair);
    let splits = line
        .match_indices(":/")
        .any(|(place, _)| place > 1 && place + 2 < line.len());
    is_absolute(pair) && splits
}
