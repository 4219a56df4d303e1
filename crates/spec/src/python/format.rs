//! `str.format_map`: templates with `{name}`, conversions and format specifications.
//!
//! Not taken, because no template of the format needs them: attributes and items of a value (`{v.real}`, `{v[0]}`) and
//! the date codes of `strftime`. They are refused, never passed on silently.

use thiserror::Error;

use crate::python::format_spec::format_value;
use crate::python::text::{ascii, repr, str};
use crate::value::Value;

/// Why a template could not be filled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The template itself is malformed, or its specification does not fit the value: Python's `ValueError`.
    #[error("{0}")]
    Malformed(String),
    /// The template names a placeholder that does not exist: Python's `KeyError`.
    #[error("`{{{0}}}` is not a known placeholder")]
    Unknown(String),
    /// Anything else that Python refuses, or that is not supported here.
    #[error("{0}")]
    Refused(String),
}

/// How deep a specification may contain placeholders: `{v:{width}}` is allowed, one more is not.
const MAX_NESTING: u8 = 2;

/// Fills the template: each `{name}` becomes what `lookup` gives, converted and formatted as the template says.
pub fn format_template<'a>(
    template: &str,
    lookup: &dyn Fn(&str) -> Option<&'a Value>,
) -> Result<String, FormatError> {
    fill(template, lookup, MAX_NESTING)
}

fn fill<'a>(
    template: &str,
    lookup: &dyn Fn(&str) -> Option<&'a Value>,
    nesting: u8,
) -> Result<String, FormatError> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
        } else if brace == "}" || rest.is_empty() {
            return Err(malformed(&format!("single `{brace}` in the template")));
        } else {
            let (field, after) = Field::read(rest)?;
            out.push_str(&field.fill(lookup, nesting)?);
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn malformed(message: &str) -> FormatError {
    FormatError::Malformed(message.to_owned())
}

/// What stands between two braces.
struct Field<'t> {
    name: &'t str,
    conversion: Option<char>,
    spec: &'t str,
}

impl<'t> Field<'t> {
    /// Reads a field from after its opening brace, and gives what follows its closing one.
    fn read(text: &'t str) -> Result<(Self, &'t str), FormatError> {
        let end = Self::end_of_name(text)?;
        let (name, mut rest) = text.split_at(end);
        let mut field = Self {
            name,
            conversion: None,
            spec: "",
        };
        if let Some(after) = rest.strip_prefix('!') {
            let mut chars = after.chars();
            let conversion = chars
                .next()
                .ok_or_else(|| malformed("no conversion after `!`"))?;
            field.conversion = Some(conversion);
            rest = chars.as_str();
            if !rest.is_empty() && !rest.starts_with([':', '}']) {
                return Err(malformed("expected `:` after the conversion"));
            }
        }
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((field, after));
        }
        let spec = rest.strip_prefix(':').unwrap_or(rest);
        let mut open = 1_usize;
        for (at, brace) in spec.match_indices(['{', '}']) {
            open = if brace == "{" { open + 1 } else { open - 1 };
            if open == 0 {
                field.spec = &spec[..at];
                return Ok((field, &spec[at + 1..]));
            }
        }
        Err(malformed("`{` is never closed"))
    }

    /// Where the name ends: at `!`, `:` or `}`, but not inside `[…]`.
    fn end_of_name(text: &str) -> Result<usize, FormatError> {
        let mut in_brackets = false;
        for (at, char) in text.char_indices() {
            match char {
                ']' if in_brackets => in_brackets = false,
                _ if in_brackets => {}
                '[' => in_brackets = true,
                '{' => return Err(malformed("unexpected `{` in a placeholder")),
                '!' | ':' | '}' => return Ok(at),
                _ => {}
            }
        }
        Err(malformed("`{` is never closed"))
    }

    fn fill<'a>(
        &self,
        lookup: &dyn Fn(&str) -> Option<&'a Value>,
        nesting: u8,
    ) -> Result<String, FormatError> {
        let end = self.name.find(['.', '[']).unwrap_or(self.name.len());
        let (first, access) = self.name.split_at(end);
        if first.chars().all(|char| char.is_ascii_digit()) {
            return Err(malformed("placeholders have names, not numbers"));
        }
        let value = lookup(first).ok_or_else(|| FormatError::Unknown(first.to_owned()))?;
        if !access.is_empty() {
            let message = format!("`{{{}}}`: parts of a value cannot be taken", self.name);
            return Err(FormatError::Refused(message));
        }
        let converted = match self.conversion {
            None => None,
            Some('r') => Some(repr(value)),
            Some('s') => Some(str(value)),
            Some('a') => Some(ascii(value)),
            Some(other) => return Err(malformed(&format!("unknown conversion `!{other}`"))),
        };
        if self.spec.is_empty() {
            return Ok(converted.unwrap_or_else(|| str(value)));
        }
        if nesting <= 1 && self.spec.contains('{') {
            return Err(malformed("placeholders are nested too deep"));
        }
        let spec = if self.spec.contains(['{', '}']) {
            fill(self.spec, lookup, nesting - 1)?
        } else {
            self.spec.to_owned()
        };
        match converted {
            Some(text) => format_value(&Value::Str(text), &spec),
            None => format_value(value, &spec),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fill_with(template: &str, value: &Value) -> Result<String, FormatError> {
        let name = Value::Str("lr".to_owned());
        let lookup = |key: &str| match key {
            "name" => Some(&name),
            "value" | "v" => Some(value),
            _ => None,
        };
        format_template(template, &lookup)
    }

    #[test]
    fn templates_are_filled_as_pythons() {
        let half = Value::Float(0.5);
        let table = [
            ("--{name}={value}", "--lr=0.5"),
            ("{{v}}", "{v}"),
            ("{{{v}}}", "{0.5}"),
            ("{v!r}/{name!r}/{name!s}/{name!a}", "0.5/'lr'/lr/'lr'"),
            ("{v:.3f}", "0.500"),
            ("{name:>5}|", "   lr|"),
            ("{v!r:>6}", "   0.5"),
            ("plain", "plain"),
            ("", ""),
        ];
        for (template, expected) in table {
            assert_eq!(fill_with(template, &half).unwrap(), expected, "{template}");
        }
        assert_eq!(fill_with("{name:{v}}|", &Value::Int(4)).unwrap(), "lr  |");
    }

    #[test]
    fn bad_templates_say_why() {
        let one = Value::Int(1);
        let is_malformed = [
            "{",
            "}",
            "{0}",
            "{}",
            "{v",
            "{v!}",
            "{v!x}",
            "{v!rr}",
            "{v:{v:{v}}}",
            "{v{v}}",
            "{v:.f}",
            "{v:q}",
        ];
        for template in is_malformed {
            let error = fill_with(template, &one).unwrap_err();
            assert!(
                matches!(error, FormatError::Malformed(_)),
                "{template}: {error:?}"
            );
        }
        assert_eq!(
            fill_with("{val}", &one),
            Err(FormatError::Unknown("val".to_owned()))
        );
        assert_eq!(
            fill_with("{v }", &one),
            Err(FormatError::Unknown("v ".to_owned()))
        );
        assert!(matches!(
            fill_with("{v.real}", &one),
            Err(FormatError::Refused(_))
        ));
        assert!(matches!(
            fill_with("{v[0]}", &one),
            Err(FormatError::Refused(_))
        ));
    }
}
