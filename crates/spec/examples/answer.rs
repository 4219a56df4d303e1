//! Answers questions about the small languages, one JSON object a line, for `tests/differential_meaning.py`, which asks
//! the reference the same.

use std::io::{BufRead, Write};

use serde_json::{Value as Json, json};
use spec::command::{FlagDefaults, Values, build_commands};
use spec::expression::{self, EvaluateError, Expression};
use spec::python::{self, FormatError, number};
use spec::{Value, duration, glob};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let question: Json = serde_json::from_str(&line?)?;
        writeln!(out, "{}", answer(&question))?;
    }
    Ok(())
}

fn answer(question: &Json) -> Json {
    let text = |key: &str| question[key].as_str().unwrap_or_default();
    let value = || read(&question["value"]);
    match text("ask") {
        "str" => json!(python::str(&value())),
        "repr" => json!(python::repr(&value())),
        "ascii" => json!(python::text::ascii(&value())),
        "quote" => json!(python::quote(text("text"))),
        "split" => json!(python::split(text("text")).collect::<Vec<_>>()),
        "int" => json!(number::parse_int(text("text")).map(|int| int.to_string())),
        "float" => json!(number::parse_float(text("text")).map(number::float_repr)),
        "duration" => match duration::parse(text("text")) {
            Ok(duration) => json!(duration.map(|duration| duration.as_micros().to_string())),
            Err(_) => json!("error"),
        },
        "fnmatch" => json!(glob::fnmatch(text("pattern"), text("text"))),
        "format" => {
            let (name, value) = (Value::Str(text("name").to_owned()), value());
            let lookup = |key: &str| match key {
                "name" => Some(&name),
                "value" | "v" => Some(&value),
                _ => None,
            };
            match python::format_template(text("text"), &lookup) {
                Ok(text) => json!({"ok": text}),
                Err(FormatError::Malformed(_)) => json!("ValueError"),
                Err(_) => json!("other"),
            }
        }
        "lint" => json!(expression::check(text("text")).is_ok()),
        "holds" => {
            let universe = |name: &str| question["values"].get(name).map(read);
            match Expression::parse(text("text")).map(|expression| expression.holds(&universe)) {
                Err(_) => json!("refused"),
                Ok(Ok(truth)) => json!(truth),
                Ok(Err(EvaluateError::NoSuchValue(_))) => json!("missing"),
                Ok(Err(EvaluateError::Invalid(_))) => json!("invalid"),
            }
        }
        "file" => file(question),
        other => json!({"unknown": other}),
    }
}

/// The commands of every step with the values of the question, and every pipeline expanded.
fn file(question: &Json) -> Json {
    let Some(config) = spec::parse(question["text"].as_str().unwrap_or_default().as_bytes()).config
    else {
        return json!("invalid");
    };
    let given = |step: &str| -> Values {
        let values = question["values"]
            .get(step)
            .and_then(Json::as_object)
            .into_iter()
            .flatten();
        values
            .map(|(name, value)| (name.clone(), read(value)))
            .collect()
    };
    let commands = config.steps.iter().map(|step| {
        let built = build_commands(step, &given(&step.name), FlagDefaults::Ignored);
        (
            step.name.value.clone(),
            built.map_or(json!("error"), |commands| json!(commands.lines)),
        )
    });
    let pipelines = config.pipelines.iter().map(|pipeline| {
        let expanded = spec::plan::reference_json(&config, pipeline, "HEAD");
        (
            pipeline.name.value.clone(),
            expanded.unwrap_or(json!("error")),
        )
    });
    json!({"commands": commands.collect::<Json>(), "pipelines": pipelines.collect::<Json>()})
}

/// Values as JSON; what JSON lacks is a map with one key: `{"float": "nan"}`, `{"int": "…"}`, `{"date": "…"}`,
/// `{"map": [[key, value], …]}`.
fn read(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(i128::from(int)),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(read).collect()),
        Json::Object(tagged) => match tagged.iter().next() {
            Some((tag, Json::String(text))) => match tag.as_str() {
                "int" => Value::Int(text.parse().unwrap_or_default()),
                "float" => Value::Float(text.parse().unwrap_or(f64::NAN)),
                _ => Value::Date(text.clone()),
            },
            Some((_, Json::Array(pairs))) => Value::Map(
                pairs
                    .iter()
                    .map(|pair| (read(&pair[0]), read(&pair[1])))
                    .collect(),
            ),
            _ => Value::Map(Vec::new()),
        },
    }
}
