//! What texts mean, and where it is said that they mean nothing. The expectations are PyYAML's answers.

use expect_test::{Expect, expect};

use super::{limits, read};
use crate::value::Value;

/// The document on one line, each value with its type.
fn shown(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::None => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Int(int) => format!("int {int}"),
        Value::Float(float) => format!("float {}", crate::python::number::float_repr(*float)),
        Value::Str(text) => format!("{text:?}"),
        Value::Date(date) => format!("date {date}"),
        Value::List(items) => format!("[{}]", list(items.iter().map(shown).collect())),
        Value::Map(entries) => {
            format!(
                "{{{}}}",
                list(
                    entries
                        .iter()
                        .map(|(key, value)| format!("{}: {}", shown(key), shown(value)))
                        .collect()
                )
            )
        }
    }
}

fn answer(text: &str) -> String {
    match read(text) {
        Ok(document) => {
            let notices = document
                .notices
                .iter()
                .map(|notice| format!(" (!{}:{})", notice.span.line, notice.span.column));
            shown(&document.root.to_value()) + &notices.collect::<String>()
        }
        Err(faults) => {
            let faults = faults.iter().map(|fault| {
                format!(
                    "{}:{} {}",
                    fault.span.line, fault.span.column, fault.message
                )
            });
            faults.collect::<Vec<_>>().join("; ")
        }
    }
}

/// One text a line, before and after an arrow.
fn check(texts: &[&str], answers: Expect) {
    let lines = texts
        .iter()
        .map(|text| format!("{text:?} -> {}\n", answer(text)));
    answers.assert_eq(&lines.collect::<String>());
}

#[test]
fn plain_scalars_are_of_yaml_1_1() {
    let table: [(&str, &[&str]); 12] = [
        ("null", &["", "~", "null", "Null", "NULL"]),
        (
            "true",
            &[
                "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON",
            ],
        ),
        (
            "false",
            &[
                "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF",
            ],
        ),
        ("int 8", &["010", "0b1000", "0x8", "+8", "0_10", "8"]),
        ("int 90", &["1:30", "90", "9_0_", "0x5a", "0x5A"]),
        ("int -5400", &["-1:30:00", "-5400"]),
        (
            "float 1.0",
            &["1.", "1.0", "+1.0", "1_.0", "1.0e+0", "1.E-0"],
        ),
        ("float 0.5", &[".5", "0.5", ".5e+0", "0.005e+2"]),
        ("float 90.5", &["1:30.5"]),
        ("float inf", &[".inf", "+.INF", ".Inf"]),
        ("float nan", &[".nan", ".NaN", ".NAN"]),
        ("date 2020-09-02", &["2020-09-02"]),
    ];
    for (meaning, texts) in table {
        for text in texts {
            assert_eq!(answer(text), meaning, "{text}");
        }
    }
}

#[test]
fn what_looks_almost_like_a_number_is_text() {
    let texts = [
        "1e-3",
        "1e5",
        "1.0e16",
        "12e03",
        "1e+5",
        "1.5e5",
        "0o10",
        "08",
        "1:60",
        "1:030",
        "+.5",
        "-.5",
        "_1",
        "1__2x",
        "NaN",
        "inf",
        "+.nan",
        "y",
        "n",
        "tRUE",
        "yEs",
        "nuLL",
        "2020-9-2",
        "2020-09-02T",
        "20-09-02",
        "0x",
        "0b",
        "0b12",
        "0xg",
        "1.2.3",
        "1.0e",
        "-a",
        "1 2",
        "a:b",
    ];
    for text in texts {
        let expected = format!("{text:?}");
        assert_eq!(answer(text), expected);
    }
}

#[test]
fn dates_are_printed_as_python_prints_them() {
    check(
        &[
            "2020-09-02T00:00:00Z",
            "2020-09-02 1:02:03.25",
            "2020-9-2t01:02:03 -5:30",
            "2020-09-02  01:02:03+2",
            "2020-09-02 01:02:03.123456789 Z",
            "2020-09-02 24:00:00",
            "2000-02-29",
            "1900-02-29",
            "0000-01-01",
            "2020-01-01 00:00:00+24:00",
        ],
        expect![[r#"
            "2020-09-02T00:00:00Z" -> date 2020-09-02 00:00:00+00:00
            "2020-09-02 1:02:03.25" -> date 2020-09-02 01:02:03.250000
            "2020-9-2t01:02:03 -5:30" -> date 2020-09-02 01:02:03-05:30
            "2020-09-02  01:02:03+2" -> date 2020-09-02 01:02:03+02:00
            "2020-09-02 01:02:03.123456789 Z" -> date 2020-09-02 01:02:03.123456+00:00
            "2020-09-02 24:00:00" -> 1:1 `2020-09-02 24:00:00` is not a date of the calendar
            "2000-02-29" -> date 2000-02-29
            "1900-02-29" -> 1:1 `1900-02-29` is not a date of the calendar
            "0000-01-01" -> 1:1 `0000-01-01` is not a date of the calendar
            "2020-01-01 00:00:00+24:00" -> 1:1 `2020-01-01 00:00:00+24:00` is not a date of the calendar
        "#]],
    );
}

#[test]
fn tags_decide_and_quotes_make_text() {
    check(
        &[
            "!!str 5",
            "!!int '0x10'",
            "!!float '1e-3'",
            "!!bool 'Yes'",
            "!!null x",
            "! '5'",
            "'5'",
            "\"yes\"",
            "!!timestamp '2020-1-1'",
            "!!seq [a]",
            "!!map {a: 1}",
            "!<tag:yaml.org,2002:str> 5",
            "%TAG !e! tag:yaml.org,2002:\n---\n!e!str 5",
            "!!str",
            "!!int x",
            "!!bool maybe",
            "!!set {a}",
            "!!str [a]",
            "!local x",
            "!e!str 5",
            "- =\n- <<",
            "170141183460469231731687303715884105728",
        ],
        expect![[r#"
            "!!str 5" -> "5"
            "!!int '0x10'" -> int 16
            "!!float '1e-3'" -> float 0.001
            "!!bool 'Yes'" -> true
            "!!null x" -> null
            "! '5'" -> int 5
            "'5'" -> "5"
            "\"yes\"" -> "yes"
            "!!timestamp '2020-1-1'" -> date 2020-01-01
            "!!seq [a]" -> ["a"]
            "!!map {a: 1}" -> {"a": int 1}
            "!<tag:yaml.org,2002:str> 5" -> "5"
            "%TAG !e! tag:yaml.org,2002:\n---\n!e!str 5" -> "5"
            "!!str" -> ""
            "!!int x" -> 1:1 `x` is not a whole number
            "!!bool maybe" -> 1:1 `maybe` is not a boolean
            "!!set {a}" -> 1:1 the tag `!!set` does not fit here
            "!!str [a]" -> 1:1 the tag `!!str` does not fit here
            "!local x" -> 1:1 the tag `!local` does not fit here
            "!e!str 5" -> 1:1 the tag handle `!e!` is not defined
            "- =\n- <<" -> 1:3 `=` means something else in YAML; 2:3 `<<` means something else in YAML
            "170141183460469231731687303715884105728" -> 1:1 this number is larger than 128 bits can hold, which is the limit
        "#]],
    );
}

#[test]
fn blocks_and_brackets_nest() {
    check(
        &[
            "a: 1\nb:\n- x\n- y: z\n  w:\n\n    - 1\nc: [1, {d: e}, f: g, ]\n",
            "- - a\n  - b\n-\n  - c\n- \n- d:\n",
            "? a\n: b\n? c\n",
            "{a: 1, b, c: , ? d : e, 'f': g, h:i}",
            "{a:1}",
            "[a, [], {}]",
            "a: {b:\n c}\n",
            "a:   # comment\n  - b # comment\n# comment\n",
            "--- a\n...\n",
            "%YAML 1.2\n---\na\n",
            "\u{feff}a: b",
            "a#b: c #d",
            "- a: 1\n  b: 2\n- &x\n- !!str\n",
        ],
        expect![[r##"
            "a: 1\nb:\n- x\n- y: z\n  w:\n\n    - 1\nc: [1, {d: e}, f: g, ]\n" -> {"a": int 1, "b": ["x", {"y": "z", "w": [int 1]}], "c": [int 1, {"d": "e"}, {"f": "g"}]}
            "- - a\n  - b\n-\n  - c\n- \n- d:\n" -> [["a", "b"], ["c"], null, {"d": null}]
            "? a\n: b\n? c\n" -> {"a": "b", "c": null}
            "{a: 1, b, c: , ? d : e, 'f': g, h:i}" -> {"a": int 1, "b": null, "c": null, "d": "e", "f": "g", "h:i": null}
            "{a:1}" -> {"a:1": null}
            "[a, [], {}]" -> ["a", [], {}]
            "a: {b:\n c}\n" -> {"a": {"b": "c"}}
            "a:   # comment\n  - b # comment\n# comment\n" -> {"a": ["b"]}
            "--- a\n...\n" -> "a"
            "%YAML 1.2\n---\na\n" -> "a"
            "\u{feff}a: b" -> {"a": "b"}
            "a#b: c #d" -> {"a#b": "c"}
            "- a: 1\n  b: 2\n- &x\n- !!str\n" -> [{"a": int 1, "b": int 2}, null, ""]
        "##]],
    );
}

#[test]
fn texts_over_lines_are_folded() {
    check(
        &[
            "a: one\n  two\n\n  three",
            "'one\n  two\n\n\n  it''s'",
            "\"one\\\n   two \\x41\\u00e9\\t\\\n\\\n three  \n four\"",
            "|\n  one\n   two\n\n  three\n\n",
            "|-\n one\n\n",
            "|+\n one\n\n",
            ">\n one\n two\n\n three\n  four\n five\n",
            "|2\n   one\n",
            ">1-\n  one\n  two",
            "a: |\n  one\nb: |\n",
            "a: |\n\n\n  one\n",
            "one\r\ntwo\rthree",
        ],
        expect![[r#"
            "a: one\n  two\n\n  three" -> {"a": "one two\nthree"}
            "'one\n  two\n\n\n  it''s'" -> "one two\n\nit's"
            "\"one\\\n   two \\x41\\u00e9\\t\\\n\\\n three  \n four\"" -> "onetwo Aé\tthree four"
            "|\n  one\n   two\n\n  three\n\n" -> "one\n two\n\nthree\n"
            "|-\n one\n\n" -> "one"
            "|+\n one\n\n" -> "one\n\n"
            ">\n one\n two\n\n three\n  four\n five\n" -> "one two\nthree\n four\nfive\n"
            "|2\n   one\n" -> " one\n"
            ">1-\n  one\n  two" -> " one\n two"
            "a: |\n  one\nb: |\n" -> {"a": "one\n", "b": ""}
            "a: |\n\n\n  one\n" -> {"a": "\n\none\n"}
            "one\r\ntwo\rthree" -> "one two three"
        "#]],
    );
}

#[test]
fn anchors_merges_and_repeated_keys() {
    check(
        &[
            "- &a [1]\n- *a\n- *a",
            "- &a {x: 1, y: 2}\n- {<<: *a, y: 3, z: 4}",
            "- &a {x: 1}\n- &b {x: 2, y: 2}\n- {<<: [*a, *b]}\n- {<<: *a, <<: *b}",
            "{'<<': 1, x: 2}",
            "{<<: 5}",
            "{a: 1, a: 2}",
            "{1: a, true: b, 1.0: c, '1': d}",
            "{=: 1}",
            "{[a]: b}",
            "*a",
            "- &a [*a]",
            "- &a 1\n- &a 2",
            "&a-b_1 x",
        ],
        expect![[r#"
            "- &a [1]\n- *a\n- *a" -> [[int 1], [int 1], [int 1]]
            "- &a {x: 1, y: 2}\n- {<<: *a, y: 3, z: 4}" -> [{"x": int 1, "y": int 2}, {"x": int 1, "y": int 3, "z": int 4}]
            "- &a {x: 1}\n- &b {x: 2, y: 2}\n- {<<: [*a, *b]}\n- {<<: *a, <<: *b}" -> [{"x": int 1}, {"x": int 2, "y": int 2}, {"x": int 1, "y": int 2}, {"x": int 2, "y": int 2}]
            "{'<<': 1, x: 2}" -> {"<<": int 1, "x": int 2}
            "{<<: 5}" -> 1:6 only maps can be merged with `<<`
            "{a: 1, a: 2}" -> {"a": int 2} (!1:8)
            "{1: a, true: b, 1.0: c, '1': d}" -> {int 1: "c", "1": "d"} (!1:8) (!1:17)
            "{=: 1}" -> {"=": int 1}
            "{[a]: b}" -> 1:2 a list or a map cannot be a key
            "*a" -> 1:1 there is no anchor `&a` before this alias
            "- &a [*a]" -> 1:7 `*a` stands inside of what it names
            "- &a 1\n- &a 2" -> 2:3 there is an anchor `&a` already
            "&a-b_1 x" -> "x"
        "#]],
    );
}

#[test]
fn mistakes_are_where_they_are() {
    check(
        &[
            "a: b: c",
            "a:\n\tb: c",
            "a: b\tc",
            "a\n b: c",
            "a: 1\nb\nc: 2",
            "a: 1\n b: 2",
            "  a: 1\nb: 2",
            "- a\nb: c",
            "a: - b",
            "a: [b\nc: d",
            "a: b]",
            "a: {b: c",
            "a: }",
            "a: 'b\nc: d",
            "a: \"b\n--- \"",
            "\"\\q\"",
            "\"\\xZZ\"",
            "\"\\ud800\"",
            "a: @b",
            "a: `b`",
            "a: %b",
            "a: |x\n b",
            "a: |0\n b",
            "a: *\n",
            "a: &b!\n",
            "a: !<b\n",
            "a: !b,\tc",
            "%FOO\na",
            "%YAML 2.0\n---\na",
            "%YAML 1.1\n%YAML 1.1\n---\na",
            "a\n---\nb",
            "...",
            "a: \u{7}",
            "? a : b\n: - c\n  d",
            "[a b: c, ? d e]",
            "[a?b]",
            "{a b",
        ],
        expect![[r#"
            "a: b: c" -> 1:5 a `:` cannot stand here
            "a:\n\tb: c" -> 2:1 a tab cannot stand here
            "a: b\tc" -> 1:5 a tab cannot stand here
            "a\n b: c" -> 2:3 a `:` cannot stand here
            "a: 1\nb\nc: 2" -> 3:1 a `:` is missing
            "a: 1\n b: 2" -> 2:3 a `:` cannot stand here
            "  a: 1\nb: 2" -> 2:1 a map stands outside of the document
            "- a\nb: c" -> 2:1 a key cannot stand here
            "a: - b" -> 1:4 a `-` item cannot stand here
            "a: [b\nc: d" -> 2:2 `,` or `]` is expected here, not `:`
            "a: b]" -> {"a": "b]"}
            "a: {b: c" -> 1:9 `,` or `}` is expected here, not the end of the file
            "a: }" -> 1:4 a value is expected here, not `}`
            "a: 'b\nc: d" -> 2:5 the file ends inside a quoted text
            "a: \"b\n--- \"" -> 2:1 a document marker stands inside a quoted text
            "\"\\q\"" -> 1:3 `\q` means nothing in double quotes
            "\"\\xZZ\"" -> 1:4 2 hexadecimal digits are expected here
            "\"\\ud800\"" -> 1:4 there is no such character
            "a: @b" -> 1:4 a value cannot begin with `@`
            "a: `b`" -> 1:4 a value cannot begin with ```
            "a: %b" -> 1:4 a value cannot begin with `%`
            "a: |x\n b" -> 1:5 only a comment can stand after `|` or `>`
            "a: |0\n b" -> 1:5 a block is indented by 1 to 9 columns, not 0
            "a: *\n" -> 1:5 the name of an alias (`*`) is letters, digits, `-` and `_`
            "a: &b!\n" -> 1:6 the name of an anchor (`&`) is letters, digits, `-` and `_`
            "a: !<b\n" -> 1:7 a tag that begins with `!<` ends with `>`
            "a: !b,\tc" -> 1:7 a space is expected after a tag
            "%FOO\na" -> 2:1 a text stands outside of the document
            "%YAML 2.0\n---\na" -> 1:1 only version 1 of YAML is understood
            "%YAML 1.1\n%YAML 1.1\n---\na" -> 2:1 a second `%YAML` directive
            "a\n---\nb" -> 2:1 a second document begins here
            "..." -> 1:1 a value is expected here, not `...`
            "a: \u{7}" -> 1:4 the character U+0007 cannot stand in a YAML file
            "? a : b\n: - c\n  d" -> 3:4 a `:` is missing
            "[a b: c, ? d e]" -> [{"a b": "c"}, {"d e": null}]
            "[a?b]" -> 1:3 `,` or `]` is expected here, not a key
            "{a b" -> 1:5 `,` or `}` is expected here, not the end of the file
        "#]],
    );
}

#[test]
fn the_limits_hold() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(read(&nested(limits::MAX_DEPTH)).is_ok());
    let many = |count: usize| "- x\n".repeat(count);
    // The list itself counts.
    assert!(read(&many(limits::MAX_NODES - 1)).is_ok());

    let mut bomb = "- &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut merges = "- &a0 {x: 1}\n".to_owned();
    let mut deep = "- &a0 [x]\n".to_owned();
    for level in 1..100 {
        let before = level - 1;
        bomb += &format!(
            "- &a{level} [{}]\n",
            vec![format!("*a{before}"); 10].join(", ")
        );
        merges += &format!("- &a{level} {{<<: [*a{before}, *a{before}, *a{before}]}}\n");
        deep += &format!("- &a{level} [*a{before}]\n");
    }
    for (name, text) in [
        ("nesting", nested(limits::MAX_DEPTH + 1)),
        ("nesting without an end", "{".repeat(1 << 20)),
        ("nesting of items", "- ".repeat(1 << 19)),
        ("values", many(limits::MAX_NODES)),
        ("aliases", bomb),
        ("merges", merges),
        ("nesting of aliases", deep),
    ] {
        let answer = answer(&text);
        assert!(answer.ends_with("which is the limit"), "{name}: {answer}");
    }
}
