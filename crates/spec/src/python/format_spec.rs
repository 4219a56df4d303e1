//! The mini language after the colon of a placeholder: `[[fill]align][sign][z][#][0][width][,_][.precision][type]`.

use crate::python::format::FormatError;
use crate::python::number::{float_repr, positional, scientific};
use crate::python::text::str;
use crate::value::Value;

/// Widths and precisions beyond this are refused: a template must not be able to fill the memory.
const MAX_SIZE: usize = 4096;

/// `format(value, spec)` for a specification that is not empty.
pub(super) fn format_value(value: &Value, spec: &str) -> Result<String, FormatError> {
    match value {
        _ if spec.is_empty() => Ok(str(value)),
        Value::Str(text) => format_text(text, &Spec::read(spec, '<')?),
        Value::Bool(bool) => format_int(i128::from(*bool), &Spec::read(spec, '>')?),
        Value::Int(int) => format_int(*int, &Spec::read(spec, '>')?),
        Value::Float(float) => format_float(*float, &Spec::read(spec, '>')?),
        Value::None | Value::Date(_) | Value::List(_) | Value::Map(_) => Err(FormatError::Refused(
            format!("{} cannot be formatted with `{spec}`", value.kind()),
        )),
    }
}

/// A specification, taken apart.
struct Spec {
    fill: char,
    /// `<`, `>`, `^` or `=`.
    align: char,
    sign: Option<char>,
    no_negative_zero: bool,
    alternate: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn malformed(message: String) -> FormatError {
    FormatError::Malformed(message)
}

impl Spec {
    fn read(text: &str, default_align: char) -> Result<Self, FormatError> {
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        let mut take = |wanted: &dyn Fn(char) -> bool| {
            let found = chars.get(at).copied().filter(|char| wanted(*char));
            at += usize::from(found.is_some());
            found
        };
        let is_align = |char: char| matches!(char, '<' | '>' | '^' | '=');
        let given_fill = if chars.get(1).copied().is_some_and(is_align) {
            take(&|_| true)
        } else {
            None
        };
        let given_align = take(&is_align);
        let sign = take(&|char| matches!(char, ' ' | '+' | '-'));
        let no_negative_zero = take(&|char| char == 'z').is_some();
        let alternate = take(&|char| char == '#').is_some();
        let zero = if given_fill.is_none() {
            take(&|char| char == '0')
        } else {
            None
        };
        let pads_digits = zero.is_some() && given_align.is_none() && default_align == '>';
        let mut number = || -> Result<Option<usize>, FormatError> {
            let mut digits = String::new();
            while let Some(digit) = take(&|char| char.is_ascii_digit()) {
                digits.push(digit);
            }
            match digits.parse() {
                _ if digits.is_empty() => Ok(None),
                Ok(number) if number <= MAX_SIZE => Ok(Some(number)),
                _ => Err(malformed(format!(
                    "`{digits}` is too large for a width or a precision"
                ))),
            }
        };
        let width = number()?.unwrap_or(0);
        let grouping = chars
            .get(at)
            .copied()
            .filter(|char| matches!(char, ',' | '_'));
        at += usize::from(grouping.is_some());
        let mut precision = None;
        if chars.get(at) == Some(&'.') {
            let digits: String = chars[at + 1..]
                .iter()
                .take_while(|char| char.is_ascii_digit())
                .collect();
            at += 1 + digits.len();
            precision = match digits.parse::<usize>() {
                Ok(number) if number <= MAX_SIZE => Some(number),
                _ => {
                    return Err(malformed(format!(
                        "`{text}` has no good precision after the dot"
                    )));
                }
            };
        }
        let kind = chars.get(at).copied();
        if chars.len() > at + 1 {
            return Err(malformed(format!("`{text}` is not a format specification")));
        }
        let spec = Self {
            fill: given_fill.or(zero).unwrap_or(' '),
            align: given_align.unwrap_or(if pads_digits { '=' } else { default_align }),
            sign,
            no_negative_zero,
            alternate,
            width,
            grouping,
            precision,
            kind,
        };
        spec.check_grouping(default_align)?;
        Ok(spec)
    }

    /// Which kinds may be grouped depends on the separator.
    fn check_grouping(&self, default_align: char) -> Result<(), FormatError> {
        let Some(separator) = self.grouping else {
            return Ok(());
        };
        let fits = match self.kind {
            None => default_align == '>',
            Some('b' | 'o' | 'x' | 'X') => separator == '_',
            Some(kind) => "deEfFgG%".contains(kind),
        };
        if fits {
            return Ok(());
        }
        Err(malformed(format!(
            "`{separator}` cannot group digits with `{}`",
            self.kind.unwrap_or('s')
        )))
    }

    /// Pads a text that is not a number.
    fn pad(&self, text: &str) -> String {
        let padding = self.width.saturating_sub(text.chars().count());
        let left = match self.align {
            '<' => 0,
            '^' => padding / 2,
            _ => padding,
        };
        let fill = |count: usize| self.fill.to_string().repeat(count);
        format!("{}{text}{}", fill(left), fill(padding - left))
    }
}

fn format_text(text: &str, spec: &Spec) -> Result<String, FormatError> {
    let refuse = |what: &str| {
        Err(malformed(format!(
            "{what} is for numbers, and the value is a string"
        )))
    };
    match spec.kind {
        None | Some('s') => {}
        Some(kind) => return refuse(&format!("the format code `{kind}`")),
    }
    if spec.sign.is_some() || spec.no_negative_zero {
        return refuse("a sign");
    }
    if spec.alternate {
        return refuse("the alternate form `#`");
    }
    if spec.align == '=' {
        return refuse("the alignment `=`");
    }
    let cut: String = text
        .chars()
        .take(spec.precision.unwrap_or(usize::MAX))
        .collect();
    Ok(spec.pad(&cut))
}

fn format_int(int: i128, spec: &Spec) -> Result<String, FormatError> {
    let kind = spec.kind.unwrap_or('d');
    if "eEfFgG%".contains(kind) {
        return format_float(int as f64, spec);
    }
    if spec.precision.is_some() {
        return Err(malformed("a precision is not for whole numbers".to_owned()));
    }
    if spec.no_negative_zero {
        return Err(malformed("`z` is not for whole numbers".to_owned()));
    }
    let magnitude = int.unsigned_abs();
    let (prefix, digits, group) = match kind {
        'd' | 'n' => ("", magnitude.to_string(), 3),
        'b' => ("0b", format!("{magnitude:b}"), 4),
        'o' => ("0o", format!("{magnitude:o}"), 4),
        'x' => ("0x", format!("{magnitude:x}"), 4),
        'X' => ("0X", format!("{magnitude:X}"), 4),
        'c' => return format_character(int, spec),
        other => {
            return Err(malformed(format!(
                "unknown format code `{other}` for a whole number"
            )));
        }
    };
    let number = Digits {
        negative: int < 0,
        prefix: if spec.alternate { prefix } else { "" },
        digits,
        rest: String::new(),
    };
    Ok(number.lay_out(spec, group))
}

fn format_character(int: i128, spec: &Spec) -> Result<String, FormatError> {
    if spec.sign.is_some() || spec.alternate {
        return Err(malformed(
            "neither a sign nor `#` is for the format code `c`".to_owned(),
        ));
    }
    let char = u32::try_from(int).ok().and_then(char::from_u32);
    match char {
        Some(char) => Ok(spec.pad(&char.to_string())),
        None => Err(FormatError::Refused(format!(
            "{int} is not the number of a character"
        ))),
    }
}

fn format_float(float: f64, spec: &Spec) -> Result<String, FormatError> {
    let (body, suffix) = match (spec.kind, spec.precision) {
        (None, None) => (default_body(float, spec), ""),
        (None, Some(precision)) => (general(float, precision, spec.alternate, true), ""),
        (Some('%'), precision) => (
            fixed(float * 100.0, precision.unwrap_or(6), spec.alternate),
            "%",
        ),
        (Some('f' | 'F'), precision) => (fixed(float, precision.unwrap_or(6), spec.alternate), ""),
        (Some('e' | 'E'), precision) => (
            exponential(float, precision.unwrap_or(6), spec.alternate),
            "",
        ),
        (Some('g' | 'G' | 'n'), precision) => (
            general(float, precision.unwrap_or(6), spec.alternate, false),
            "",
        ),
        (Some(other), _) => {
            return Err(malformed(format!(
                "unknown format code `{other}` for a number"
            )));
        }
    };
    let body = if spec.kind.is_some_and(|kind| "EFG".contains(kind)) {
        body.to_uppercase()
    } else {
        body
    };
    let is_zero = body
        .chars()
        .take_while(|char| !matches!(char, 'e' | 'E'))
        .all(|char| matches!(char, '0' | '.'));
    let negative =
        float.is_sign_negative() && !float.is_nan() && !(spec.no_negative_zero && is_zero);
    let end = body
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(body.len());
    let (digits, rest) = body.split_at(end);
    let number = Digits {
        negative,
        prefix: "",
        digits: digits.to_owned(),
        rest: format!("{rest}{suffix}"),
    };
    Ok(number.lay_out(spec, 3))
}

/// The text of a float without its sign when nothing is asked for.
fn default_body(float: f64, spec: &Spec) -> String {
    let body = float_repr(float.abs());
    let needs_dot = spec.alternate && float.is_finite() && !body.contains('.');
    if needs_dot {
        body.replacen('e', ".e", 1)
    } else {
        body
    }
}

/// `f`: so many digits after the dot.
fn fixed(float: f64, precision: usize, alternate: bool) -> String {
    if !float.is_finite() {
        return float_repr(float.abs());
    }
    let dot = if alternate && precision == 0 { "." } else { "" };
    format!("{:.precision$}{dot}", float.abs())
}

/// The digits, one before the dot and `precision` after it, and the exponent.
fn rounded_digits(float: f64, precision: usize) -> (String, i32) {
    let text = format!("{:.precision$e}", float.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (
        mantissa.replace('.', ""),
        exponent.parse().unwrap_or_default(),
    )
}

/// `e`: one digit before the dot, so many after it.
fn exponential(float: f64, precision: usize, alternate: bool) -> String {
    if !float.is_finite() {
        return float_repr(float.abs());
    }
    let (digits, exponent) = rounded_digits(float, precision);
    let text = scientific(&digits, exponent, 'e');
    if alternate && precision == 0 {
        text.replacen('e', ".e", 1)
    } else {
        text
    }
}

/// `g`: so many significant digits, in whichever notation is shorter. With `keep_dot` (no format code, only a
/// precision) a whole number keeps one zero after the dot.
fn general(float: f64, precision: usize, alternate: bool, keep_dot: bool) -> String {
    if !float.is_finite() {
        return float_repr(float.abs());
    }
    let precision = precision.max(1);
    let (mut digits, exponent) = rounded_digits(float, precision - 1);
    if !alternate {
        let significant = digits.trim_end_matches('0').len().max(1);
        digits.truncate(significant);
    }
    let limit = precision as i32 - i32::from(keep_dot);
    if !(-4..limit).contains(&exponent) {
        let text = scientific(&digits, exponent, 'e');
        return if alternate && digits.len() == 1 {
            text.replacen('e', ".e", 1)
        } else {
            text
        };
    }
    let text = positional(&digits, exponent);
    match text.contains('.') {
        true => text,
        false if keep_dot => text + ".0",
        false if alternate => text + ".",
        false => text,
    }
}

/// A number in pieces, before it is padded and grouped.
struct Digits<'p> {
    negative: bool,
    prefix: &'p str,
    /// What is grouped.
    digits: String,
    /// Dot, fraction, exponent, percent sign; or `inf` and `nan`.
    rest: String,
}

impl Digits<'_> {
    fn lay_out(&self, spec: &Spec, group: usize) -> String {
        let sign = match (self.negative, spec.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            (false, _) => "",
        };
        let others = sign.len() + self.prefix.len() + self.rest.len();
        let pads_with_digits = spec.fill == '0' && spec.align == '=';
        let least = if pads_with_digits {
            spec.width.saturating_sub(others)
        } else {
            0
        };
        let digits = group_digits(&self.digits, spec.grouping, group, least);
        let body = format!("{digits}{}", self.rest);
        if spec.align == '=' {
            let padding = spec
                .width
                .saturating_sub(sign.len() + self.prefix.len() + body.len());
            return format!(
                "{sign}{}{}{body}",
                self.prefix,
                spec.fill.to_string().repeat(padding)
            );
        }
        spec.pad(&format!("{sign}{}{body}", self.prefix))
    }
}

/// The digits with a separator between groups, filled with zeros up to `least` characters. A separator never leads, so
/// the result may be one longer.
fn group_digits(digits: &str, separator: Option<char>, group: usize, least: usize) -> String {
    let Some(separator) = separator else {
        return format!("{digits:0>least$}");
    };
    let mut reversed = String::new();
    let mut remaining = digits.bytes().rev().map(char::from).peekable();
    let mut since_separator = 0;
    while remaining.peek().is_some() || reversed.len() < least {
        if since_separator == group {
            reversed.push(separator);
            since_separator = 0;
        }
        reversed.push(remaining.next().unwrap_or('0'));
        since_separator += 1;
    }
    reversed.chars().rev().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_as_pythons() {
        let int = Value::Int;
        let float = Value::Float;
        let table = [
            (int(1234567), ",", "1,234,567"),
            (int(1234567), "_", "1_234_567"),
            (int(255), "#x", "0xff"),
            (int(255), "#010x", "0x000000ff"),
            (int(-255), "b", "-11111111"),
            (int(255), "_b", "1111_1111"),
            (int(8), "o", "10"),
            (int(5), "+d", "+5"),
            (int(5), " d", " 5"),
            (int(-5), "06", "-00005"),
            (int(1234), "010,", "00,001,234"),
            (int(1234), "09,", "0,001,234"),
            (int(5), "*^7", "***5***"),
            (int(5), "*=+7", "+*****5"),
            (int(5), "<4", "5   "),
            (int(97), "c", "a"),
            (int(3), ".2f", "3.00"),
            (int(1), "%", "100.000000%"),
            (Value::Bool(true), "5", "    1"),
            (float(9.87654), ".3f", "9.877"),
            (float(0.25), ".1f", "0.2"),
            (float(2.5), ".0f", "2"),
            (float(2.5), "#.0f", "2."),
            (float(1e-5), "e", "1.000000e-05"),
            (float(12345.678), ".2e", "1.23e+04"),
            (float(12345.678), "g", "12345.7"),
            (float(1234567.0), "g", "1.23457e+06"),
            (float(0.0001), "g", "0.0001"),
            (float(1.0), ".3", "1.0"),
            (float(1000.0), ".3", "1e+03"),
            (float(100.0), ".3", "1e+02"),
            (float(1.0), "", "1.0"),
            (float(1.0), "8", "     1.0"),
            (float(1234567.5), ",", "1,234,567.5"),
            (float(0.125), ".1%", "12.5%"),
            (float(-0.0), "z.1f", "0.0"),
            (float(-0.001), ".1f", "-0.0"),
            (float(-0.001), "z.1f", "0.0"),
            (float(f64::INFINITY), "06", "000inf"),
            (float(f64::NAN), "F", "NAN"),
            (float(1.5), "n", "1.5"),
        ];
        for (value, spec, expected) in table {
            assert_eq!(
                format_value(&value, spec).unwrap(),
                expected,
                "{value:?} with {spec}"
            );
        }
    }

    #[test]
    fn text_is_padded_and_cut() {
        let value = Value::Str("héllo".to_owned());
        let table = [
            (">8", "   héllo"),
            ("^8", " héllo  "),
            (".2", "hé"),
            ("-<7s", "héllo--"),
            ("010", "héllo00000"),
        ];
        for (spec, expected) in table {
            assert_eq!(format_value(&value, spec).unwrap(), expected, "{spec}");
        }
        for spec in ["d", "+", "=8", ",", "#", "z", ".f", "9999999999999"] {
            assert!(
                matches!(format_value(&value, spec), Err(FormatError::Malformed(_))),
                "{spec}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (value, spec) in [
            (Value::Int(1), ".2"),
            (Value::Int(1), "s"),
            (Value::Int(1), ",x"),
            (Value::Int(1), "q"),
            (Value::Float(1.0), "d"),
            (Value::Float(1.0), "x"),
        ] {
            assert!(
                matches!(format_value(&value, spec), Err(FormatError::Malformed(_))),
                "{value:?} {spec}"
            );
        }
        for value in [
            Value::None,
            Value::List(vec![]),
            Value::Date("2020-01-01".into()),
        ] {
            assert!(
                matches!(format_value(&value, ">3"), Err(FormatError::Refused(_))),
                "{value:?}"
            );
        }
    }
}
