//! From words to a tree: the grammar, tags and anchors.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Fault;
use super::cursor::{Mark, is_printable};
use super::limits::{MAX_DEPTH, MAX_NODES};
use super::scanner::Scanner;
use super::token::{Directive, Kind, Token};

/// What the handle `!!` stands for.
pub(super) const CORE: &str = "tag:yaml.org,2002:";

/// A part of the document before its scalars are understood. What several aliases name is one and the same.
pub(super) struct Tree {
    pub start: Mark,
    pub end: Mark,
    pub tag: Tag,
    pub content: Content,
}

/// What the author says a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Nothing. A plain scalar is looked at, a quoted one is text.
    Absent,
    /// `!`: a scalar is looked at even if it is quoted.
    NonSpecific,
    /// The whole name of a type.
    Named(String),
}

/// What a part consists of.
pub(super) enum Content {
    Scalar { text: String, plain: bool },
    Sequence(Vec<Rc<Tree>>),
    Mapping(Vec<(Rc<Tree>, Rc<Tree>)>),
}

/// Composes the one document of a text; of an empty text, a null.
pub(super) fn compose(text: &str) -> Result<Tree, Fault> {
    refuse_unprintable(text)?;
    let mut composer = Composer {
        scanner: Scanner::new(text),
        handles: default_handles(),
        anchors: BTreeMap::new(),
        depth: 0,
        nodes: 0,
    };
    composer.stream()
}

fn refuse_unprintable(text: &str) -> Result<(), Fault> {
    let Some((offset, character)) = text
        .char_indices()
        .find(|&(_, character)| !is_printable(character))
    else {
        return Ok(());
    };
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let mark = Mark {
        index: 0,
        offset,
        line: before.matches('\n').count(),
        column: before[line_start..].chars().count(),
    };
    Err(Fault::new(
        format!(
            "the character U+{:04X} cannot stand in a YAML file",
            u32::from(character)
        ),
        mark,
    )
    .hint("in double quotes it can be written as an escape"))
}

fn default_handles() -> BTreeMap<String, String> {
    [("!", "!"), ("!!", CORE)]
        .map(|(handle, prefix)| (handle.to_owned(), prefix.to_owned()))
        .into()
}

/// An anchor, once its node has begun.
enum Anchored {
    /// We are inside it: it has no value yet.
    Open,
    Whole(Rc<Tree>),
}

struct Composer {
    scanner: Scanner,
    /// What the tag handles of the document stand for.
    handles: BTreeMap<String, String>,
    anchors: BTreeMap<String, Anchored>,
    depth: usize,
    nodes: usize,
}

/// Where a node stands, which decides what it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In brackets.
    Flow,
    /// In a block.
    Block,
    /// The value of a key in a block: a list may begin at the column of the key.
    BlockValue,
}

impl Composer {
    fn at(&mut self, kinds: &[Kind]) -> Result<bool, Fault> {
        let next = &self.scanner.peek()?.kind;
        Ok(kinds.contains(next))
    }

    fn at_directive(&mut self) -> Result<bool, Fault> {
        Ok(matches!(self.scanner.peek()?.kind, Kind::Directive(_)))
    }

    fn stream(&mut self) -> Result<Tree, Fault> {
        let explicit = self.at_directive()? || self.at(&[Kind::DocumentStart, Kind::StreamEnd])?;
        let document = if explicit {
            if self.document_start()?.is_none() {
                return Ok(empty(Mark::default()));
            }
            if self.at_directive()?
                || self.at(&[Kind::DocumentStart, Kind::DocumentEnd, Kind::StreamEnd])?
            {
                Rc::new(empty(self.scanner.peek()?.start))
            } else {
                self.node(Place::Block)?
            }
        } else {
            self.node(Place::Block)?
        };
        if let Some(second) = self.document_start()? {
            return Err(Fault::new("a second document begins here", second)
                .hint("a valohai.yaml is one document; take the `---` out"));
        }
        self.anchors.clear();
        Rc::into_inner(document)
            .ok_or_else(|| Fault::new("the document refers to itself", Mark::default()))
    }

    /// Takes what comes before a document. `None`: there is no further one.
    fn document_start(&mut self) -> Result<Option<Mark>, Fault> {
        while self.at(&[Kind::DocumentEnd])? {
            self.scanner.next()?;
        }
        if self.at(&[Kind::StreamEnd])? {
            return Ok(None);
        }
        let start = self.scanner.peek()?.start;
        self.directives()?;
        let token = self.scanner.next()?;
        if token.kind != Kind::DocumentStart {
            return Err(Fault::new(
                format!("{} stands outside of the document", token.kind.describe()),
                token.start,
            )
            .hint("check the indentation of this line: it is further left than the first one"));
        }
        Ok(Some(start))
    }

    fn directives(&mut self) -> Result<(), Fault> {
        let mut versioned = false;
        let mut handles = BTreeMap::new();
        while self.at_directive()? {
            let token = self.scanner.next()?;
            match token.kind {
                Kind::Directive(Directive::Yaml(_)) if versioned => {
                    return Err(Fault::new("a second `%YAML` directive", token.start));
                }
                Kind::Directive(Directive::Yaml(major)) => {
                    if major.trim_start_matches('0') != "1" {
                        return Err(Fault::new(
                            "only version 1 of YAML is understood",
                            token.start,
                        ));
                    }
                    versioned = true;
                }
                Kind::Directive(Directive::Tag(handle, _)) if handles.contains_key(&handle) => {
                    return Err(Fault::new(
                        "a second `%TAG` directive for one handle",
                        token.start,
                    ));
                }
                Kind::Directive(Directive::Tag(handle, prefix)) => {
                    handles.insert(handle, prefix);
                }
                _ => {}
            }
        }
        self.handles = default_handles();
        self.handles.extend(handles);
        Ok(())
    }

    /// Composes one value, whatever it is.
    fn node(&mut self, place: Place) -> Result<Rc<Tree>, Fault> {
        if let Kind::Alias(name) = &self.scanner.peek()?.kind {
            let name = name.clone();
            let token = self.scanner.next()?;
            return self.alias(&name, token.start);
        }
        let (anchor, tag, start) = self.properties()?;
        self.nodes += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(limit(
                "lists and maps are nested deeper than",
                MAX_DEPTH,
                "levels",
                start,
            ));
        }
        if self.nodes > MAX_NODES {
            return Err(limit("the file has more than", MAX_NODES, "values", start));
        }
        let bare = anchor.is_none() && tag == Tag::Absent;
        if let Some(anchor) = &anchor {
            self.open_anchor(anchor, start)?;
        }
        let tree = Rc::new(self.content(place, tag, start, bare)?);
        self.depth -= 1;
        if let Some(anchor) = anchor {
            self.anchors
                .insert(anchor, Anchored::Whole(Rc::clone(&tree)));
        }
        Ok(tree)
    }

    fn alias(&mut self, name: &str, mark: Mark) -> Result<Rc<Tree>, Fault> {
        match self.anchors.get(name) {
            Some(Anchored::Whole(tree)) => Ok(Rc::clone(tree)),
            Some(Anchored::Open) => Err(Fault::new(
                format!("`*{name}` stands inside of what it names"),
                mark,
            )),
            None => Err(Fault::new(
                format!("there is no anchor `&{name}` before this alias"),
                mark,
            )
            .hint("a value that begins with `*` belongs in quotes")),
        }
    }

    fn open_anchor(&mut self, anchor: &str, start: Mark) -> Result<(), Fault> {
        if self
            .anchors
            .insert(anchor.to_owned(), Anchored::Open)
            .is_some()
        {
            return Err(Fault::new(
                format!("there is an anchor `&{anchor}` already"),
                start,
            ));
        }
        Ok(())
    }

    /// Takes anchor and tag, in either order.
    fn properties(&mut self) -> Result<(Option<String>, Tag, Mark), Fault> {
        let start = self.scanner.peek()?.start;
        let mut anchor = None;
        let mut tag = Tag::Absent;
        let mut tag_first = false;
        loop {
            match &self.scanner.peek()?.kind {
                Kind::Anchor(name) if anchor.is_none() => {
                    tag_first = tag != Tag::Absent;
                    anchor = Some(name.clone());
                }
                Kind::Tag(handle, suffix) if tag == Tag::Absent && !tag_first => {
                    let (handle, suffix) = (handle.clone(), suffix.clone());
                    let mark = self.scanner.peek()?.start;
                    tag = self.resolve_tag(handle, suffix, mark)?;
                }
                _ => return Ok((anchor, tag, start)),
            }
            self.scanner.next()?;
        }
    }

    fn resolve_tag(
        &self,
        handle: Option<String>,
        suffix: String,
        mark: Mark,
    ) -> Result<Tag, Fault> {
        match handle {
            None if suffix == "!" => Ok(Tag::NonSpecific),
            None => Ok(Tag::Named(suffix)),
            Some(handle) => match self.handles.get(&handle) {
                Some(prefix) => Ok(Tag::Named(format!("{prefix}{suffix}"))),
                None => Err(
                    Fault::new(format!("the tag handle `{handle}` is not defined"), mark)
                        .hint("a value that begins with `!` belongs in quotes"),
                ),
            },
        }
    }

    fn content(&mut self, place: Place, tag: Tag, start: Mark, bare: bool) -> Result<Tree, Fault> {
        let token = self.scanner.peek()?;
        let block = place != Place::Flow;
        let (content, end) = match &token.kind {
            Kind::BlockEntry if place == Place::BlockValue => {
                let end = token.end;
                self.indentless_sequence(end)?
            }
            Kind::Scalar(..) => self.scalar()?,
            Kind::FlowSequenceStart => self.flow_sequence()?,
            Kind::FlowMappingStart => self.flow_mapping()?,
            Kind::BlockSequenceStart if block => self.block_sequence()?,
            Kind::BlockMappingStart if block => self.block_mapping()?,
            _ if !bare => (
                Content::Scalar {
                    text: String::new(),
                    plain: true,
                },
                start,
            ),
            other => {
                return Err(Fault::new(
                    format!("a value is expected here, not {}", other.describe()),
                    token.start,
                ));
            }
        };
        Ok(Tree {
            start,
            end,
            tag,
            content,
        })
    }

    fn scalar(&mut self) -> Result<(Content, Mark), Fault> {
        let token = self.scanner.next()?;
        let (text, plain) = match token.kind {
            Kind::Scalar(text, plain) => (text, plain),
            _ => (String::new(), true),
        };
        Ok((Content::Scalar { text, plain }, token.end))
    }

    fn block_sequence(&mut self) -> Result<(Content, Mark), Fault> {
        let opening = self.scanner.next()?;
        let mut end = opening.end;
        let mut items = Vec::new();
        while self.at(&[Kind::BlockEntry])? {
            let dash = self.scanner.next()?;
            let item = if self.at(&[Kind::BlockEntry, Kind::BlockEnd])? {
                Rc::new(empty(dash.end))
            } else {
                self.node(Place::Block)?
            };
            end = item.end;
            items.push(item);
        }
        self.block_end(&opening, "list", "a `-` item")?;
        Ok((Content::Sequence(items), end))
    }

    fn indentless_sequence(&mut self, mut end: Mark) -> Result<(Content, Mark), Fault> {
        let mut items = Vec::new();
        while self.at(&[Kind::BlockEntry])? {
            let dash = self.scanner.next()?;
            let item = if self.at(&[Kind::BlockEntry, Kind::Key, Kind::Value, Kind::BlockEnd])? {
                Rc::new(empty(dash.end))
            } else {
                self.node(Place::Block)?
            };
            end = item.end;
            items.push(item);
        }
        Ok((Content::Sequence(items), end))
    }

    fn block_mapping(&mut self) -> Result<(Content, Mark), Fault> {
        let opening = self.scanner.next()?;
        let mut end = opening.end;
        let mut entries = Vec::new();
        while self.at(&[Kind::Key])? {
            let indicator = self.scanner.next()?;
            let stops = [Kind::Key, Kind::Value, Kind::BlockEnd];
            let key = if self.at(&stops)? {
                Rc::new(empty(indicator.end))
            } else {
                self.node(Place::BlockValue)?
            };
            let value = if self.at(&[Kind::Value])? {
                let colon = self.scanner.next()?;
                if self.at(&stops)? {
                    Rc::new(empty(colon.end))
                } else {
                    self.node(Place::BlockValue)?
                }
            } else {
                Rc::new(empty(self.scanner.peek()?.start))
            };
            end = value.end;
            entries.push((key, value));
        }
        self.block_end(&opening, "map", "a key")?;
        Ok((Content::Mapping(entries), end))
    }

    fn block_end(&mut self, opening: &Token, what: &str, expected: &str) -> Result<(), Fault> {
        let token = self.scanner.peek()?;
        if token.kind != Kind::BlockEnd {
            let hint = format!(
                "the {what} that begins on line {}, column {} goes on with {expected} at that column, or ends",
                opening.start.line + 1,
                opening.start.column + 1
            );
            return Err(Fault::new(
                format!("{} cannot stand here", token.kind.describe()),
                token.start,
            )
            .hint(hint));
        }
        self.scanner.next()?;
        Ok(())
    }

    fn flow_sequence(&mut self) -> Result<(Content, Mark), Fault> {
        let opening = self.scanner.next()?;
        let mut items = Vec::new();
        while !self.at(&[Kind::FlowSequenceEnd])? {
            if !items.is_empty() {
                self.comma(&opening, "`]`")?;
            }
            if self.at(&[Kind::Key])? {
                items.push(self.flow_pair()?);
            } else if self.at(&[Kind::FlowSequenceEnd])? {
                break;
            } else {
                items.push(self.node(Place::Flow)?);
            }
        }
        let closing = self.scanner.next()?;
        Ok((Content::Sequence(items), closing.end))
    }

    /// A map of one entry without its braces: `[a: b]`.
    fn flow_pair(&mut self) -> Result<Rc<Tree>, Fault> {
        let indicator = self.scanner.next()?;
        let key = if self.at(&[Kind::Value, Kind::FlowEntry, Kind::FlowSequenceEnd])? {
            Rc::new(empty(indicator.end))
        } else {
            self.node(Place::Flow)?
        };
        let value = self.flow_value(&[Kind::FlowEntry, Kind::FlowSequenceEnd])?;
        Ok(Rc::new(Tree {
            start: indicator.start,
            end: value.end,
            tag: Tag::Absent,
            content: Content::Mapping(vec![(key, value)]),
        }))
    }

    fn flow_mapping(&mut self) -> Result<(Content, Mark), Fault> {
        let opening = self.scanner.next()?;
        let mut entries = Vec::new();
        while !self.at(&[Kind::FlowMappingEnd])? {
            if !entries.is_empty() {
                self.comma(&opening, "`}`")?;
            }
            if self.at(&[Kind::Key])? {
                let indicator = self.scanner.next()?;
                let key = if self.at(&[Kind::Value, Kind::FlowEntry, Kind::FlowMappingEnd])? {
                    Rc::new(empty(indicator.end))
                } else {
                    self.node(Place::Flow)?
                };
                entries.push((
                    key,
                    self.flow_value(&[Kind::FlowEntry, Kind::FlowMappingEnd])?,
                ));
            } else if self.at(&[Kind::FlowMappingEnd])? {
                break;
            } else {
                let key = self.node(Place::Flow)?;
                entries.push((key, Rc::new(empty(self.scanner.peek()?.start))));
            }
        }
        let closing = self.scanner.next()?;
        Ok((Content::Mapping(entries), closing.end))
    }

    /// The value after a key in brackets; nothing at all is a null.
    fn flow_value(&mut self, stops: &[Kind]) -> Result<Rc<Tree>, Fault> {
        if !self.at(&[Kind::Value])? {
            return Ok(Rc::new(empty(self.scanner.peek()?.start)));
        }
        let colon = self.scanner.next()?;
        if self.at(stops)? {
            Ok(Rc::new(empty(colon.end)))
        } else {
            self.node(Place::Flow)
        }
    }

    /// Takes the comma between two items in brackets.
    fn comma(&mut self, opening: &Token, closing: &str) -> Result<(), Fault> {
        let token = self.scanner.peek()?;
        if token.kind != Kind::FlowEntry {
            let hint = format!(
                "what opens on line {}, column {} is not closed",
                opening.start.line + 1,
                opening.start.column + 1
            );
            return Err(Fault::new(
                format!(
                    "`,` or {closing} is expected here, not {}",
                    token.kind.describe()
                ),
                token.start,
            )
            .hint(hint));
        }
        self.scanner.next()?;
        Ok(())
    }
}

fn empty(mark: Mark) -> Tree {
    Tree {
        start: mark,
        end: mark,
        tag: Tag::Absent,
        content: Content::Scalar {
            text: String::new(),
            plain: true,
        },
    }
}

pub(super) fn limit(what: &str, limit: usize, unit: &str, mark: Mark) -> Fault {
    let fault = Fault::new(format!("{what} {limit} {unit}, which is the limit"), mark);
    Fault {
        is_limit: true,
        ..fault
    }
}
