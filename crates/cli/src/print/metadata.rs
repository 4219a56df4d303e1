//! Metadata of executions on one line: as many digits as fit the eye, long values told by their size.

use serde_json::{Map, Value};

use super::escape;

/// Longest text of a value that is shown whole, in characters.
const LONGEST: usize = 40;

/// `epoch=3 loss=0.12`: all keys on a line.
pub fn line(values: &Map<String, Value>) -> String {
    let pairs: Vec<String> = values
        .iter()
        .map(|(key, value)| format!("{}={}", escape::for_line(key), short(value)))
        .collect();
    pairs.join(" ")
}

/// A value that fits a line: `0.12`, `"text"`, `[10 items]`, `{3 keys}`.
pub fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => escape::for_line(text),
        other => other.to_string(),
    };
    match value {
        _ if text.chars().count() <= LONGEST => text,
        Value::Array(items) => format!("[{} items]", items.len()),
        Value::Object(entries) => format!("{{{} keys}}", entries.len()),
        _ => format!("{}…", text.chars().take(LONGEST - 1).collect::<String>()),
    }
}

/// A number with four digits or so, to be compared at a glance while it changes.
pub fn rounded(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or(0.0);
            let magnitude = number.abs();
            if magnitude != 0.0 && !(1e-3..1e6).contains(&magnitude) {
                format!("{number:.2e}")
            } else {
                format!("{number:.4}")
            }
        }
        other => short(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_values_are_told_by_their_size() {
        let matrix = vec![vec![0; 10]; 10];
        let values = json!({"epoch": 3, "loss": 0.5, "name": "a\u{1b}b", "confusion": matrix, "shape": [2, 3]});
        let Value::Object(values) = values else {
            unreachable!("an object was written")
        };
        assert_eq!(
            line(&values),
            "epoch=3 loss=0.5 name=a\\u{1b}b confusion=[10 items] shape=[2,3]"
        );
        assert_eq!(
            short(&json!("x".repeat(50))),
            format!("{}…", "x".repeat(39))
        );
    }

    #[test]
    fn numbers_fit_the_eye() {
        for (value, expected) in [
            (json!(3), "3"),
            (json!(0.123_456), "0.1235"),
            (json!(1e-7), "1.00e-7"),
            (json!(0.0), "0.0000"),
            (json!("x"), "x"),
        ] {
            assert_eq!(rounded(&value), expected);
        }
    }
}
