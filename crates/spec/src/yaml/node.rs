//! The values of a document with their places.

use crate::span::Span;
use crate::value::Value;

/// A value of the document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it is written. Of what an alias brings in: where it was written first.
    pub span: Span,
    /// What it is.
    pub data: Data,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Anything but a list or a map.
    Scalar(Value),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping. No two keys are the same.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key; a scalar.
    pub key: Value,
    /// Where the key is written.
    pub key_span: Span,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The value under a key that is a string, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.data {
            Data::Map(entries) => entries
                .iter()
                .find(|entry| entry.key.as_str() == Some(key))
                .map(|e| &e.value),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(value) => value.as_str(),
            _ => None,
        }
    }

    /// The value without its places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(items) => Value::List(items.iter().map(Node::to_value).collect()),
            Data::Map(entries) => Value::Map(to_pairs(entries)),
        }
    }

    /// Keys and item numbers down to the innermost value that begins at a place, or whose key does.
    ///
    /// Without one, down to where the place lies. What an alias brings in is looked for where it is written.
    pub(crate) fn path_to(&self, place: Span) -> Vec<String> {
        let mut path = Vec::new();
        let mut node = self;
        loop {
            let around = |span: Span| span.start <= place.start && place.start <= span.end;
            let (part, inner) = match &node.data {
                Data::Scalar(_) => return path,
                Data::List(items) => match items.iter().position(|item| around(item.span)) {
                    Some(index) => (index.to_string(), &items[index]),
                    None => return path,
                },
                Data::Map(entries) => {
                    let at = |entry: &&Entry| entry.key_span == place || around(entry.value.span);
                    match entries.iter().find(at) {
                        Some(entry) => (crate::python::str(&entry.key), &entry.value),
                        None => return path,
                    }
                }
            };
            path.push(part);
            node = inner;
        }
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Scalar(value) => value.kind(),
            Data::List(_) => Value::List(Vec::new()).kind(),
            Data::Map(_) => Value::Map(Vec::new()).kind(),
        }
    }
}

/// The entries of a map without their places.
pub(crate) fn to_pairs(entries: &[Entry]) -> Vec<(Value, Value)> {
    entries
        .iter()
        .map(|entry| (entry.key.clone(), entry.value.to_value()))
        .collect()
}
