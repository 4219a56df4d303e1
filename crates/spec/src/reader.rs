//! Reading values into the model: every field says what it takes, and what does not fit is reported with its place.
//!
//! Reading never stops at a mistake: a stand-in takes the place of what was refused, so that all mistakes come at once.
//! A model with a stand-in in it is never handed out (see [`Reader::is_broken`]).

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::nearest::suggest;
use crate::span::{Span, Spanned};
use crate::value::{Number, Value};
use crate::yaml::{Data, Entry, Node, to_pairs};

/// How strictly an item is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As the format has it today.
    #[default]
    Strict,
    /// Only its form is checked; what it says does not count.
    Ignored,
    /// As the format had it when pipelines were called blueprints.
    Legacy,
}

/// Collects what is wrong, and knows where in the document we are.
#[derive(Default)]
pub(crate) struct Reader {
    diagnostics: Vec<Diagnostic>,
    /// Keys and item numbers down to the value that is read.
    path: Vec<String>,
    broken: bool,
    mode: Mode,
    /// How many names were suggested.
    suggestions: usize,
    /// How many there are of each severity, reported or not.
    counts: BTreeMap<Severity, usize>,
}

/// Most errors, and most warnings, that are reported of one file. Of the others there is one line that counts them.
const MAX_REPORTED: usize = 1000;

impl Reader {
    /// Whether something was refused that the model cannot do without: names in it may be missing.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Reads an item more or less strictly.
    pub(crate) fn in_mode<T>(&mut self, mode: Mode, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.mode, mode);
        let value = read(self);
        self.mode = outer;
        value
    }

    /// Whether the item is read as it was when pipelines were called blueprints.
    pub(crate) fn is_legacy(&self) -> bool {
        self.mode == Mode::Legacy
    }

    /// Everything that was reported.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        let last = self
            .diagnostics
            .last()
            .map(|diagnostic| diagnostic.span)
            .unwrap_or_default();
        for (severity, count) in self.counts {
            if count > MAX_REPORTED {
                let message = format!(
                    "there are {} more {}s",
                    count - MAX_REPORTED,
                    severity.word()
                );
                let more = Diagnostic::new(severity, Code::Unreadable, message, None, last);
                self.diagnostics.push(more);
            }
        }
        self.diagnostics
    }

    /// Reports what leaves a stand-in in the model.
    pub(crate) fn refuse(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.broken = true;
        self.report(Severity::Error, code, span, message.into(), hint);
    }

    /// Reports what is wrong, but leaves the model good enough to look for more. Of what is ignored it is a warning.
    pub(crate) fn error(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let severity = if self.mode == Mode::Ignored {
            Severity::Warning
        } else {
            Severity::Error
        };
        self.report(severity, code, span, message.into(), hint);
    }

    /// Reports what looks wrong.
    pub(crate) fn warn(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.report(Severity::Warning, code, span, message.into(), hint);
    }

    fn report(
        &mut self,
        severity: Severity,
        code: Code,
        span: Span,
        message: String,
        hint: Option<String>,
    ) {
        let count = self.counts.entry(severity).or_default();
        *count += 1;
        if *count <= MAX_REPORTED {
            let path = self.path.join(".");
            let diagnostic = Diagnostic::new(severity, code, message, hint, span);
            self.diagnostics.push(Diagnostic { path, ..diagnostic });
        }
    }

    /// What to say about a mistaken name: the nearest right one, or else all of them, after a few words.
    ///
    /// Nobody reads hundreds of them, and they are what costs the most: a file with more gets no more.
    pub(crate) fn suggest<'a>(
        &mut self,
        mistaken: &str,
        all_are: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        const MAX_SUGGESTIONS: usize = 100;
        self.suggestions += 1;
        (self.suggestions <= MAX_SUGGESTIONS).then(|| suggest(mistaken, all_are, candidates))
    }

    /// Reads what lies under a key or an item number.
    pub(crate) fn at<T>(&mut self, key: impl ToString, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_string());
        let value = read(self);
        self.path.pop();
        value
    }

    /// Opens a map of known fields: other ones are refused.
    pub(crate) fn fields<'a>(
        &'a mut self,
        node: &'a Node,
        what: &'static str,
        known: &[&'static str],
    ) -> Fields<'a> {
        for (span, key) in unknown_keys(node, known) {
            let hint = self.suggest(&key, "its fields are", known.iter().copied());
            self.refuse(
                Code::UnknownField,
                span,
                format!("{what} has no field `{key}`"),
                hint,
            );
        }
        self.free_fields(node, what)
    }

    /// Opens a map of known fields: of other ones there is a warning.
    pub(crate) fn lenient_fields<'a>(
        &'a mut self,
        node: &'a Node,
        what: &'static str,
        known: &[&'static str],
    ) -> Fields<'a> {
        for (span, key) in unknown_keys(node, known) {
            let hint = self.suggest(&key, "its fields are", known.iter().copied());
            self.warn(
                Code::UnknownField,
                span,
                format!("{what} has no field `{key}`"),
                hint,
            );
        }
        self.free_fields(node, what)
    }

    /// Opens a map that may have other fields too.
    pub(crate) fn free_fields<'a>(&'a mut self, node: &'a Node, what: &'static str) -> Fields<'a> {
        let entries = map_entries(self, node, what);
        let is_map = matches!(node.data, Data::Map(_));
        Fields {
            what,
            span: node.span,
            is_map,
            entries,
            reader: self,
        }
    }

    /// Reports a value of another type.
    pub(crate) fn wrong_type(&mut self, node: &Node, expected: &str) {
        let hint = match (&node.data, expected) {
            (Data::Scalar(Value::None), _) => {
                Some("give it a value, or take the line out".to_owned())
            }
            (Data::Scalar(_), _) if expected.contains("string") && !expected.contains("list") => {
                Some("put it in quotes if it is meant as text".to_owned())
            }
            (Data::Scalar(Value::Str(_)), "a number" | "a whole number") => Some(
                "a number has no quotes, and with an exponent it has a dot and a sign: 1.0e-3"
                    .to_owned(),
            ),
            (Data::Scalar(Value::Str(_)), "true or false") => {
                Some("without quotes: true or false".to_owned())
            }
            _ => None,
        };
        self.refuse(
            Code::WrongType,
            node.span,
            format!("{expected} is expected here, not {}", node.kind()),
            hint,
        );
    }
}

/// The keys of a map that are not known, if it is one, as people see them.
fn unknown_keys(node: &Node, known: &[&str]) -> Vec<(Span, String)> {
    let entries = match &node.data {
        Data::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    let is_known = |key: &Value| key.as_str().is_some_and(|name| known.contains(&name));
    let unknown = entries.iter().filter(|entry| !is_known(&entry.key));
    unknown
        .map(|entry| (entry.key_span, key_text(&entry.key)))
        .collect()
}

/// The entries of a map; anything else is reported and has none.
fn map_entries<'a>(reader: &mut Reader, node: &'a Node, what: &str) -> &'a [Entry] {
    match &node.data {
        Data::Map(entries) => entries,
        _ => {
            let hint = matches!(node.data, Data::Scalar(Value::None))
                .then(|| "what belongs to it is indented deeper than its key".to_owned());
            let message = format!("{what} is a map of fields, not {}", node.kind());
            reader.refuse(Code::WrongType, node.span, message, hint);
            &[]
        }
    }
}

/// A map of fields that is being read.
pub(crate) struct Fields<'a> {
    /// What is read, with its article.
    what: &'static str,
    span: Span,
    is_map: bool,
    entries: &'a [Entry],
    reader: &'a mut Reader,
}

impl Fields<'_> {
    /// The reader, to report about several fields at once.
    pub(crate) fn reader(&mut self) -> &mut Reader {
        self.reader
    }

    /// Where the map is.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.key.as_str() == Some(name))
    }

    /// Where the key of a field is written, if it is there.
    pub(crate) fn key_span(&self, name: &str) -> Option<Span> {
        self.entry(name).map(|entry| entry.key_span)
    }

    /// Reads a field that may be absent.
    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Reader, &Node) -> T,
    ) -> Option<T> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.key.as_str() == Some(name))?;
        Some(self.reader.at(name, |reader| read(reader, &entry.value)))
    }

    /// Reads a field that must be there; reports when it is not, and stands in the default.
    pub(crate) fn required<T: Default>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Reader, &Node) -> T,
    ) -> T {
        match self.optional(name, read) {
            Some(value) => value,
            None => {
                self.missing(name);
                T::default()
            }
        }
    }

    /// Reports that a field is absent.
    pub(crate) fn missing(&mut self, name: &str) {
        // What is no map at all has been reported already.
        if !self.is_map {
            return;
        }
        let message = format!("{} needs the field `{name}`", self.what);
        self.reader
            .refuse(Code::MissingField, self.span, message, None);
    }

    /// Reads a field that is a list, item by item; absent, it is empty.
    pub(crate) fn list<T>(&mut self, name: &str, item: impl Fn(&mut Reader, &Node) -> T) -> Vec<T> {
        self.optional(name, list(item)).unwrap_or_default()
    }
}

/// A list, item by item.
pub(crate) fn list<T>(
    item: impl Fn(&mut Reader, &Node) -> T,
) -> impl Fn(&mut Reader, &Node) -> Vec<T> {
    move |reader, node| match &node.data {
        Data::List(items) => items
            .iter()
            .enumerate()
            .map(|(index, node)| reader.at(index, |reader| item(reader, node)))
            .collect(),
        _ => {
            reader.wrong_type(node, "a list");
            Vec::new()
        }
    }
}

/// A string.
pub(crate) fn text(reader: &mut Reader, node: &Node) -> Spanned<String> {
    match node.as_str() {
        Some(text) => Spanned::new(text.to_owned(), node.span),
        None => {
            reader.wrong_type(node, "a string");
            Spanned::new(String::new(), node.span)
        }
    }
}

/// A string that is for people only: its place does not matter.
pub(crate) fn words(reader: &mut Reader, node: &Node) -> String {
    text(reader, node).value
}

/// A string of no more characters than that.
pub(crate) fn short_text(most: usize) -> impl Fn(&mut Reader, &Node) -> Spanned<String> {
    move |reader, node| {
        let text = text(reader, node);
        let count = text.chars().count();
        if count > most {
            let message = format!("this is {count} characters long; {most} is the most");
            reader.refuse(Code::BadValue, node.span, message, None);
        }
        text
    }
}

/// A string, or a list of them. A single one is a list of one.
pub(crate) fn texts(reader: &mut Reader, node: &Node) -> Vec<Spanned<String>> {
    match &node.data {
        Data::List(_) => list(text)(reader, node),
        Data::Scalar(Value::Str(_)) => vec![text(reader, node)],
        _ => {
            reader.wrong_type(node, "a string or a list of strings");
            Vec::new()
        }
    }
}

/// Whether a field is there and is a string.
pub(crate) fn is_text(node: Option<&Node>) -> bool {
    node.is_some_and(|node| matches!(node.data, Data::Scalar(Value::Str(_))))
}

/// True or false.
pub(crate) fn boolean(reader: &mut Reader, node: &Node) -> Spanned<bool> {
    match node.data {
        Data::Scalar(Value::Bool(bool)) => Spanned::new(bool, node.span),
        _ => {
            reader.wrong_type(node, "true or false");
            Spanned::new(false, node.span)
        }
    }
}

/// Any number.
pub(crate) fn number(reader: &mut Reader, node: &Node) -> Spanned<Number> {
    let number = match &node.data {
        Data::Scalar(value) => value.as_number(),
        _ => None,
    };
    let number = number.unwrap_or_else(|| {
        reader.wrong_type(node, "a number");
        Number::Int(0)
    });
    Spanned::new(number, node.span)
}

/// A whole number; `5.0` is one.
pub(crate) fn integer(reader: &mut Reader, node: &Node) -> Spanned<i128> {
    let number = match &node.data {
        Data::Scalar(value) => value.as_number().and_then(Number::as_int),
        _ => None,
    };
    let number = number.unwrap_or_else(|| {
        reader.wrong_type(node, "a whole number");
        0
    });
    Spanned::new(number, node.span)
}

/// A value of any type.
pub(crate) fn anything(_: &mut Reader, node: &Node) -> Spanned<Value> {
    Spanned::new(node.to_value(), node.span)
}

/// A map of free keys.
pub(crate) fn free_map(reader: &mut Reader, node: &Node) -> Vec<(Value, Value)> {
    to_pairs(map_entries(reader, node, "this"))
}

/// One of the words of a table.
pub(crate) fn choice<T: Copy + Default>(
    words: &[(&str, T)],
) -> impl Fn(&mut Reader, &Node) -> Spanned<T> {
    move |reader, node| {
        let text = text(reader, node);
        let found = words
            .iter()
            .find(|(word, _)| *word == *text)
            .map(|(_, value)| *value);
        if found.is_none() && node.as_str().is_some() {
            not_a_choice(
                reader,
                node.span,
                &text,
                words.iter().map(|(word, _)| *word),
            );
        }
        text.map(|_| found.unwrap_or_default())
    }
}

/// Reports a word that is none of those that are taken.
pub(crate) fn not_a_choice<'a>(
    reader: &mut Reader,
    span: Span,
    word: &str,
    words: impl Iterator<Item = &'a str>,
) {
    let hint = reader.suggest(word, "it takes", words);
    reader.refuse(
        Code::BadValue,
        span,
        format!("`{word}` is not taken here"),
        hint,
    );
}

/// A key, for people.
pub(crate) fn key_text(key: &Value) -> String {
    crate::python::str(key)
}

/// Keeps one of each name, and warns of the others: the later one counts, at the place of the earlier.
pub(crate) fn unique<T>(
    reader: &mut Reader,
    what: &str,
    items: Vec<T>,
    name: impl Fn(&T) -> &Spanned<String>,
) -> Vec<T> {
    let mut places = BTreeMap::new();
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for item in items {
        let Spanned { value, span } = name(&item).clone();
        if span == Span::default() {
            // It has no name, which has been reported.
            continue;
        }
        match places.get(&value) {
            Some(&place) => {
                let line = name(&kept[place]).span.line;
                let message = format!(
                    "there is {what} `{value}` on line {line} already; only the later one counts"
                );
                reader.warn(Code::DuplicateName, span, message, None);
                kept[place] = item;
            }
            None => {
                places.insert(value, kept.len());
                kept.push(item);
            }
        }
    }
    kept
}
