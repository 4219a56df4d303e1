//! `resources`: what a step or an endpoint needs of a machine.

use crate::diagnostic::Code;
use crate::reader::{Reader, integer, number};
use crate::span::{Span, Spanned};
use crate::value::Number;
use crate::yaml::{Data, Entry, Node};

/// Needs, each of them optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// The whole item.
    pub span: Span,
    /// Virtual CPUs; fractions are usual.
    pub cpu: Option<Bounds>,
    /// Megabytes of memory.
    pub memory: Option<Bounds>,
    /// Devices by name (`nvidia.com/gpu`), at least 1 each. An empty list differs from none: it clears the defaults.
    pub devices: Option<Vec<(Spanned<String>, Spanned<Number>)>>,
    /// Megabytes of disk; endpoints only.
    pub ephemeral_storage: Option<Bounds>,
}

/// A least and a most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The whole item.
    pub span: Span,
    /// What is asked for.
    pub min: Option<Spanned<Number>>,
    /// What may be used.
    pub max: Option<Spanned<Number>>,
}

impl Resources {
    pub(crate) fn read_of_step(reader: &mut Reader, node: &Node) -> Resources {
        Resources::read(reader, node, &["cpu", "memory", "devices"])
    }

    pub(crate) fn read_of_endpoint(reader: &mut Reader, node: &Node) -> Resources {
        Resources::read(
            reader,
            node,
            &["cpu", "memory", "devices", "ephemeral-storage"],
        )
    }

    fn read(reader: &mut Reader, node: &Node, known: &[&'static str]) -> Resources {
        let mut fields = reader.fields(node, "`resources`", known);
        Resources {
            span: fields.span(),
            cpu: fields.optional("cpu", Bounds::read),
            memory: fields.optional("memory", Bounds::read),
            devices: fields.optional("devices", devices),
            ephemeral_storage: fields.optional("ephemeral-storage", Bounds::read_whole),
        }
    }
}

impl Bounds {
    fn read(reader: &mut Reader, node: &Node) -> Bounds {
        let mut fields = reader.fields(node, "a resource", &["min", "max"]);
        Bounds {
            span: fields.span(),
            min: fields.optional("min", number),
            max: fields.optional("max", number),
        }
    }

    fn read_whole(reader: &mut Reader, node: &Node) -> Bounds {
        let whole = |reader: &mut Reader, node: &Node| integer(reader, node).map(Number::Int);
        let mut fields = reader.fields(node, "a resource", &["min", "max"]);
        Bounds {
            span: fields.span(),
            min: fields.optional("min", whole),
            max: fields.optional("max", whole),
        }
    }
}

fn devices(reader: &mut Reader, node: &Node) -> Vec<(Spanned<String>, Spanned<Number>)> {
    let Data::Map(entries) = &node.data else {
        reader.wrong_type(node, "a map of device names and counts");
        return Vec::new();
    };
    entries.iter().map(|entry| device(reader, entry)).collect()
}

fn device(reader: &mut Reader, entry: &Entry) -> (Spanned<String>, Spanned<Number>) {
    let name = entry.key.as_str().unwrap_or_else(|| {
        let hint = "put it in quotes".to_owned();
        reader.refuse(
            Code::WrongType,
            entry.key_span,
            "the name of a device is a string",
            Some(hint),
        );
        ""
    });
    let count = reader.at(name, |reader| {
        let count = number(reader, &entry.value);
        if !count.value.as_f64().is_nan()
            && count.value.as_f64() < 1.0
            && entry.value.to_value().as_number().is_some()
        {
            reader.refuse(
                Code::BadValue,
                entry.value.span,
                "at least one device is needed",
                None,
            );
        }
        count
    });
    (Spanned::new(name.to_owned(), entry.key_span), count)
}
