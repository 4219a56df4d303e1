//! From one value to arguments.

use crate::command::CommandError;
use crate::model::{Multiple, Parameter, ParameterKind};
use crate::python::{format_template, split, str};
use crate::value::Value;

/// The arguments that pass the value, not quoted; none at all where nothing is passed.
///
/// The template is split at blanks *before* it is filled, so a value with blanks stays one argument.
///
/// # Errors
/// A list where the parameter takes one value, or a template that does not fit.
pub fn format_arguments(parameter: &Parameter, value: &Value) -> Result<Vec<String>, CommandError> {
    let Some(template) = template(parameter, value) else {
        return Ok(Vec::new());
    };
    match (parameter.multiple, value) {
        (Some(Multiple::Repeat), Value::List(atoms)) => {
            let mut arguments = Vec::new();
            for atom in atoms {
                if matches!(atom, Value::List(_)) {
                    return Err(CommandError::NestedList(parameter.name.value.clone()));
                }
                arguments.extend(fill(parameter, template, atom)?);
            }
            Ok(arguments)
        }
        // Without values there must be no `--name=` either.
        (Some(Multiple::Separate), Value::List(atoms)) if atoms.is_empty() => Ok(Vec::new()),
        (Some(Multiple::Separate), Value::List(atoms)) => {
            let texts: Vec<String> = atoms.iter().map(str).collect();
            fill(
                parameter,
                template,
                &Value::Str(texts.join(separator(parameter))),
            )
        }
        (Some(Multiple::Separate), single) => fill(parameter, template, &Value::Str(str(single))),
        (None, Value::List(_)) => Err(CommandError::ListForSingle(parameter.name.value.clone())),
        (None | Some(Multiple::Repeat), single) => fill(parameter, template, single),
    }
}

/// The separator of the values; a parameter that was not read from a file may have none.
fn separator(parameter: &Parameter) -> &str {
    if parameter.multiple_separator.is_empty() {
        ","
    } else {
        &parameter.multiple_separator
    }
}

/// Which template passes the value; `None`: it is not passed. An empty template counts as none.
fn template<'p>(parameter: &'p Parameter, value: &Value) -> Option<&'p str> {
    let text = |template: &'p Option<crate::span::Spanned<String>>| {
        template
            .as_ref()
            .map(|template| template.value.as_str())
            .filter(|template| !template.is_empty())
    };
    if *value == Value::None && parameter.kind != ParameterKind::Flag {
        return None;
    }
    let pass_as = text(&parameter.pass_as);
    if parameter.kind != ParameterKind::Flag {
        return pass_as.or(Some("--{name}={value}"));
    }
    let (for_true, for_false) = (
        text(&parameter.pass_true_as),
        text(&parameter.pass_false_as),
    );
    match (for_true.is_some() || for_false.is_some(), value.is_truthy()) {
        (true, true) => for_true,
        (true, false) => for_false,
        (false, true) => pass_as.or(Some("--{name}")),
        (false, false) => None,
    }
}

fn fill(parameter: &Parameter, template: &str, value: &Value) -> Result<Vec<String>, CommandError> {
    let name = Value::Str(parameter.name.value.clone());
    let lookup = |placeholder: &str| match placeholder {
        "name" => Some(&name),
        "value" | "v" => Some(value),
        _ => None,
    };
    let filled = split(template).map(|piece| format_template(piece, &lookup));
    filled
        .collect::<Result<_, _>>()
        .map_err(|error| CommandError::Template {
            parameter: parameter.name.value.clone(),
            error,
        })
}
