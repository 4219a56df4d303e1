//! Numbers as Python writes them (`repr`) and reads them (`int`, `float`).

use crate::python::text::is_space;

/// The shortest text that reads back as the same float, as `repr` and `str` print it.
///
/// `1.0`, `0.1`, `1e-05`, `1e+16`, `inf`, `nan`.
pub fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let (digits, exponent) = shortest_digits(float.abs());
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let body = if (-4..16).contains(&exponent) {
        let text = positional(&digits, exponent);
        if text.contains('.') {
            text
        } else {
            text + ".0"
        }
    } else {
        scientific(&digits, exponent, 'e')
    };
    format!("{sign}{body}")
}

/// The significant digits of a finite, non-negative float and its decimal exponent: `d.ddd × 10^exponent`.
fn shortest_digits(float: f64) -> (String, i32) {
    let text = format!("{float:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (
        mantissa.replace('.', ""),
        exponent.parse().unwrap_or_default(),
    )
}

/// Digits with the dot where the exponent puts it; without a dot when the number is whole.
pub(crate) fn positional(digits: &str, exponent: i32) -> String {
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return format!("0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{digits}{}", "0".repeat(whole - digits.len()));
    }
    let (before, after) = digits.split_at(whole);
    format!("{before}.{after}")
}

/// Digits in scientific notation, with a sign and at least two digits in the exponent.
pub(crate) fn scientific(digits: &str, exponent: i32, letter: char) -> String {
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let dot = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{first}{dot}{rest}{letter}{sign}{:02}",
        exponent.unsigned_abs()
    )
}

/// What `int(text, 10)` accepts: blanks around, a sign, digits with single underscores between them.
///
/// `None` also for numbers that 128 bits do not hold. Only ASCII digits are read.
pub fn parse_int(text: &str) -> Option<i128> {
    let text = text.trim_matches(is_space);
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    if !is_digits(digits) {
        return None;
    }
    format!("{sign}{}", digits.replace('_', "")).parse().ok()
}

/// What `float(text)` accepts: blanks around, a sign, digits with single underscores between them, a dot, an exponent;
/// or `inf`, `infinity`, `nan` in any case. Only ASCII digits are read.
pub fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_word = ["inf", "infinity", "nan"]
        .iter()
        .any(|word| unsigned.eq_ignore_ascii_case(word));
    if is_word || is_decimal(unsigned) {
        text.replace('_', "").parse().ok()
    } else {
        None
    }
}

/// Whether the text is an unsigned decimal number, perhaps with a dot and an exponent.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let mantissa_is_good = match mantissa.split_once('.') {
        Some(("", after)) => is_digits(after),
        Some((before, "")) => is_digits(before),
        Some((before, after)) => is_digits(before) && is_digits(after),
        None => is_digits(mantissa),
    };
    mantissa_is_good
        && exponent
            .is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Whether the text is one or more groups of digits joined by single underscores.
fn is_digits(text: &str) -> bool {
    text.split('_')
        .all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_pythons() {
        let table = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123456789.125, "123456789.125"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e17, "1.25e+17"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (float, text) in table {
            assert_eq!(float_repr(float), text);
        }
    }

    #[test]
    fn whole_numbers_are_read_as_pythons_int() {
        let table = [
            ("5", Some(5)),
            (" -12\n", Some(-12)),
            ("+7", Some(7)),
            ("1_000", Some(1000)),
            ("007", Some(7)),
            ("-0", Some(0)),
            ("", None),
            ("-", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("1.0", None),
            ("0x10", None),
            ("1e3", None),
            ("- 1", None),
            ("True", None),
        ];
        for (text, int) in table {
            assert_eq!(parse_int(text), int, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_read_as_pythons_float() {
        let table = [
            ("5", Some(5.0)),
            (" 1.5 ", Some(1.5)),
            ("1.", Some(1.0)),
            (".5", Some(0.5)),
            ("-1e-3", Some(-1e-3)),
            ("1_0.2_5e1_0", Some(10.25e10)),
            ("Infinity", Some(f64::INFINITY)),
            ("-INF", Some(f64::NEG_INFINITY)),
            ("1e999", Some(f64::INFINITY)),
            ("", None),
            (".", None),
            ("e5", None),
            ("1e", None),
            ("1e+", None),
            ("1_.5", None),
            ("1._5", None),
            ("--1", None),
            ("infinit", None),
            ("0x10", None),
            ("1,5", None),
        ];
        for (text, float) in table {
            assert_eq!(parse_float(text), float, "{text:?}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
    }
}
