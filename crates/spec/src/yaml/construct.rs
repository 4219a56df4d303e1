//! From the tree to values: scalars, merges, duplicate keys.

use std::collections::{BTreeMap, btree_map};
use std::rc::Rc;

use super::composer::{CORE, Content, Tag, Tree, limit};
use super::limits::{MAX_DEPTH, MAX_NODES};
use super::scalar::{self, Plain};
use super::{Data, Document, Entry, Fault, Node, Notice};
use crate::value::{Number, Value};

/// Makes values of a tree.
pub(super) fn construct(tree: &Tree) -> Result<Document, Vec<Fault>> {
    let mut constructor = Constructor {
        nodes: 0,
        depth: 0,
        faults: Vec::new(),
        notices: Vec::new(),
    };
    match constructor.node(tree) {
        Ok(root) if constructor.faults.is_empty() => Ok(Document {
            root,
            notices: constructor.notices,
        }),
        Ok(_) => Err(constructor.faults),
        Err(fault) => {
            constructor.faults.push(fault);
            Err(constructor.faults)
        }
    }
}

/// Most values that are reported to be wrong.
const MAX_FAULTS: usize = 1000;

struct Constructor {
    /// Values made so far; those that an alias brings in count each time.
    nodes: usize,
    depth: usize,
    faults: Vec<Fault>,
    notices: Vec<Notice>,
}

/// A key and its value before they are made.
struct Pair<'a> {
    key: &'a Tree,
    value: &'a Tree,
    /// Whether they come from a merged map.
    merged: bool,
}

/// What makes two keys the same: `1`, `1.0` and `true` are.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    None,
    Int(i128),
    Float(u64),
    Str(String),
    Date(String),
}

impl Identity {
    fn of(key: &Value) -> Self {
        match key {
            Value::Bool(bool) => Identity::Int(i128::from(*bool)),
            Value::Int(int) => Identity::Int(*int),
            Value::Float(float) => match Number::Float(*float).as_int() {
                Some(int) => Identity::Int(int),
                None => Identity::Float(float.to_bits()),
            },
            Value::Str(text) => Identity::Str(text.clone()),
            Value::Date(text) => Identity::Date(text.clone()),
            // Lists and maps are no keys.
            Value::None | Value::List(_) | Value::Map(_) => Identity::None,
        }
    }
}

/// `<<` without quotes.
fn is_merge(key: &Tree) -> bool {
    matches!(&key.content, Content::Scalar { text, plain } if text == "<<" && *plain && key.tag == Tag::Absent)
}

impl Constructor {
    /// Makes the value of one part. What is wrong with it alone is noted, and a null stands in.
    ///
    /// # Errors
    /// A limit, after which nothing more is looked at.
    fn node(&mut self, tree: &Tree) -> Result<Node, Fault> {
        self.spend(1, tree)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(limit(
                "lists and maps are nested deeper than",
                MAX_DEPTH,
                "levels, aliases included",
                tree.start,
            ));
        }
        let data = match &tree.content {
            Content::Scalar { text, plain } => Data::Scalar(self.scalar(tree, text, *plain)),
            Content::Sequence(items) => {
                self.refuse_other_tag(tree, "seq");
                Data::List(
                    items
                        .iter()
                        .map(|item| self.node(item))
                        .collect::<Result<_, _>>()?,
                )
            }
            Content::Mapping(entries) => {
                self.refuse_other_tag(tree, "map");
                Data::Map(self.map(tree, entries)?)
            }
        };
        self.depth -= 1;
        Ok(Node {
            span: tree.start.to(tree.end),
            data,
        })
    }

    fn spend(&mut self, nodes: usize, tree: &Tree) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(limit(
                "with its aliases written out the file has more than",
                MAX_NODES,
                "values",
                tree.start,
            ));
        }
        Ok(())
    }

    fn fault(&mut self, tree: &Tree, message: impl Into<String>, hint: Option<&str>) {
        if self.faults.len() < MAX_FAULTS {
            let fault = Fault::new(message, tree.start);
            let span = tree.start.to(tree.end);
            let hint = hint.map(str::to_owned);
            self.faults.push(Fault {
                span,
                hint,
                ..fault
            });
        }
    }

    fn refuse_other_tag(&mut self, tree: &Tree, expected: &str) {
        match &tree.tag {
            Tag::Named(tag) if tag.strip_prefix(CORE) != Some(expected) => {
                self.unknown_tag(tree, tag)
            }
            _ => {}
        }
    }

    fn unknown_tag(&mut self, tree: &Tree, tag: &str) {
        let hint = "take the tag out; a text that begins with `!` belongs in quotes";
        self.fault(
            tree,
            format!("the tag `{}` does not fit here", tag.replace(CORE, "!!")),
            Some(hint),
        );
    }

    fn scalar(&mut self, tree: &Tree, text: &str, plain: bool) -> Value {
        let value = match &tree.tag {
            Tag::Absent if !plain => Ok(Value::Str(text.to_owned())),
            Tag::Absent | Tag::NonSpecific => match scalar::resolve(text) {
                Ok(Plain::Value(value)) => Ok(value),
                Ok(Plain::Merge | Plain::Default) => {
                    Err(format!("`{text}` means something else in YAML"))
                }
                Err(refusal) => Err(refusal),
            },
            Tag::Named(tag) => match scalar::tagged(tag, text) {
                Some(value) => value,
                None => {
                    self.unknown_tag(tree, tag);
                    return Value::None;
                }
            },
        };
        value.unwrap_or_else(|refusal| {
            self.fault(
                tree,
                refusal,
                Some("if it is meant as text, put it in quotes"),
            );
            Value::None
        })
    }

    fn map(&mut self, tree: &Tree, entries: &[(Rc<Tree>, Rc<Tree>)]) -> Result<Vec<Entry>, Fault> {
        let mut pairs = Vec::new();
        self.flatten(tree, entries, 0, &mut pairs)?;
        let mut map: Vec<Entry> = Vec::with_capacity(pairs.len());
        let mut places = BTreeMap::new();
        for Pair {
            key: key_tree,
            value,
            merged,
        } in pairs
        {
            let Some(key) = self.key(key_tree)? else {
                continue;
            };
            let key_span = key_tree.start.to(key_tree.end);
            let value = self.node(value)?;
            match places.entry(Identity::of(&key)) {
                btree_map::Entry::Vacant(place) => {
                    place.insert((map.len(), merged));
                    map.push(Entry {
                        key,
                        key_span,
                        value,
                    });
                }
                // The later one counts, at the place of the earlier.
                btree_map::Entry::Occupied(mut place) => {
                    let (earlier, earlier_merged) = *place.get();
                    if !merged && !earlier_merged {
                        let line = map[earlier].key_span.line;
                        let message = format!(
                            "this key is on line {line} already; only the later one counts"
                        );
                        self.notices.push(Notice {
                            message,
                            span: key_span,
                        });
                    }
                    place.insert((earlier, merged));
                    map[earlier].key_span = key_span;
                    map[earlier].value = value;
                }
            }
        }
        Ok(map)
    }

    /// The pairs of a map: first those of the maps that it merges, then its own, so that its own count.
    fn flatten<'a>(
        &mut self,
        tree: &'a Tree,
        entries: &'a [(Rc<Tree>, Rc<Tree>)],
        depth: usize,
        pairs: &mut Vec<Pair<'a>>,
    ) -> Result<(), Fault> {
        if depth > 0 {
            self.spend(entries.len().max(1), tree)?;
        }
        if self.depth + depth > MAX_DEPTH {
            return Err(limit(
                "maps are merged deeper than",
                MAX_DEPTH,
                "levels",
                tree.start,
            ));
        }
        for (_, value) in entries.iter().filter(|(key, _)| is_merge(key)) {
            match &value.content {
                Content::Mapping(merged) => self.flatten(value, merged, depth + 1, pairs)?,
                Content::Sequence(items) => {
                    // The first map of the list counts most, so it comes last.
                    for item in items.iter().rev() {
                        match &item.content {
                            Content::Mapping(merged) => {
                                self.flatten(item, merged, depth + 1, pairs)?
                            }
                            _ => self.fault(item, "only maps can be merged with `<<`", None),
                        }
                    }
                }
                Content::Scalar { .. } => {
                    self.fault(value, "only maps can be merged with `<<`", None)
                }
            }
        }
        let merged = depth > 0;
        pairs.extend(
            entries
                .iter()
                .filter(|(key, _)| !is_merge(key))
                .map(|(key, value)| Pair { key, value, merged }),
        );
        Ok(())
    }

    fn key(&mut self, tree: &Tree) -> Result<Option<Value>, Fault> {
        if !matches!(tree.content, Content::Scalar { .. }) {
            self.fault(
                tree,
                "a list or a map cannot be a key",
                Some("text that contains brackets belongs in quotes"),
            );
            return Ok(None);
        }
        // As a key, `=` is text.
        if let (Content::Scalar { text, plain: true }, Tag::Absent) = (&tree.content, &tree.tag)
            && text == "="
        {
            return Ok(Some(Value::Str(text.clone())));
        }
        match self.node(tree)?.data {
            Data::Scalar(value) => Ok(Some(value)),
            Data::List(_) | Data::Map(_) => Ok(None),
        }
    }
}
