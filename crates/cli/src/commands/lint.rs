//! `shoal lint`: every error and warning of a file, each with its place.

use std::path::Path;

use serde_json::{Value, json};
use spec::{Diagnostic, Severity};

use super::{Context, config, write_out};
use crate::args::Lint;
use crate::{Exit, Failure, place};

pub(super) fn lint(context: &Context, arguments: &Lint) -> Result<Exit, Failure> {
    let files = match arguments.files.as_slice() {
        [] => vec![place::config(&context.current, None)?],
        files => files.to_vec(),
    };
    let mut answers = Vec::new();
    let mut all_valid = true;
    for file in &files {
        let (value, valid) = one(context, file, arguments.strict_warnings)?;
        answers.push(value);
        all_valid &= valid;
    }
    if context.json() {
        // One file is one object; several are an array, in the order they were named.
        let value = match answers.len() {
            1 => answers.remove(0),
            _ => Value::Array(answers),
        };
        write_out(format!("{value:#}\n").as_bytes())?;
    }
    Ok(if all_valid { Exit::Done } else { Exit::Failed })
}

/// Checks one file; answers with what programs see and whether it passes.
fn one(context: &Context, file: &Path, strict: bool) -> Result<(Value, bool), Failure> {
    let path = place::config(&context.current, Some(file))?;
    let bytes = place::read(&path)?;
    let parsed = spec::parse(&bytes);
    let of = |severity| {
        parsed
            .diagnostics
            .iter()
            .filter(move |diagnostic| diagnostic.severity == severity)
    };
    let (errors, warnings) = (of(Severity::Error).count(), of(Severity::Warning).count());
    let valid = errors == 0;
    let shown = config::shown(context, &path);
    let value = json!({
        "file": shown,
        "valid": valid,
        "errors": of(Severity::Error).map(diagnostic).collect::<Vec<_>>(),
        "warnings": of(Severity::Warning).map(diagnostic).collect::<Vec<_>>(),
    });
    if !context.json() {
        let source = String::from_utf8_lossy(&bytes);
        let mut text: String = parsed
            .diagnostics
            .iter()
            .map(|found| spec::render(found, &shown, &source))
            .collect();
        text.push_str(&format!(
            "{shown}: {}, {}\n",
            config::counted(errors, "error"),
            config::counted(warnings, "warning")
        ));
        write_out(text.as_bytes())?;
    }
    Ok((value, valid && !(strict && warnings > 0)))
}

fn diagnostic(diagnostic: &Diagnostic) -> Value {
    json!({
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "code": diagnostic.code.word(),
        "line": diagnostic.span.line,
        "column": diagnostic.span.column,
        "path": diagnostic.path,
    })
}
