//! `str`, `repr`, `str.split` and `shlex.quote`.

use std::fmt::Write as _;

use crate::python::number::float_repr;
use crate::value::Value;

/// `str(value)`: what a person reads, and what a step's arguments carry.
pub fn str(value: &Value) -> String {
    match value {
        Value::Str(text) | Value::Date(text) => text.clone(),
        other => repr(other),
    }
}

/// `repr(value)`: as it would be written in a Python program.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

/// `ascii(value)`: its `repr` with everything beyond ASCII escaped.
pub fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for char in repr(value).chars() {
        if char.is_ascii() {
            out.push(char)
        } else {
            push_escape(&mut out, char)
        }
    }
    out
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Float(float) => out.push_str(&float_repr(*float)),
        Value::Str(text) => push_quoted(out, text),
        Value::Date(text) => push_date(out, text),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_repr(out, key);
                out.push_str(": ");
                write_repr(out, value);
            }
            out.push('}');
        }
    }
}

/// A string literal: in single quotes, or in double quotes when it holds single ones and no double ones.
fn push_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if char == quote => {
                out.push('\\');
                out.push(char);
            }
            _ if is_printable(char) => out.push(char),
            _ => push_escape(out, char),
        }
    }
    out.push(quote);
}

/// `\x1b`, `\u200b` or `\U0001f600`, whichever is the shortest that holds the character.
fn push_escape(out: &mut String, char: char) {
    let code = u32::from(char);
    // Writing to a string cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Whether Python prints the character as it is: everything but controls, unassigned characters and all blanks other
/// than the space.
fn is_printable(char: char) -> bool {
    if char.is_ascii() {
        return !char.is_ascii_control();
    }
    // Of a string's characters after the first, the standard library escapes exactly the ones that do not print.
    let mut pair = String::from("a");
    pair.push(char);
    pair.escape_debug()
        .nth(1)
        .is_none_or(|escaped| escaped != '\\')
}

/// `datetime.date(2020, 9, 2)`, `datetime.datetime(2020, 9, 2, 10, 30, tzinfo=datetime.timezone.utc)`.
fn push_date(out: &mut String, text: &str) {
    let Some((date, time)) = text.split_once(' ') else {
        let _ = write!(out, "datetime.date({})", numbers(text, '-').join(", "));
        return;
    };
    let zone_at = time.find(['+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let (clock, micros) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut fields = numbers(date, '-');
    let mut clock = numbers(clock, ':');
    clock.extend(numbers(micros, ':'));
    // Seconds and microseconds are left out when they are zero, from the right; hours and minutes never are.
    while clock.len() > 2 && clock.last().is_some_and(|last| last == "0") {
        clock.pop();
    }
    fields.append(&mut clock);
    let _ = write!(out, "datetime.datetime({}", fields.join(", "));
    push_zone(out, zone);
    out.push(')');
}

/// `, tzinfo=datetime.timezone.utc`, or with the `timedelta` of another zone; nothing when there is no zone.
fn push_zone(out: &mut String, zone: &str) {
    let mut fields = zone
        .get(1..)
        .unwrap_or_default()
        .split(':')
        .map(|part| part.parse::<i64>().unwrap_or_default());
    let magnitude =
        fields.next().unwrap_or_default() * 3600 + fields.next().unwrap_or_default() * 60;
    let seconds = if zone.starts_with('-') {
        -magnitude
    } else {
        magnitude
    };
    let _ = match seconds {
        _ if zone.is_empty() => Ok(()),
        0 => write!(out, ", tzinfo=datetime.timezone.utc"),
        1.. => write!(
            out,
            ", tzinfo=datetime.timezone(datetime.timedelta(seconds={seconds}))"
        ),
        _ => {
            let (days, seconds) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
            write!(
                out,
                ", tzinfo=datetime.timezone(datetime.timedelta(days={days}, seconds={seconds}))"
            )
        }
    };
}

/// The numbers of a date or a clock, without leading zeros.
fn numbers(text: &str, separator: char) -> Vec<String> {
    let shorten = |part: &str| {
        part.parse::<u32>()
            .map_or_else(|_| part.to_owned(), |number| number.to_string())
    };
    text.split(separator).map(shorten).collect()
}

/// What Python's `str` methods count as blank: Unicode's white space and the four ASCII separators.
pub fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

/// `text.split()`: the pieces between runs of blanks, none of them empty.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|piece| !piece.is_empty())
}

/// `text.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `shlex.quote(text)`: one word of a shell, whatever it holds.
pub fn quote(text: &str) -> String {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if text.is_empty() {
        "''".to_owned()
    } else if text.bytes().all(is_safe) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\"'\"'"))
    }
}

/// Every word quoted, joined by spaces.
pub fn quote_all<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    words
        .into_iter()
        .map(|word| quote(word))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Str(text.to_owned())
    }

    fn date(text: &str) -> Value {
        Value::Date(text.to_owned())
    }

    #[test]
    fn values_print_as_pythons() {
        let table = [
            (Value::None, "None", "None"),
            (Value::Bool(true), "True", "True"),
            (Value::Int(-5), "-5", "-5"),
            (Value::Float(1.0), "1.0", "1.0"),
            (text("a b"), "a b", "'a b'"),
            (text("it's"), "it's", "\"it's\""),
            (text("it's \"x\""), "it's \"x\"", "'it\\'s \"x\"'"),
            (
                text("tab\tline\nback\\"),
                "tab\tline\nback\\",
                "'tab\\tline\\nback\\\\'",
            ),
            (
                text("\u{1b}\u{7f}\u{a0}é\u{301}"),
                "\u{1b}\u{7f}\u{a0}é\u{301}",
                "'\\x1b\\x7f\\xa0é\u{301}'",
            ),
            (
                text("\u{200b}😀\u{e0001}"),
                "\u{200b}😀\u{e0001}",
                "'\\u200b😀\\U000e0001'",
            ),
            (
                Value::List(vec![Value::Int(1), text("a"), Value::None]),
                "[1, 'a', None]",
                "[1, 'a', None]",
            ),
            (
                Value::Map(vec![(text("k"), Value::Float(0.5))]),
                "{'k': 0.5}",
                "{'k': 0.5}",
            ),
            (
                date("2020-09-02"),
                "2020-09-02",
                "datetime.date(2020, 9, 2)",
            ),
            (
                date("2020-09-02 00:00:00"),
                "2020-09-02 00:00:00",
                "datetime.datetime(2020, 9, 2, 0, 0)",
            ),
            (
                date("2020-09-02 01:02:03.000400+00:00"),
                "2020-09-02 01:02:03.000400+00:00",
                "datetime.datetime(2020, 9, 2, 1, 2, 3, 400, tzinfo=datetime.timezone.utc)",
            ),
            (
                date("2020-09-02 10:00:30-02:30"),
                "2020-09-02 10:00:30-02:30",
                "datetime.datetime(2020, 9, 2, 10, 0, 30, \
                 tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=77400)))",
            ),
        ];
        for (value, expected_str, expected_repr) in table {
            assert_eq!(str(&value), expected_str);
            assert_eq!(repr(&value), expected_repr);
        }
        assert_eq!(ascii(&text("é😀\n")), "'\\xe9\\U0001f600\\n'");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        let table = [
            ("", "''"),
            ("--lr=0.1", "--lr=0.1"),
            ("a@b%c+d:e,f./_-", "a@b%c+d:e,f./_-"),
            ("a b", "'a b'"),
            ("$HOME", "'$HOME'"),
            ("it's", "'it'\"'\"'s'"),
            ("é", "'é'"),
            ("~", "'~'"),
            ("{x}", "'{x}'"),
            ("a\nb", "'a\nb'"),
        ];
        for (word, quoted) in table {
            assert_eq!(quote(word), quoted);
        }
    }

    #[test]
    fn text_is_split_at_every_blank() {
        let pieces: Vec<&str> = split("  --name \t{value}\u{1f}x\u{a0}y\n").collect();
        assert_eq!(pieces, ["--name", "{value}", "x", "y"]);
        assert_eq!(split(" \n").count(), 0);
    }
}
