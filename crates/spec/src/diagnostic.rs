//! What is wrong with a file, for people and for programs.

use std::fmt::Write;

use crate::span::Span;

/// One thing that is wrong, or looks wrong, with a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// What kind of mistake it is.
    pub code: Code,
    /// What is wrong, in one line that stands alone.
    pub message: String,
    /// What was expected, the nearest right name, or what to do.
    pub hint: Option<String>,
    /// Where in the text.
    pub span: Span,
    /// Where in the document: keys and item numbers from 0, joined by dots (`0.step.inputs.2.name`). Empty: the file.
    pub path: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken; this is most likely not what was meant.
    Warning,
}

/// The kinds of mistakes. Programs may tell them apart by [`Code::word`]; new ones may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// Not UTF-8, or beyond a limit.
    Unreadable,
    /// Not YAML, or YAML that has no value.
    Syntax,
    /// A key twice in one map.
    DuplicateKey,
    /// A top-level item of no known type.
    UnknownItem,
    /// A field that does not exist.
    UnknownField,
    /// A field that is needed and absent.
    MissingField,
    /// A value of another type than the field takes.
    WrongType,
    /// A value of the right type that the field does not take.
    BadValue,
    /// Two things that exclude each other, or one that needs another.
    Conflict,
    /// Two things of one name.
    DuplicateName,
    /// A name that nothing has.
    UnknownReference,
    /// A default that its parameter does not allow.
    BadDefault,
    /// A field that means nothing where it stands.
    NoEffect,
    /// A word that is legal, but that nothing is known to act upon.
    NotWellKnown,
    /// An older or mistaken spelling that is taken all the same.
    OtherSpelling,
    /// Something that is read but that this version does not run. Only a run is refused for it.
    NotExecutable,
    /// Edges that cannot be followed: in circles, or between things that do not fit. Only a run is refused for it.
    BadGraph,
    /// A value, given at launch or missing there, that does not fit. Only a run is refused for it.
    BadLaunch,
}

impl Diagnostic {
    /// A diagnostic about the file as a whole, unless a path is set.
    pub(crate) fn new(
        severity: Severity,
        code: Code,
        message: String,
        hint: Option<String>,
        span: Span,
    ) -> Self {
        let (message, hint, path) = (tidy(message), hint.map(tidy), String::new());
        Diagnostic {
            severity,
            code,
            message,
            hint,
            span,
            path,
        }
    }
}

/// What a message repeats of the file is what its author likes; a message is one line, and not a long one.
fn tidy(text: String) -> String {
    const MAX_CHARACTERS: usize = 500;
    let mut tidied = String::with_capacity(text.len().min(MAX_CHARACTERS));
    for (index, character) in text.chars().enumerate() {
        if index == MAX_CHARACTERS {
            tidied.push('…');
            break;
        }
        match character {
            '\u{2028}' | '\u{2029}' => tidied.extend(character.escape_unicode()),
            _ if character.is_control() => tidied.extend(character.escape_default()),
            _ => tidied.push(character),
        }
    }
    tidied
}

impl Code {
    /// The kind as a word that stays the same between versions.
    pub fn word(self) -> &'static str {
        match self {
            Code::Unreadable => "unreadable",
            Code::Syntax => "syntax",
            Code::DuplicateKey => "duplicate-key",
            Code::UnknownItem => "unknown-item",
            Code::UnknownField => "unknown-field",
            Code::MissingField => "missing-field",
            Code::WrongType => "wrong-type",
            Code::BadValue => "bad-value",
            Code::Conflict => "conflict",
            Code::DuplicateName => "duplicate-name",
            Code::UnknownReference => "unknown-reference",
            Code::BadDefault => "bad-default",
            Code::NoEffect => "no-effect",
            Code::NotWellKnown => "not-well-known",
            Code::OtherSpelling => "other-spelling",
            Code::NotExecutable => "not-executable",
            Code::BadGraph => "bad-graph",
            Code::BadLaunch => "bad-launch",
        }
    }
}

impl Severity {
    /// `error` or `warning`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Draws a diagnostic for a terminal: what, where, the line with a caret under the place, and what to do.
///
/// `source` is the text that was read; where it is not at hand, an empty one leaves the line out.
///
/// ```text
/// error: a step has no field `imag`
///   --> valohai.yaml:3:5
///    |
///  3 |     imag: python:3.13
///    |     ^^^^
///    = did you mean `image`?
/// ```
pub fn render(diagnostic: &Diagnostic, file_name: &str, source: &str) -> String {
    let Diagnostic {
        severity,
        message,
        hint,
        span,
        ..
    } = diagnostic;
    let mut drawing = format!("{}: {message}\n", severity.word());
    let number = span.line.to_string();
    let margin = " ".repeat(number.len());
    // Writing to a string cannot fail.
    let _ = writeln!(
        drawing,
        "{margin}--> {file_name}:{}:{}",
        span.line, span.column
    );
    if let Some(line) = line_at(source, span.start) {
        let before = source.get(line.0..span.start).unwrap_or_default();
        // Tabs stay, so that the caret stands below its place whatever their width is.
        let indent: String = before
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let marked = source
            .get(span.start..span.end.min(line.1))
            .unwrap_or_default();
        let carets = "^".repeat(marked.chars().count().max(1));
        let text = source.get(line.0..line.1).unwrap_or_default();
        let _ = writeln!(
            drawing,
            "{margin} |\n{number} | {text}\n{margin} | {indent}{carets}"
        );
    }
    if let Some(hint) = hint {
        let _ = writeln!(drawing, "{margin} = {hint}");
    }
    drawing
}

/// The bytes of the line around an offset, without its break.
fn line_at(source: &str, offset: usize) -> Option<(usize, usize)> {
    if source.is_empty() {
        return None;
    }
    let (before, after) = source.split_at_checked(offset)?;
    let is_break = |character| matches!(character, '\n' | '\r');
    let start = before.rfind(is_break).map_or(0, |place| place + 1);
    let end = offset + after.find(is_break).unwrap_or(after.len());
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(source: &str, marked: &str, drawing: Expect) {
        let start = source.find(marked).unwrap_or(source.len());
        let before = &source[..start];
        let line_start = before.rfind('\n').map_or(0, |place| place + 1);
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            code: Code::UnknownField,
            message: "wrong".to_owned(),
            hint: Some("do right".to_owned()),
            span: Span {
                line: before.matches('\n').count() as u32 + 1,
                column: before[line_start..].chars().count() as u32 + 1,
                start,
                end: start + marked.len(),
            },
            path: String::new(),
        };
        drawing.assert_eq(&render(&diagnostic, "valohai.yaml", source));
    }

    #[test]
    fn a_caret_stands_under_the_place() {
        check(
            "- step:\n    imag: x\n",
            "imag",
            expect![[r#"
                error: wrong
                 --> valohai.yaml:2:5
                  |
                2 |     imag: x
                  |     ^^^^
                  = do right
            "#]],
        );
    }

    #[test]
    fn what_goes_over_lines_is_marked_to_the_end_of_the_first() {
        check(
            "a: |\n  ä b\r\nc: d",
            "|\n  ä b",
            expect![[r#"
                error: wrong
                 --> valohai.yaml:1:4
                  |
                1 | a: |
                  |    ^
                  = do right
            "#]],
        );
    }

    #[test]
    fn the_end_of_the_file_can_be_marked_and_an_empty_file_has_no_line() {
        check(
            "a: \"b",
            "nowhere",
            expect![[r#"
                error: wrong
                 --> valohai.yaml:1:6
                  |
                1 | a: "b
                  |      ^
                  = do right
            "#]],
        );
        check(
            "",
            "",
            expect![[r#"
                error: wrong
                 --> valohai.yaml:1:1
                  = do right
            "#]],
        );
    }
}
