//! From the bytes of a file to its model, or to all that is wrong with it.

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::lint::lint;
use crate::model::Config;
use crate::reader::Reader;
use crate::span::Span;
use crate::value::Value;
use crate::yaml::{self, Document, Fault, limits};

/// What became of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The model; absent when there is an error.
    pub config: Option<Config>,
    /// Errors and warnings, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether the file can be used. It may have warnings.
    pub fn is_valid(&self) -> bool {
        self.config.is_some()
    }

    /// What the file is refused for.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// What the file is taken in spite of.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Warning)
    }
}

/// Reads a `valohai.yaml`. Never fails: what is wrong is in the answer, all of it at once.
pub fn parse(bytes: &[u8]) -> Parsed {
    let (config, mut diagnostics) = match read_document(bytes) {
        Ok(document) => read_config(&document),
        Err(errors) => (Config::default(), errors),
    };
    diagnostics.sort_by_key(|diagnostic| {
        (
            diagnostic.span.line,
            diagnostic.span.column,
            diagnostic.severity,
        )
    });
    let valid = diagnostics
        .iter()
        .all(|diagnostic| diagnostic.severity != Severity::Error);
    Parsed {
        config: valid.then_some(config),
        diagnostics,
    }
}

/// Reads any YAML document as the format reads values: for files of parameters, for instance.
///
/// # Errors
/// All that is wrong with the text.
pub fn parse_value(bytes: &[u8]) -> Result<Value, Vec<Diagnostic>> {
    Ok(read_document(bytes)?.root.to_value())
}

fn read_document(bytes: &[u8]) -> Result<Document, Vec<Diagnostic>> {
    yaml::read(decode(bytes)?).map_err(|faults| faults.into_iter().map(syntax).collect())
}

fn read_config(document: &Document) -> (Config, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    for notice in &document.notices {
        reader.warn(
            Code::DuplicateKey,
            notice.span,
            notice.message.as_str(),
            None,
        );
    }
    let config = Config::read(&mut reader, &document.root);
    if !reader.is_broken() {
        lint(&config, &mut reader);
    }
    let mut diagnostics = reader.finish();
    for diagnostic in diagnostics
        .iter_mut()
        .filter(|diagnostic| diagnostic.path.is_empty())
    {
        diagnostic.path = document.root.path_to(diagnostic.span).join(".");
    }
    (config, diagnostics)
}

/// The text of a file that is neither too large nor in another encoding.
fn decode(bytes: &[u8]) -> Result<&str, Vec<Diagnostic>> {
    if bytes.len() > limits::MAX_BYTES {
        let message = format!(
            "the file has {} bytes; {} are the limit",
            bytes.len(),
            limits::MAX_BYTES
        );
        return Err(vec![unreadable(
            message,
            None,
            Span {
                line: 1,
                column: 1,
                ..Span::default()
            },
        )]);
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let line_start = good.rfind('\n').map_or(0, |place| place + 1);
        let span = Span {
            line: good.matches('\n').count() as u32 + 1,
            column: good[line_start..].chars().count() as u32 + 1,
            start: good.len(),
            end: good.len() + 1,
        };
        let message = format!("the byte 0x{:02X} is not UTF-8", bytes[good.len()]);
        vec![unreadable(
            message,
            Some("save the file as UTF-8".to_owned()),
            span,
        )]
    })
}

fn unreadable(message: String, hint: Option<String>, span: Span) -> Diagnostic {
    Diagnostic::new(Severity::Error, Code::Unreadable, message, hint, span)
}

fn syntax(fault: Fault) -> Diagnostic {
    let code = if fault.is_limit {
        Code::Unreadable
    } else {
        Code::Syntax
    };
    Diagnostic::new(Severity::Error, code, fault.message, fault.hint, fault.span)
}
