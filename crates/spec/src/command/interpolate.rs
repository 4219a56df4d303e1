//! Placeholders in commands and in the URIs of inputs.

use crate::command::{CommandError, Values, format_arguments};
use crate::model::Step;
use crate::nearest::nearest;
use crate::python::{quote, quote_all, str};
use crate::value::Value;

/// One command with its placeholders replaced.
pub(super) fn interpolate_command(
    command: &str,
    step: &Step,
    values: &Values,
) -> Result<String, CommandError> {
    replace(command, |placeholder| {
        if let ("source-path", Some(path)) = (placeholder, &step.source_path) {
            return Ok(Some(quote(path)));
        }
        if matches!(placeholder, "parameters" | "params") {
            let mut arguments = Vec::new();
            for parameter in &step.parameters {
                arguments.extend(arguments_of(parameter, values)?);
            }
            return Ok(Some(quote_all(&arguments)));
        }
        if let Some(parameter) = placeholder
            .strip_prefix("parameter:")
            .and_then(|name| step.parameter(name))
        {
            return Ok(Some(quote_all(&arguments_of(parameter, values)?)));
        }
        let value = placeholder
            .strip_prefix("parameter-value:")
            .and_then(|name| values.get(name));
        Ok(value.map(|value| quote(&str(value))))
    })
}

fn arguments_of(
    parameter: &crate::model::Parameter,
    values: &Values,
) -> Result<Vec<String>, CommandError> {
    match values.get(&parameter.name.value) {
        None | Some(Value::None) => Ok(Vec::new()),
        Some(value) => format_arguments(parameter, value),
    }
}

/// The URI of an input with `{parameter:NAME}` and `{parameter-value:NAME}` replaced by the bare value.
///
/// # Errors
/// A placeholder whose parameter does not exist, has no value, or has a list for one.
pub fn interpolate_uri(uri: &str, step: &Step, values: &Values) -> Result<String, CommandError> {
    replace(uri, |placeholder| {
        let named = ["parameter:", "parameter-value:"]
            .iter()
            .find_map(|prefix| placeholder.strip_prefix(prefix));
        let Some(name) = named else { return Ok(None) };
        match values.get(name) {
            Some(Value::List(_)) => Err(CommandError::ListForSingle(name.to_owned())),
            Some(value) if *value != Value::None => Ok(Some(str(value))),
            _ if step.parameter(name).is_some() => Err(CommandError::NoValue(name.to_owned())),
            _ => {
                let known = step
                    .parameters
                    .iter()
                    .map(|parameter| parameter.name.value.as_str());
                Err(CommandError::UnknownParameter(
                    name.to_owned(),
                    nearest(name, known).map(str::to_owned),
                ))
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
