//! What a text means: YAML 1.1's types for plain scalars, and the explicit `!!` ones.

use super::composer::CORE;
use crate::value::Value;

/// What a plain text means.
pub(super) enum Plain {
    /// A value.
    Value(Value),
    /// `<<`, which merges maps where it is a key.
    Merge,
    /// `=`, which is text where it is a key.
    Default,
}

/// Why a text is not of the type that it looks like or that its tag names.
pub(super) type Refusal = String;

/// Resolves a plain text. What looks like nothing else is a string.
///
/// # Errors
/// What looks like a number or a date and is none (`0x_`, `2020-02-30`), or is too large.
pub(super) fn resolve(text: &str) -> Result<Plain, Refusal> {
    Ok(Plain::Value(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::None,
        "<<" => return Ok(Plain::Merge),
        "=" => return Ok(Plain::Default),
        _ => {
            if let Some(bool) = boolean(text) {
                Value::Bool(bool)
            } else if looks_like_float(text) {
                Value::Float(float(text)?)
            } else if looks_like_int(text) {
                Value::Int(int(text)?)
            } else if looks_like_date(text) {
                Value::Date(date(text)?)
            } else {
                Value::Str(text.to_owned())
            }
        }
    }))
}

/// Reads a text as the type that a tag names. `None`: there is no such type for texts.
///
/// # Errors
/// The text is not of that type.
pub(super) fn tagged(tag: &str, text: &str) -> Option<Result<Value, Refusal>> {
    Some(match tag.strip_prefix(CORE)? {
        "str" => Ok(Value::Str(text.to_owned())),
        "null" => Ok(Value::None),
        "bool" => boolean_of_any_case(text)
            .map(Value::Bool)
            .ok_or_else(|| format!("`{text}` is not a boolean")),
        "int" => int(text).map(Value::Int),
        "float" => float(text).map(Value::Float),
        "timestamp" => date(text).map(Value::Date),
        _ => return None,
    })
}

fn boolean(text: &str) -> Option<bool> {
    let mut letters = text.chars();
    letters.next()?;
    let rest = letters.as_str();
    let one_case = text == text.to_ascii_uppercase() || rest == rest.to_ascii_lowercase();
    boolean_of_any_case(text).filter(|_| one_case)
}

fn boolean_of_any_case(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// The text without its sign, and whether there was a minus.
fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_digits(text: &str, allowed: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| allowed.contains(character))
}

fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|character: char| character.is_ascii_digit())
}

const DECIMAL: &str = "0123456789_";

/// `90:30`: all but the first are 0 to 59.
fn is_base_60(digits: &str) -> bool {
    let mut parts = digits.split(':');
    let first = parts.next().unwrap_or_default();
    let mut rest = parts.peekable();
    begins_with_digit(first)
        && is_digits(first, DECIMAL)
        && rest.peek().is_some()
        && rest.all(|part| {
            is_digits(part, "0123456789")
                && (part.len() == 1 || (part.len() == 2 && part.as_bytes()[0] <= b'5'))
        })
}

fn looks_like_int(text: &str) -> bool {
    let (_, digits) = unsigned(text);
    if let Some(binary) = digits.strip_prefix("0b") {
        return is_digits(binary, "01_");
    }
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return is_digits(hexadecimal, "0123456789abcdefABCDEF_");
    }
    match digits.strip_prefix('0') {
        Some("") => true,
        Some(octal) => is_digits(octal, "01234567_"),
        None => begins_with_digit(digits) && (is_digits(digits, DECIMAL) || is_base_60(digits)),
    }
}

/// A dot is needed, and the exponent needs its sign: `1e5` and `1.0e5` are text.
fn looks_like_float(text: &str) -> bool {
    let (_, digits) = unsigned(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, rest)) = digits.split_once('.') else {
        return false;
    };
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(place) => (&rest[..place], Some(&rest[place + 1..])),
        None => (rest, None),
    };
    let fraction_fits = fraction.is_empty() || is_digits(fraction, DECIMAL);
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent.starts_with(['+', '-']) && is_digits(&exponent[1..], "0123456789")
    });
    if whole.is_empty() {
        // Without a sign only.
        return digits == text && begins_with_digit(fraction) && fraction_fits && exponent_fits;
    }
    if whole.contains(':') {
        return is_base_60(whole) && fraction_fits && exponent.is_none();
    }
    begins_with_digit(whole) && is_digits(whole, DECIMAL) && fraction_fits && exponent_fits
}

fn int(text: &str) -> Result<i128, Refusal> {
    let plain = text.replace('_', "");
    let (negative, digits) = unsigned(&plain);
    let magnitude = if let Some(binary) = digits.strip_prefix("0b") {
        i128::from_str_radix(binary, 2).ok()
    } else if let Some(hexadecimal) = digits.strip_prefix("0x") {
        i128::from_str_radix(hexadecimal, 16).ok()
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(digits, 8).ok()
    } else if digits.contains(':') {
        digits.split(':').try_fold(0_i128, |sum, part| {
            sum.checked_mul(60)?.checked_add(part.parse().ok()?)
        })
    } else {
        digits.parse().ok().filter(|_| begins_with_digit(digits))
    };
    match magnitude {
        Some(magnitude) => Ok(if negative { -magnitude } else { magnitude }),
        None if digits.len() > 30 => {
            Err("this number is larger than 128 bits can hold, which is the limit".to_owned())
        }
        None => Err(format!("`{text}` is not a whole number")),
    }
}

fn float(text: &str) -> Result<f64, Refusal> {
    let plain = text.replace('_', "").to_ascii_lowercase();
    let (negative, digits) = unsigned(&plain);
    let magnitude = match digits {
        ".inf" | "inf" | "infinity" => Some(f64::INFINITY),
        ".nan" | "nan" => Some(f64::NAN),
        _ if digits.contains(':') => sum_base_60(digits),
        _ => digits.parse().ok(),
    };
    match magnitude {
        Some(magnitude) => Ok(if negative { -magnitude } else { magnitude }),
        None => Err(format!("`{text}` is not a number")),
    }
}

/// From the last part to the first, as the reference adds them up: it makes a difference to the last bit.
fn sum_base_60(digits: &str) -> Option<f64> {
    let mut base = 1.0;
    let mut sum = 0.0;
    for part in digits.rsplit(':') {
        sum += part.parse::<f64>().ok()? * base;
        base *= 60.0;
    }
    Some(sum)
}

/// A date, or a date and a time, taken apart.
#[derive(Default)]
struct Moment<'a> {
    year: &'a str,
    month: &'a str,
    day: &'a str,
    time: Option<Time<'a>>,
}

#[derive(Default)]
struct Time<'a> {
    hour: &'a str,
    minute: &'a str,
    second: &'a str,
    fraction: &'a str,
    zone: Option<Zone<'a>>,
}

enum Zone<'a> {
    Utc,
    Offset {
        west: bool,
        hours: &'a str,
        minutes: &'a str,
    },
}

/// Takes text apart from its beginning; every method says whether what it looks for was there.
struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    fn digits(&mut self, least: usize, most: usize) -> Option<&'a str> {
        let count = self
            .0
            .bytes()
            .take(most)
            .take_while(u8::is_ascii_digit)
            .count();
        let (digits, rest) = self.0.split_at(count);
        (count >= least).then(|| {
            self.0 = rest;
            digits
        })
    }

    fn eat(&mut self, word: char) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?;
        Some(())
    }

    fn blanks(&mut self) -> usize {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let count = self.0.len() - rest.len();
        self.0 = rest;
        count
    }
}

fn moment(text: &str) -> Option<Moment<'_>> {
    let mut scan = Scan(text);
    let year = scan.digits(4, 4)?;
    scan.eat('-')?;
    let month = scan.digits(1, 2)?;
    scan.eat('-')?;
    let day = scan.digits(1, 2)?;
    if scan.0.is_empty() {
        return Some(Moment {
            year,
            month,
            day,
            time: None,
        });
    }
    if scan.eat('T').or_else(|| scan.eat('t')).is_none() && scan.blanks() == 0 {
        return None;
    }
    let hour = scan.digits(1, 2)?;
    scan.eat(':')?;
    let minute = scan.digits(2, 2)?;
    scan.eat(':')?;
    let second = scan.digits(2, 2)?;
    let fraction = match scan.eat('.') {
        Some(()) => scan.digits(0, usize::MAX)?,
        None => "",
    };
    let mut time = Time {
        hour,
        minute,
        second,
        fraction,
        zone: None,
    };
    if !scan.0.is_empty() {
        scan.blanks();
        time.zone = Some(zone(&mut scan)?);
    }
    scan.0.is_empty().then_some(Moment {
        year,
        month,
        day,
        time: Some(time),
    })
}

fn zone<'a>(scan: &mut Scan<'a>) -> Option<Zone<'a>> {
    if scan.eat('Z').is_some() {
        return Some(Zone::Utc);
    }
    let west = scan.eat('-').is_some();
    if !west {
        scan.eat('+')?;
    }
    let hours = scan.digits(1, 2)?;
    let minutes = match scan.eat(':') {
        Some(()) => scan.digits(2, 2)?,
        None => "0",
    };
    Some(Zone::Offset {
        west,
        hours,
        minutes,
    })
}

/// A date alone is only one with all its digits: `2020-9-2` is text.
fn looks_like_date(text: &str) -> bool {
    moment(text).is_some_and(|moment| moment.time.is_some() || text.len() == "2020-09-02".len())
}

/// The date as Python prints it.
fn date(text: &str) -> Result<String, Refusal> {
    moment(text)
        .and_then(|moment| print(&moment))
        .ok_or_else(|| format!("`{text}` is not a date of the calendar"))
}

fn print(moment: &Moment<'_>) -> Option<String> {
    let number = |digits: &str| digits.parse::<u32>().ok();
    let (year, month, day) = (
        number(moment.year)?,
        number(moment.month)?,
        number(moment.day)?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || day == 0 || day > days {
        return None;
    }
    let mut printed = format!("{year:04}-{month:02}-{day:02}");
    let Some(time) = &moment.time else {
        return Some(printed);
    };
    let (hour, minute, second) = (
        number(time.hour)?,
        number(time.minute)?,
        number(time.second)?,
    );
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    printed += &format!(" {hour:02}:{minute:02}:{second:02}");
    let microseconds = format!("{:0<6}", &time.fraction[..time.fraction.len().min(6)]);
    if microseconds != "000000" {
        printed += &format!(".{microseconds}");
    }
    match &time.zone {
        None => {}
        Some(Zone::Utc) => printed += "+00:00",
        Some(Zone::Offset {
            west,
            hours,
            minutes,
        }) => {
            let minutes = number(hours)? * 60 + number(minutes)?;
            if minutes >= 24 * 60 {
                return None;
            }
            let sign = if *west && minutes > 0 { '-' } else { '+' };
            printed += &format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        }
    }
    Some(printed)
}
