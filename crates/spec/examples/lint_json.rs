//! Lints files and prints one JSON object a line: what `tests/differential.py` compares with the reference.
//!
//! ```text
//! find . -name '*.yaml' | cargo run -p spec --example lint_json            # valid, errors[], warnings[]
//! find . -name '*.yaml' | cargo run -p spec --example lint_json -- values  # the values of the document
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "an example is a body: it reads the files that the mind is given"
)]

use std::error::Error;
use std::io::{BufRead, Write};

use serde_json::{Value as Json, json};
use spec::{Diagnostic, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let values = std::env::args().nth(1).is_some_and(|mode| mode == "values");
    let mut output = std::io::stdout().lock();
    for file in std::io::stdin().lock().lines() {
        let file = file?;
        let bytes = std::fs::read(&file)?;
        let answer = if values {
            value_answer(&bytes)
        } else {
            lint_answer(&bytes)
        };
        writeln!(output, "{}", json!({ "file": file, "answer": answer }))?;
    }
    Ok(())
}

fn lint_answer(bytes: &[u8]) -> Json {
    let parsed = spec::parse(bytes);
    json!({
        "valid": parsed.is_valid(),
        "errors": parsed.errors().map(diagnostic).collect::<Vec<_>>(),
        "warnings": parsed.warnings().map(diagnostic).collect::<Vec<_>>(),
    })
}

fn diagnostic(diagnostic: &Diagnostic) -> Json {
    json!({
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "code": diagnostic.code.word(),
        "line": diagnostic.span.line,
        "column": diagnostic.span.column,
        "path": diagnostic.path,
    })
}

fn value_answer(bytes: &[u8]) -> Json {
    match spec::parse_value(bytes) {
        Ok(value) => json!({ "value": tagged(&value) }),
        Err(errors) => json!({ "errors": errors.iter().map(diagnostic).collect::<Vec<_>>() }),
    }
}

/// A value with its type, so that nothing is lost in JSON.
fn tagged(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(bool) => json!(bool),
        Value::Int(int) => json!(["int", int.to_string()]),
        Value::Float(float) => json!(["float", spec::python::number::float_repr(*float)]),
        Value::Str(text) => json!(["str", text]),
        Value::Date(text) => json!(["date", text]),
        Value::List(items) => json!(["list", items.iter().map(tagged).collect::<Vec<_>>()]),
        Value::Map(entries) => {
            json!([
                "map",
                entries
                    .iter()
                    .map(|(key, value)| json!([tagged(key), tagged(value)]))
                    .collect::<Vec<_>>()
            ])
        }
    }
}
