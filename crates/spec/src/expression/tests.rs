//! The language as a table: what is read, what is refused and where, what holds.

#![allow(clippy::unwrap_used)]

use super::*;

/// A universe of a few names.
fn universe(name: &str) -> Option<Value> {
    Some(match name {
        "a" => Value::Int(1),
        "stop" => Value::Int(2),
        "metadata.accuracy" => Value::Str("0.9".to_owned()),
        "metadata.val-loss" => Value::Float(0.25),
        "metadata.name" => Value::Str("resnet".to_owned()),
        "metadata.list" => Value::List(vec![Value::Int(1), Value::Int(2)]),
        "if" => Value::Bool(true),
        "nothing" => Value::None,
        "b" => Value::Int(5),
        _ => return None,
    })
}

fn holds(text: &str) -> Result<bool, EvaluateError> {
    Expression::parse(text).unwrap().holds(&universe)
}

#[test]
fn conditions_hold_or_do_not() {
    let table = [
        ("stop > 1", true),
        ("metadata.accuracy < .8", false),
        ("metadata.accuracy >= 0.9", true),
        ("metadata.val-loss == 0.25", true),
        ("metadata.val-loss<1 and stop", true),
        ("a - 1", false),
        ("b -1 == 4", true),
        ("not b", false),
        ("if", true),
        ("'net' in metadata.name", true),
        ("'x' not in metadata.name", true),
        ("2 in metadata.list", true),
        ("a in (1, 2)", true),
        ("a in {2}", false),
        ("missing is None", true),
        ("missing is not None", false),
        ("not missing", true),
        ("not (missing > 1)", true),
        ("nothing is None", true),
        ("a == True", true),
        ("a is True", false),
        ("1 < 2 or missing", true),
        (
            "min(a, stop) == 1 and max(1.5, a) == 1.5 and abs(-2) == 2",
            true,
        ),
        ("7 // 2 == 3 and -7 // 2 == -4 and 1.0 // 0.1 == 9", true),
        ("1 / 2 == 0.5", true),
        ("'1' + '2' == '12'", true),
        ("'1' + 2 == 3.0", true),
        ("(1, 2) < (1, 3)", true),
        ("{1} < {1, 2}", true),
        ("()", false),
        ("'a' 'b' == 'ab'", true),
        ("'\\x41\\102\\u0043\\d' == 'ABC\\\\d'", true),
        ("a >\\\n 0", true),
        ("(a\n > 0)", true),
        ("a > 0 # always\n", true),
        ("0x10 == 16 and 0b11 == 3 and 1_000 == 1e3", true),
        ("9007199254740993 > 9007199254740992.0", true),
    ];
    for (text, expected) in table {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_does_not_fit_has_no_value() {
    let missing = |name: &str| Err(EvaluateError::NoSuchValue(name.to_owned()));
    assert_eq!(holds("metadata.loss > 1"), missing("metadata.loss"));
    assert_eq!(holds("a == 2 or metadata.loss"), missing("metadata.loss"));
    assert_eq!(holds("top-5 > 1"), missing("top-5"));
    // The word before `a-b` takes part in joining, so after `not` it is a subtraction of two names.
    assert_eq!(holds("not a-b"), Ok(false));
    let invalid = [
        "1 / 0",
        "'x' < 1",
        "None < 1",
        "'2' * 3",
        "-metadata.name",
        "1 in 2",
        "1 in 'a'",
        "abs('x')",
        "abs(1, 2)",
        "min(1)",
        "max(None, 1)",
        "min(1, 'a')",
        "sum(1)",
        "{metadata.list}",
        "metadata.list in {1}",
    ];
    for text in invalid {
        assert!(
            matches!(holds(text), Err(EvaluateError::Invalid(_))),
            "{text}: {:?}",
            holds(text)
        );
    }
}

#[test]
fn the_linter_refuses_with_a_place() {
    let table = [
        ("", 1, 1),
        ("  ", 1, 1),
        (" a", 1, 1),
        ("\n a", 2, 1),
        ("a\nb", 2, 1),
        ("a =  1", 1, 3),
        ("a > 1 > 2", 1, 7),
        ("a % 2", 1, 3),
        ("a ** 2", 1, 3),
        ("~a", 1, 1),
        ("a[0]", 1, 2),
        ("[1]", 1, 1),
        ("{}", 1, 1),
        ("{1: 2}", 1, 3),
        ("{{1}}", 1, 1),
        ("f(x=1)", 1, 4),
        ("f(*x)", 1, 3),
        ("a.b(1)", 1, 1),
        ("f(1)(2)", 1, 1),
        ("'x'.y", 1, 4),
        ("a.None", 1, 3),
        ("x for x in y", 1, 3),
        ("a if b", 1, 3),
        ("1 if a else 2", 1, 3),
        ("(a", 1, 1),
        ("a)", 1, 2),
        ("(a]", 1, 3),
        ("'a", 1, 1),
        ("a > 'x", 1, 5),
        ("b'x'", 1, 1),
        ("f'x'", 1, 1),
        ("1j", 1, 1),
        ("012", 1, 1),
        ("1a", 1, 1),
        ("0or 1", 1, 1),
        ("1_", 1, 1),
        ("-'a'", 1, 1),
        ("-None", 1, 1),
        ("a $ b", 1, 3),
        ("a\\", 1, 2),
        ("a\\\n", 1, 2),
        ("...", 1, 1),
        ("(a := 1)", 1, 4),
        ("'\\x4'", 1, 1),
        ("a+b+c+d+e+f+g+h", 1, 14),
        ("not not not not not not not a", 1, 1),
        ("é > > 1", 1, 5),
    ];
    for (text, line, column) in table {
        let error = check(text).expect_err(text);
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn the_linter_takes_what_the_reference_takes() {
    let table = [
        "a",
        "\na\n",
        "#x\na",
        "a # x",
        "a.b-c > 1",
        "not-a",
        "a-if",
        "x.if",
        "lambda",
        "f()",
        "f(a,)",
        "a,",
        "(a).b",
        "u'x'",
        "r'\\x'",
        "'''a\nb'''",
        "1or 2",
        "1.",
        ".5e3",
        "0_0",
        "a+b+c+d+e+f+g",
        "not not not a",
        "a and b and c and d and e and f and g and h and i",
        "(((((((((((a)))))))))))",
        "a is  not b",
        "a.b.c.d.e.f.g.h.i",
    ];
    for text in table {
        assert_eq!(check(text), Ok(()), "{text:?}");
    }
}

#[test]
fn no_text_is_too_long_or_too_deep_to_refuse() {
    for text in [
        "(".repeat(50_000),
        "-".repeat(50_000),
        "not ".repeat(20_000),
        "a+".repeat(40_000),
        "{".repeat(90_000),
    ] {
        assert!(check(&text).is_err());
    }
    assert!(check(&"a".repeat(MAX_LENGTH + 1)).is_err());
}
