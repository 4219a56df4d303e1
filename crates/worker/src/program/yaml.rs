//! YAML text of a value, such that PyYAML and every reader of YAML 1.1 or 1.2 loads what the JSON beside it says.
//!
//! Text is always quoted, so that `yes` and `1e5` stay text; floats always have a dot and a signed exponent, because YAML 1.1 takes
//! `1e-05` for text; keys that a reader could take for something else than text are quoted.

use std::fmt::Write as _;

use spec::Value;
use spec::python::number::float_repr;

use crate::json::key_text;

/// Readers look for the colon of a plain key within 1,024 characters; longer keys are written with a question mark.
const LONGEST_SIMPLE_KEY: usize = 128;

/// The value as a YAML document.
pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::List(items) if !items.is_empty() => write_list(&mut out, items, 0),
        Value::Map(entries) if !entries.is_empty() => write_map(&mut out, entries, 0),
        scalar => {
            write_scalar(&mut out, scalar);
            out.push('\n');
        }
    }
    out
}

fn write_map(out: &mut String, entries: &[(Value, Value)], depth: usize) {
    for (key, value) in entries {
        let key = written_key(&key_text(key));
        indent(out, depth);
        if key.chars().count() > LONGEST_SIMPLE_KEY {
            let _ = writeln!(out, "? {key}");
            indent(out, depth);
        } else {
            out.push_str(&key);
        }
        out.push(':');
        write_after_mark(out, value, depth + 1);
    }
}

fn write_list(out: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(out, depth);
        out.push('-');
        write_after_mark(out, item, depth + 1);
    }
}

/// What follows a colon or a dash: a scalar on the same line, or a block of its own, deeper.
fn write_after_mark(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            write_list(out, items, depth);
        }
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            write_map(out, entries, depth);
        }
        scalar => {
            out.push(' ');
            write_scalar(out, scalar);
            out.push('\n');
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

fn write_scalar(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Int(int) => {
            let _ = write!(out, "{int}");
        }
        Value::Float(float) => out.push_str(&float_text(*float)),
        Value::Str(text) | Value::Date(text) => write_quoted(out, text),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
}

fn float_text(float: f64) -> String {
    if float.is_nan() {
        return ".nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = float_repr(float);
    match text.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0e{exponent}"),
        _ => text,
    }
}

/// A key as it is, when no reader can take it for anything but text; otherwise in quotes.
fn written_key(key: &str) -> String {
    let mut chars = key.chars();
    let is_word = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if is_word && !is_taken(key) {
        return key.to_owned();
    }
    let mut out = String::new();
    write_quoted(&mut out, key);
    out
}

/// Words that YAML 1.1 takes for truth values or null, whatever their case.
fn is_taken(word: &str) -> bool {
    ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
        .iter()
        .any(|taken| word.eq_ignore_ascii_case(taken))
}

fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(char),
            char if char.is_alphanumeric() => out.push(char),
            // Whatever could be a line end, invisible or refused by a reader.
            char => {
                let code = u32::from(char);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(value: Value, expected: &Expect) {
        expected.assert_eq(&write(&value));
    }

    fn str(text: &str) -> Value {
        Value::Str(text.to_owned())
    }

    #[test]
    fn what_other_readers_would_take_for_something_else() {
        let map = Value::Map(vec![
            (str("rate"), Value::Float(1e-5)),
            (str("huge"), Value::Float(1.5e300)),
            (str("whole"), Value::Float(2.0)),
            (str("nothing"), Value::None),
            (str("none"), str("null")),
            (str("yes"), str("yes")),
            (str("0x10"), str("1e5")),
            (
                str("limits"),
                Value::List(vec![Value::Float(f64::INFINITY), Value::Float(f64::NAN)]),
            ),
            (
                str("empty"),
                Value::List(vec![Value::List(vec![]), Value::Map(vec![])]),
            ),
            (
                str("nested"),
                Value::List(vec![Value::Map(vec![(
                    str("a"),
                    Value::List(vec![Value::Int(1)]),
                )])]),
            ),
            (str("text"), str("a: b # c\n\u{2028}é\u{1f600}")),
        ]);
        check(
            map,
            &expect![[r#"
                rate: 1.0e-05
                huge: 1.5e+300
                whole: 2.0
                nothing: null
                none: "null"
                "yes": "yes"
                "0x10": "1e5"
                limits:
                  - .inf
                  - .nan
                empty:
                  - []
                  - {}
                nested:
                  -
                    a:
                      - 1
                text: "a: b # c\n\u2028é\U0001f600"
            "#]],
        );
        check(
            Value::Map(vec![]),
            &expect![[r#"
            {}
        "#]],
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::None),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|int| Value::Int(int.into())),
            any::<f64>().prop_map(Value::Float),
            any::<String>().prop_map(Value::Str),
            "[a-z0-9:.~-]{0,6}".prop_map(Value::Str),
        ];
        let key = prop_oneof![any::<String>(), "[a-zA-Z0-9._-]{0,5}", "[a ]{200,1100}"];
        scalar.prop_recursive(4, 24, 4, move |inner| {
            let entries = proptest::collection::btree_map(key.clone(), inner.clone(), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::List),
                entries.prop_map(|map| Value::Map(
                    map.into_iter().map(|(k, v)| (Value::Str(k), v)).collect()
                )),
            ]
        })
    }

    proptest! {
        /// The reader is our own, which reads as PyYAML does.
        #[test]
        fn every_value_is_read_back(value in any_value()) {
            let text = write(&value);
            let again = spec::parse_value(text.as_bytes());
            // NaN is not itself; its text is.
            prop_assert_eq!(again.map(|v| format!("{v:?}")), Ok(format!("{value:?}")), "{}", text);
        }
    }
}
