//! Whether values fit the parameters they are for.

use thiserror::Error;

use crate::model::{Parameter, ParameterKind};
use crate::python::compare::order;
use crate::python::number::{parse_float, parse_int};
use crate::python::{repr, str};
use crate::value::Value;

/// Why a value does not fit a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Nothing was given, or an empty text for a number.
    #[error("no value is given")]
    Missing,
    /// Not a whole number.
    #[error("`{0}` is not an integer")]
    NotAnInteger(String),
    /// Not a number.
    #[error("`{0}` is not a number")]
    NotANumber(String),
    /// Neither true nor false, given as text.
    #[error("`{0}` is neither `true` nor `false`")]
    NotAFlag(String),
    /// Below the minimum.
    #[error("{value} is less than the minimum {min}")]
    TooSmall {
        /// What was given.
        value: String,
        /// What is allowed.
        min: String,
    },
    /// Above the maximum.
    #[error("{value} is greater than the maximum {max}")]
    TooLarge {
        /// What was given.
        value: String,
        /// What is allowed.
        max: String,
    },
    /// Not among the choices.
    #[error("{value} is not one of the choices: {choices}")]
    NotAChoice {
        /// What was given.
        value: String,
        /// What is allowed.
        choices: String,
    },
    /// A list for a parameter that takes one value.
    #[error("only one value is allowed")]
    NotSingle,
    /// A list within a list.
    #[error("a list within a list of values")]
    Nested,
}

/// The value as its parameter takes it: numbers given as text become numbers.
///
/// # Errors
/// All that does not fit.
pub fn check_value(parameter: &Parameter, value: &Value) -> Result<Value, Vec<ValueError>> {
    let mut errors = Vec::new();
    let atoms = match value {
        Value::List(atoms) => {
            if parameter.multiple.is_none() {
                errors.push(ValueError::NotSingle);
            }
            atoms.as_slice()
        }
        Value::None => {
            errors.push(ValueError::Missing);
            &[]
        }
        single => std::slice::from_ref(single),
    };
    let mut checked: Vec<Value> = atoms
        .iter()
        .map(|atom| check_atom(parameter, atom, &mut errors))
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    match parameter.multiple {
        Some(_) => Ok(Value::List(checked)),
        None => checked.pop().ok_or_else(|| vec![ValueError::Missing]),
    }
}

fn check_atom(parameter: &Parameter, atom: &Value, errors: &mut Vec<ValueError>) -> Value {
    if matches!(atom, Value::List(_)) {
        errors.push(ValueError::Nested);
        return Value::None;
    }
    let value = cast(parameter.kind, atom, errors);
    let text = || str(&value);
    if let Some(min) = parameter.min.as_ref().map(|min| Value::from(min.value))
        && order(&value, &min).is_ok_and(|order| order.is_some_and(|order| order.is_lt()))
    {
        errors.push(ValueError::TooSmall {
            value: text(),
            min: str(&min),
        });
    }
    if let Some(max) = parameter.max.as_ref().map(|max| Value::from(max.value))
        && order(&value, &max).is_ok_and(|order| order.is_some_and(|order| order.is_gt()))
    {
        errors.push(ValueError::TooLarge {
            value: text(),
            max: str(&max),
        });
    }
    let choices = match (parameter.kind, &parameter.choices) {
        (ParameterKind::Flag, _) => &[Value::Bool(true), Value::Bool(false)][..],
        (_, Some(choices)) => choices.as_slice(),
        (_, None) => return value,
    };
    if !choices.iter().any(|choice| choice.same(&value)) {
        let choices = choices.iter().map(repr).collect::<Vec<_>>().join(", ");
        errors.push(ValueError::NotAChoice {
            value: repr(&value),
            choices,
        });
    }
    value
}

/// The atom as the type of the parameter; itself where it cannot be.
fn cast(kind: ParameterKind, atom: &Value, errors: &mut Vec<ValueError>) -> Value {
    let text = str(atom);
    let (value, wrong) = match kind {
        ParameterKind::Integer => (
            parse_int(&text).map(Value::Int),
            ValueError::NotAnInteger(text.clone()),
        ),
        ParameterKind::Float => (
            parse_float(&text).map(Value::Float),
            ValueError::NotANumber(text.clone()),
        ),
        ParameterKind::Flag | ParameterKind::String => return atom.clone(),
    };
    value.unwrap_or_else(|| {
        errors.push(if text.is_empty() {
            ValueError::Missing
        } else {
            wrong
        });
        atom.clone()
    })
}

/// The value that a person typed for the parameter, not yet checked: for flags, `true` and `false` and their usual other
/// words; for everything else the text.
///
/// # Errors
/// A flag that is neither.
pub fn value_from_text(parameter: &Parameter, text: &str) -> Result<Value, ValueError> {
    if parameter.kind != ParameterKind::Flag {
        return Ok(Value::Str(text.to_owned()));
    }
    match text.to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(Value::Bool(true)),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(Value::Bool(false)),
        _ => Err(ValueError::NotAFlag(text.to_owned())),
    }
}
