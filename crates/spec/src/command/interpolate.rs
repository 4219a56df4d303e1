//! Placeholders in commands and in the URIs of inputs.

use crate::command::{CommandError, Values, format_arguments};
use crate::model::Parameter;
use crate::nearest::nearest;
use crate::python::{quote, quote_all, str};
use crate::value::Value;

/// What placeholders stand for.
pub(super) struct Scope<'s> {
    /// In the order in which they are passed.
    pub(super) parameters: Vec<&'s Parameter>,
    /// Absent or [`Value::None`]: nothing is passed.
    pub(super) values: Values,
    /// What `{source-path}` is.
    pub(super) source_path: Option<&'s str>,
}

impl Scope<'_> {
    fn arguments_of(&self, parameter: &Parameter) -> Result<Vec<String>, CommandError> {
        match self.values.get(&parameter.name.value) {
            None | Some(Value::None) => Ok(Vec::new()),
            Some(value) => format_arguments(parameter, value),
        }
    }

    /// What the placeholder becomes; `None`: it stays.
    fn replacement(&self, placeholder: &str) -> Result<Option<String>, CommandError> {
        if let ("source-path", Some(path)) = (placeholder, self.source_path) {
            return Ok(Some(quote(path)));
        }
        if matches!(placeholder, "parameters" | "params") {
            let mut arguments = Vec::new();
            for parameter in &self.parameters {
                arguments.extend(self.arguments_of(parameter)?);
            }
            return Ok(Some(quote_all(&arguments)));
        }
        if let Some(name) = placeholder.strip_prefix("parameter:") {
            let mut parameters = self.parameters.iter();
            let found = parameters.find(|parameter| parameter.name.value == name);
            let arguments = found
                .map(|parameter| self.arguments_of(parameter))
                .transpose()?;
            return Ok(arguments.map(|arguments| quote_all(&arguments)));
        }
        let named = placeholder.strip_prefix("parameter-value:");
        let value = named.and_then(|name| self.values.get(name));
        Ok(value.map(|value| quote(&str(value))))
    }
}

/// One command with its placeholders replaced.
pub(super) fn interpolate_command(
    command: &str,
    scope: &Scope<'_>,
) -> Result<String, CommandError> {
    replace(command, |placeholder| scope.replacement(placeholder))
}

/// The URI of an input with `{parameter:NAME}` and `{parameter-value:NAME}` replaced by the bare value.
///
/// # Errors
/// A placeholder whose parameter does not exist, has no value, or has a list for one.
pub fn interpolate_uri(
    uri: &str,
    parameters: &[&Parameter],
    values: &Values,
) -> Result<String, CommandError> {
    replace(uri, |placeholder| {
        let named = ["parameter:", "parameter-value:"]
            .iter()
            .find_map(|prefix| placeholder.strip_prefix(prefix));
        let Some(name) = named else {
            return Ok(None);
        };
        let mut known = parameters
            .iter()
            .map(|parameter| parameter.name.value.as_str());
        match values.get(name) {
            Some(Value::List(_)) => Err(CommandError::ListForSingle(name.to_owned())),
            Some(value) if *value != Value::None => Ok(Some(str(value))),
            _ if known.clone().any(|known| known == name) => {
                Err(CommandError::NoValue(name.to_owned()))
            }
            _ => {
                let nearest = nearest(name, &mut known).map(str::to_owned);
                Err(CommandError::UnknownParameter(name.to_owned(), nearest))
            }
        }
    })
}

/// Replaces what stands in braces. A placeholder is the shortest text between braces that has at least one character
/// and no line end; where `replacement` gives nothing, it stays as it is.
fn replace(
    text: &str,
    replacement: impl Fn(&str) -> Result<Option<String>, CommandError>,
) -> Result<String, CommandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let after = &rest[open + 1..];
        let Some(length) = placeholder_length(after) else {
            out.push_str(&rest[..=open]);
            rest = after;
            continue;
        };
        out.push_str(&rest[..open]);
        match replacement(&after[..length])? {
            Some(replaced) => out.push_str(&replaced),
            None => out.push_str(&rest[open..open + length + 2]),
        }
        rest = &after[length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// How long the placeholder is that the text after an opening brace begins with.
fn placeholder_length(after: &str) -> Option<usize> {
    let line = after.split('\n').next().unwrap_or_default();
    // The first character belongs to the placeholder even when it is a closing brace.
    let first = line.chars().next()?.len_utf8();
    line[first..].find('}').map(|at| first + at)
}
