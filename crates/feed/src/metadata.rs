//! Metadata: the JSON objects that a program prints, one alone on a line of its standard output.

use serde_json::{Map, Value};

/// The metadata of one line, if the line is a JSON object and nothing else (spaces around it are allowed).
///
/// Keys keep their order; of a repeated key the last value counts, as in Python. `NaN`, `Infinity` and `-Infinity`,
/// which Python's `json` prints and JSON does not know, are read as the strings of that name: a metric that diverged is
/// shown as what it is, and text of that spelling still compares as a number where numbers are asked for.
pub fn parse_metadata(line: &[u8]) -> Option<Map<String, Value>> {
    let text = line.trim_ascii();
    if !(text.starts_with(b"{") && text.ends_with(b"}")) {
        return None;
    }
    serde_json::from_slice(text)
        .ok()
        .or_else(|| serde_json::from_slice(&quote_non_finite(text)?).ok())
}

/// The same text with bare non-finite numbers put in quotes; nothing if there are none.
fn quote_non_finite(text: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut found = false;
    let mut in_string = false;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if in_string {
            // An escaped byte is never the closing quote.
            let step = if rest[0] == b'\\' {
                2.min(rest.len())
            } else {
                1
            };
            in_string = rest[0] != b'"';
            out.extend_from_slice(&rest[..step]);
            at += step;
        } else if let Some(word) = WORDS.iter().find(|word| stands_as_value(rest, word)) {
            out.push(b'"');
            out.extend_from_slice(word);
            out.push(b'"');
            found = true;
            at += word.len();
        } else {
            in_string = rest[0] == b'"';
            out.push(rest[0]);
            at += 1;
        }
    }
    found.then_some(out)
}

/// `text` begins with `word`, and what follows is what may follow a value.
fn stands_as_value(text: &[u8], word: &[u8]) -> bool {
    text.strip_prefix(word)
        .is_some_and(|rest| matches!(rest.trim_ascii_start().first(), Some(b',' | b']' | b'}')))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `expected`: the object printed compactly, or `-` for a line that is no metadata.
    fn check(line: &str, expected: &str) {
        let got = parse_metadata(line.as_bytes()).map(|m| Value::Object(m).to_string());
        assert_eq!(got.as_deref().unwrap_or("-"), expected, "line {line:?}");
    }

    #[test]
    fn what_is_metadata_and_what_is_not() {
        check("{\"loss\": 0.5}\n", r#"{"loss":0.5}"#);
        check(
            " \t{\"b\": 1, \"a\": [1, [2]]}\r\n",
            r#"{"b":1,"a":[1,[2]]}"#,
        );
        check("{}", "{}");
        check(r#"{"a": 1, "a": 2}"#, r#"{"a":2}"#);
        check(
            r#"{"s": "\u00e9", "n": null, "t": true}"#,
            r#"{"s":"é","n":null,"t":true}"#,
        );
        check("[1, 2]", "-");
        check("3", "-");
        check("", "-");
        check("{", "-");
        check("}", "-");
        check("{'loss': 1}", "-");
        check("{\"a\": 1} trailing", "-");
        check("{\"a\": 1}{\"b\": 2}", "-");
        check("\r50% {\"a\": 1}", "-");
    }

    #[test]
    fn numbers_that_python_prints_and_json_does_not_know() {
        check(r#"{"loss": NaN}"#, r#"{"loss":"NaN"}"#);
        check(
            r#"{"a": [Infinity, -Infinity, 1]}"#,
            r#"{"a":["Infinity","-Infinity",1]}"#,
        );
        check(
            r#"{"NaN": NaN, "s": "a \" NaN"}"#,
            r#"{"NaN":"NaN","s":"a \" NaN"}"#,
        );
        check(
            r#"{"s": "Infinity\\", "x": NaN}"#,
            r#"{"s":"Infinity\\","x":"NaN"}"#,
        );
        check(r#"{"a": NaNs}"#, "-");
        check(r#"{"a": nan}"#, "-");
        check(r#"{NaN: 1}"#, "-");
        check(r#"{"a": NaN , "b": - Infinity}"#, "-");
        check(r#"{"a": "\"#, "-");
    }

    #[test]
    fn broken_text_and_deep_nesting_are_plain_lines() {
        assert_eq!(parse_metadata(b"{\"a\": \"\xff\"}"), None);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse_metadata(deep.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_line_is_metadata_or_not_without_a_panic(inner in "[{}\\[\\]\",:\\\\NaInfity \\-0-9]{0,40}") {
            let line = format!("{{{inner}}}");
            if let Some(map) = parse_metadata(line.as_bytes()) {
                let again = parse_metadata(Value::Object(map.clone()).to_string().as_bytes()).unwrap();
                prop_assert!(again.keys().eq(map.keys()));
            }
        }
    }
}
