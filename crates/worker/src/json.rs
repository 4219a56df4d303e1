//! JSON in and out of the format's values: as Python's `json` reads and writes it, because Python reads what is written.

use std::fmt::Write as _;

use spec::Value;
use spec::python;
use spec::python::number::float_repr;

/// The value of a JSON value.
pub(crate) fn read(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(bool) => Value::Bool(*bool),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int.into()),
            (None, Some(int)) => Value::Int(int.into()),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::Str(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(read).collect()),
        serde_json::Value::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| (Value::Str(key.clone()), read(value)))
                .collect(),
        ),
    }
}

/// The value as JSON text on one line. As in Python, numbers that JSON does not know are `NaN` and `Infinity`, and keys that are no
/// strings become ones. Dates are text.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Int(int) => {
            let _ = write!(out, "{int}");
        }
        Value::Float(float) => out.push_str(&float_text(*float)),
        Value::Str(text) | Value::Date(text) => write_string(out, text),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_string(out, &key_text(key));
                out.push_str(": ");
                write_value(out, value);
            }
            out.push('}');
        }
    }
}

/// What Python's `json` makes of a key.
pub(crate) fn key_text(key: &Value) -> String {
    match key {
        Value::None => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Float(float) => float_text(*float),
        other => python::str(other),
    }
}

fn float_text(float: f64) -> String {
    if float.is_nan() {
        "NaN".to_owned()
    } else if float.is_infinite() {
        if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float_repr(float)
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_as_python_writes_them() {
        let list = Value::List(vec![
            Value::Float(1e-5),
            Value::Float(1.0),
            Value::Int(1 << 70),
            Value::Float(f64::NAN),
            Value::Float(f64::NEG_INFINITY),
        ]);
        assert_eq!(
            write(&list),
            "[1e-05, 1.0, 1180591620717411303424, NaN, -Infinity]"
        );
    }

    #[test]
    fn keys_become_strings_and_dates_are_text() {
        let map = Value::Map(vec![
            (Value::Bool(true), Value::None),
            (Value::None, Value::Int(1)),
            (Value::Float(0.5), Value::Date("2020-09-02".into())),
            (Value::Int(3), Value::Str("a\"\u{1}é".into())),
        ]);
        assert_eq!(
            write(&map),
            r#"{"true": null, "null": 1, "0.5": "2020-09-02", "3": "a\"\u0001é"}"#
        );
    }

    proptest! {
        #[test]
        fn text_of_any_kind_is_read_back(text in any::<String>(), int in any::<i64>(), float in proptest::num::f64::NORMAL) {
            let value = Value::List(vec![Value::Str(text), Value::Int(int.into()), Value::Float(float)]);
            let again = read(&serde_json::from_str(&write(&value)).unwrap());
            prop_assert_eq!(again, value);
        }
    }
}
