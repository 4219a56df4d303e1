//! The value of an expression in a universe of names.

use std::cmp::Ordering;

use thiserror::Error;

use crate::expression::Term;
use crate::expression::operate::{Operand, Operator, operate};
use crate::python::compare::{number, order};
use crate::value::{Number, Value};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvaluateError {
    /// The name has no value; nothing is wrong with the expression.
    #[error("`{0}` has no value")]
    NoSuchValue(String),
    /// The expression does not fit the values.
    #[error("{0}")]
    Invalid(String),
}

impl EvaluateError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

type Universe<'u> = dyn Fn(&str) -> Option<Value> + 'u;
type Evaluated = Result<Operand, EvaluateError>;

pub(super) fn evaluate(term: &Term, universe: &Universe<'_>) -> Evaluated {
    match term {
        Term::Constant(value) => Ok(Operand::Plain(value.clone())),
        Term::Name(name) => universe(name)
            .map(Operand::Plain)
            .ok_or_else(|| EvaluateError::NoSuchValue(name.clone())),
        Term::Not(operand) => {
            let truth = match evaluate(operand, universe) {
                Ok(value) => value.is_truthy(),
                Err(EvaluateError::NoSuchValue(_)) => false,
                Err(error) => return Err(error),
            };
            Ok(Operand::bool(!truth))
        }
        Term::Negative(operand) => match signed(operand, universe)? {
            Number::Int(int) => int
                .checked_neg()
                .map(|int| Operand::Plain(Value::Int(int)))
                .ok_or_else(too_large),
            Number::Float(float) => Ok(Operand::Plain(Value::Float(-float))),
        },
        Term::Positive(operand) => {
            signed(operand, universe).map(|number| Operand::Plain(number.into()))
        }
        Term::Binary(operator @ (Operator::Is | Operator::IsNot), left, right) => operate(
            *operator,
            or_none(left, universe)?,
            or_none(right, universe)?,
        ),
        Term::Binary(operator, left, right) => operate(
            *operator,
            evaluate(left, universe)?,
            evaluate(right, universe)?,
        ),
        Term::And(terms) => until(terms, false, universe),
        Term::Or(terms) => until(terms, true, universe),
        Term::Call(function, arguments) => call(function, arguments, universe),
        Term::Tuple(terms) => all(terms, universe).map(Operand::Tuple),
        Term::Set(terms) => {
            let items = all(terms, universe)?;
            if items.iter().all(Operand::can_be_in_a_set) {
                Ok(Operand::Set(items))
            } else {
                Err(EvaluateError::invalid(
                    "a set cannot hold lists, maps or sets",
                ))
            }
        }
    }
}

/// What an operation gives that 128 bits do not hold.
pub(super) fn too_large() -> EvaluateError {
    EvaluateError::invalid("the number is too large")
}

fn all(terms: &[Term], universe: &Universe<'_>) -> Result<Vec<Operand>, EvaluateError> {
    terms.iter().map(|term| evaluate(term, universe)).collect()
}

/// The value, or `None` where a name has none.
fn or_none(term: &Term, universe: &Universe<'_>) -> Evaluated {
    match evaluate(term, universe) {
        Err(EvaluateError::NoSuchValue(_)) => Ok(Operand::Plain(Value::None)),
        other => other,
    }
}

/// The number that takes a sign. Typing is strict here.
fn signed(term: &Term, universe: &Universe<'_>) -> Result<Number, EvaluateError> {
    let operand = evaluate(term, universe)?;
    operand
        .number()
        .ok_or_else(|| EvaluateError::invalid(format!("{} takes no sign", operand.kind())))
}

/// Evaluates from the left until one has the wanted truth.
fn until(terms: &[Term], wanted: bool, universe: &Universe<'_>) -> Evaluated {
    for term in terms {
        if evaluate(term, universe)?.is_truthy() == wanted {
            return Ok(Operand::bool(wanted));
        }
    }
    Ok(Operand::bool(!wanted))
}

fn call(function: &str, arguments: &[Term], universe: &Universe<'_>) -> Evaluated {
    if !["abs", "min", "max"].contains(&function) {
        return Err(EvaluateError::invalid(format!(
            "there is no function `{function}`; there are abs, min and max"
        )));
    }
    let mut values = Vec::new();
    for operand in all(arguments, universe)? {
        match operand {
            Operand::Plain(
                value @ (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_)),
            ) => {
                values.push(value);
            }
            other => {
                return Err(EvaluateError::invalid(format!(
                    "`{function}` does not take {}",
                    other.kind()
                )));
            }
        }
    }
    let result = match (function, values.as_slice()) {
        ("abs", [value]) => absolute(value),
        // Of a single string, Python takes the characters.
        ("min" | "max", [Value::Str(text)]) => {
            let characters: Vec<Value> = text
                .chars()
                .map(|char| Value::Str(char.to_string()))
                .collect();
            extreme(function, &characters)
        }
        ("min" | "max", [_, _, ..]) => extreme(function, &values),
        _ => None,
    };
    let result = result.ok_or_else(|| {
        EvaluateError::invalid(format!("`{function}` does not take these values"))
    })?;
    Ok(Operand::Plain(result))
}

fn absolute(value: &Value) -> Option<Value> {
    match number(value)? {
        Number::Int(int) => int.checked_abs().map(Value::Int),
        Number::Float(float) => Some(Value::Float(float.abs())),
    }
}

/// The first of the smallest or largest values; `None` where they have no order or there are none.
fn extreme(function: &str, values: &[Value]) -> Option<Value> {
    let wanted = if function == "min" {
        Ordering::Less
    } else {
        Ordering::Greater
    };
    let (mut best, rest) = values.split_first()?;
    for value in rest {
        if order(value, best).ok()? == Some(wanted) {
            best = value;
        }
    }
    Some(best.clone())
}
