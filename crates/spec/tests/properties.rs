//! What holds of every file, good or bad.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use spec::{Severity, Value, parse, parse_value, render};

const FILES: [&str; 5] = [
    include_str!("lint/everything.yaml"),
    include_str!("lint/edges.yaml"),
    include_str!("lint/references.yaml"),
    include_str!("lint/parameters.yaml"),
    include_str!("lint/tasks.yaml"),
];

/// Whatever the bytes are, there is an answer, it is consistent, and every place in it is in the file.
fn check_answer(bytes: &[u8]) -> Result<(), TestCaseError> {
    let parsed = parse(bytes);
    let has_errors = parsed
        .diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    prop_assert_eq!(parsed.config.is_none(), has_errors);
    prop_assert_eq!(parsed.is_valid(), !has_errors);
    let source = String::from_utf8_lossy(bytes);
    let lines = 1 + source
        .chars()
        .filter(|c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'))
        .count();
    for diagnostic in &parsed.diagnostics {
        let span = diagnostic.span;
        prop_assert!(
            (1..=lines).contains(&(span.line as usize)),
            "{diagnostic:?}"
        );
        prop_assert!(span.column >= 1, "{diagnostic:?}");
        prop_assert!(span.start <= span.end, "{diagnostic:?}");
        if std::str::from_utf8(bytes).is_ok() {
            prop_assert!(
                source.is_char_boundary(span.start) && span.end <= source.len(),
                "{diagnostic:?}"
            );
        }
        prop_assert!(
            !diagnostic.message.is_empty() && !diagnostic.message.contains('\n'),
            "{diagnostic:?}"
        );
        let drawing = render(diagnostic, "valohai.yaml", &source);
        let place = format!("valohai.yaml:{}:{}", span.line, span.column);
        prop_assert!(drawing.contains(&place), "{drawing}");
    }
    Ok(())
}

/// A file with a few places changed.
fn changed() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just(String::new()),
        "[-:\\[\\]{}#&*!|>'\"%@`,? \t\n~=]{1,3}",
        "[a-z]{1,3}",
        Just("<<: ".to_owned()),
        Just("!!int ".to_owned()),
        Just("\u{2028}".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    let change = (any::<prop::sample::Index>(), 0..4_usize, pieces);
    (0..FILES.len(), prop::collection::vec(change, 1..5)).prop_map(|(file, changes)| {
        let mut characters: Vec<char> = FILES[file].chars().collect();
        for (place, removed, piece) in changes {
            let start = place.index(characters.len());
            let end = (start + removed).min(characters.len());
            characters.splice(start..end, piece.chars());
        }
        characters.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_answer(&bytes)?;
    }

    #[test]
    fn any_punctuation_gets_an_answer(text in "[-:\\[\\]{}#&*!|>'\"%@`,? \t\n~=<a0]{0,60}") {
        check_answer(text.as_bytes())?;
    }

    #[test]
    fn any_changed_file_gets_an_answer(text in changed()) {
        check_answer(text.as_bytes())?;
    }

    #[test]
    fn numbers_are_read_as_they_are_written(int in any::<i64>(), float in any::<f64>()) {
        prop_assert_eq!(parse_value(int.to_string().as_bytes()).unwrap(), Value::Int(i128::from(int)));
        // With a dot and a signed exponent, as YAML 1.1 wants it; Python's own text is a string where it has no dot.
        prop_assume!(float.is_finite());
        let written = format!("{float:.17e}").replace('e', "e+").replace("e+-", "e-");
        prop_assert_eq!(parse_value(written.as_bytes()).unwrap(), Value::Float(float));
    }

    #[test]
    fn quoted_text_is_itself(text in "[ -~\u{a0}-\u{2027}]{0,40}") {
        let single = format!("'{}'", text.replace('\'', "''"));
        prop_assert_eq!(parse_value(single.as_bytes()).unwrap(), Value::Str(text.clone()));
        let double = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(parse_value(double.as_bytes()).unwrap(), Value::Str(text.clone()));
        let escaped: String = text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
        prop_assert_eq!(parse_value(format!("\"{escaped}\"").as_bytes()).unwrap(), Value::Str(text));
    }

    #[test]
    fn lines_of_a_block_are_themselves(lines in prop::collection::vec("[!-~]([ -~]{0,20}[!-~])?", 1..6)) {
        let block: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        let value = parse_value(format!("key: |\n{block}").as_bytes()).unwrap();
        let expected = Value::Str(lines.join("\n") + "\n");
        prop_assert_eq!(value, Value::Map(vec![(Value::Str("key".to_owned()), expected)]));
    }
}
