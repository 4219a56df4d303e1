//! Operators on values, with weak typing.

use std::cmp::Ordering;

use crate::expression::evaluate::{EvaluateError, too_large};
use crate::python::compare::{number, order};
use crate::python::number::parse_float;
use crate::value::{Number, Value};

/// Operators with two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Is,
    IsNot,
}

/// What a part of an expression is worth: a value of the format, or what only expressions can make.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Plain(Value),
    Tuple(Vec<Operand>),
    /// As written; equal items may repeat.
    Set(Vec<Operand>),
}

type Operated = Result<Operand, EvaluateError>;

impl Operand {
    pub(super) fn bool(truth: bool) -> Self {
        Operand::Plain(Value::Bool(truth))
    }

    pub(super) fn is_truthy(&self) -> bool {
        match self {
            Operand::Plain(value) => value.is_truthy(),
            Operand::Tuple(items) | Operand::Set(items) => !items.is_empty(),
        }
    }

    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Operand::Plain(value) => number(value),
            Operand::Tuple(_) | Operand::Set(_) => None,
        }
    }

    /// What the operand is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Operand::Plain(value) => value.kind(),
            Operand::Tuple(_) => "a tuple",
            Operand::Set(_) => "a set",
        }
    }

    pub(super) fn can_be_in_a_set(&self) -> bool {
        match self {
            Operand::Plain(value) => !matches!(value, Value::List(_) | Value::Map(_)),
            Operand::Tuple(items) => items.iter().all(Operand::can_be_in_a_set),
            Operand::Set(_) => false,
        }
    }

    fn same(&self, other: &Operand) -> bool {
        match (self, other) {
            (Operand::Plain(left), Operand::Plain(right)) => left.same(right),
            (Operand::Tuple(left), Operand::Tuple(right)) => {
                left.len() == right.len()
                    && left.iter().zip(right).all(|(left, right)| left.same(right))
            }
            (Operand::Set(left), Operand::Set(right)) => {
                is_subset(left, right) && is_subset(right, left)
            }
            _ => false,
        }
    }
}

fn contains(items: &[Operand], item: &Operand) -> bool {
    items.iter().any(|other| other.same(item))
}

fn is_subset(left: &[Operand], right: &[Operand]) -> bool {
    left.iter().all(|item| contains(right, item))
}

pub(super) fn operate(operator: Operator, left: Operand, right: Operand) -> Operated {
    match operator {
        Operator::Add | Operator::Subtract | Operator::Divide | Operator::FloorDivide => {
            calculate(operator, left, right)
        }
        Operator::Multiply => match (left.number(), right.number()) {
            (Some(left), Some(right)) => numbers(operator, left, right),
            _ => Err(EvaluateError::invalid("only numbers can be multiplied")),
        },
        Operator::Equal => Ok(Operand::bool(left.same(&right))),
        Operator::NotEqual => Ok(Operand::bool(!left.same(&right))),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            compare(operator, &left, &right).map(Operand::bool)
        }
        Operator::In => is_in(&left, &right).map(Operand::bool),
        Operator::NotIn => is_in(&left, &right).map(|truth| Operand::bool(!truth)),
        Operator::Is => Ok(Operand::bool(is_one(&left, &right))),
        Operator::IsNot => Ok(Operand::bool(!is_one(&left, &right))),
    }
}

/// Both sides as floats, where an operation does not fit them as they are.
fn as_floats(left: &Operand, right: &Operand) -> Result<(f64, f64), EvaluateError> {
    let float = |operand: &Operand| match operand {
        Operand::Plain(Value::Str(text)) => parse_float(text)
            .ok_or_else(|| EvaluateError::invalid(format!("`{text}` is not a number"))),
        other => {
            let number = other.number().map(Number::as_f64);
            number
                .ok_or_else(|| EvaluateError::invalid(format!("{} is not a number", other.kind())))
        }
    };
    Ok((float(left)?, float(right)?))
}

fn calculate(operator: Operator, left: Operand, right: Operand) -> Operated {
    if let (Some(left), Some(right)) = (left.number(), right.number()) {
        return numbers(operator, left, right);
    }
    match (operator, left, right) {
        (Operator::Add, Operand::Plain(Value::Str(left)), Operand::Plain(Value::Str(right))) => {
            Ok(Operand::Plain(Value::Str(left + &right)))
        }
        (
            Operator::Add,
            Operand::Plain(Value::List(mut left)),
            Operand::Plain(Value::List(right)),
        ) => {
            left.extend(right);
            Ok(Operand::Plain(Value::List(left)))
        }
        (Operator::Add, Operand::Tuple(mut left), Operand::Tuple(right)) => {
            left.extend(right);
            Ok(Operand::Tuple(left))
        }
        (Operator::Subtract, Operand::Set(mut left), Operand::Set(right)) => {
            left.retain(|item| !contains(&right, item));
            Ok(Operand::Set(left))
        }
        (operator, left, right) => {
            let (left, right) = as_floats(&left, &right)?;
            numbers(operator, Number::Float(left), Number::Float(right))
        }
    }
}

fn numbers(operator: Operator, left: Number, right: Number) -> Operated {
    let divides = matches!(operator, Operator::Divide | Operator::FloorDivide);
    if divides && right.as_f64() == 0.0 {
        return Err(EvaluateError::invalid("division by zero"));
    }
    let value = match (operator, left, right) {
        (Operator::Divide, left, right) => Value::Float(left.as_f64() / right.as_f64()),
        (operator, Number::Int(left), Number::Int(right)) => {
            let int = match operator {
                Operator::Add => left.checked_add(right),
                Operator::Subtract => left.checked_sub(right),
                Operator::Multiply => left.checked_mul(right),
                _ => floor_divide_ints(left, right),
            };
            Value::Int(int.ok_or_else(too_large)?)
        }
        (operator, left, right) => {
            let (left, right) = (left.as_f64(), right.as_f64());
            Value::Float(match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                _ => floor_divide_floats(left, right),
            })
        }
    };
    Ok(Operand::Plain(value))
}

/// Rounded towards minus infinity.
fn floor_divide_ints(left: i128, right: i128) -> Option<i128> {
    let quotient = left.checked_div(right)?;
    let is_exact = quotient.checked_mul(right)? == left;
    if is_exact || (left < 0) == (right < 0) {
        Some(quotient)
    } else {
        quotient.checked_sub(1)
    }
}

/// Rounded towards minus infinity, from the remainder, so that `1.0 // 0.1` is 9 and not 10.
fn floor_divide_floats(left: f64, right: f64) -> f64 {
    let remainder = left % right;
    let mut quotient = (left - remainder) / right;
    if remainder != 0.0 && (right < 0.0) != (remainder < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0.0_f64.copysign(left / right);
    }
    let floor = quotient.floor();
    if quotient - floor > 0.5 {
        floor + 1.0
    } else {
        floor
    }
}

fn compare(operator: Operator, left: &Operand, right: &Operand) -> Result<bool, EvaluateError> {
    let strict = matches!(operator, Operator::Less | Operator::Greater);
    if let (Operand::Set(left), Operand::Set(right)) = (left, right) {
        let descends = matches!(operator, Operator::Greater | Operator::GreaterOrEqual);
        let (small, large) = if descends {
            (right, left)
        } else {
            (left, right)
        };
        return Ok(is_subset(small, large) && !(strict && is_subset(large, small)));
    }
    let ordering = order_operands(left, right)?;
    Ok(match operator {
        Operator::Less => ordering == Some(Ordering::Less),
        Operator::Greater => ordering == Some(Ordering::Greater),
        Operator::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        _ => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn order_operands(left: &Operand, right: &Operand) -> Result<Option<Ordering>, EvaluateError> {
    match (left, right) {
        (Operand::Plain(plain_left), Operand::Plain(plain_right)) => {
            match order(plain_left, plain_right) {
                Ok(ordering) => Ok(ordering),
                Err(_) => as_floats(left, right).map(|(left, right)| left.partial_cmp(&right)),
            }
        }
        (Operand::Tuple(left), Operand::Tuple(right)) => {
            let differing = left
                .iter()
                .zip(right)
                .find(|(left, right)| !left.same(right));
            match differing {
                // Inside of tuples typing is strict.
                Some((Operand::Plain(left), Operand::Plain(right))) => order(left, right)
                    .map_err(|_| EvaluateError::invalid("these tuples have no order")),
                Some((left, right)) => order_operands(left, right),
                None => Ok(Some(left.len().cmp(&right.len()))),
            }
        }
        _ => as_floats(left, right).map(|(left, right)| left.partial_cmp(&right)),
    }
}

fn is_in(item: &Operand, container: &Operand) -> Result<bool, EvaluateError> {
    let has = |values: &[Value]| {
        values
            .iter()
            .any(|value| item.same(&Operand::Plain(value.clone())))
    };
    match (item, container) {
        (Operand::Plain(Value::Str(part)), Operand::Plain(Value::Str(text))) => {
            Ok(text.contains(part.as_str()))
        }
        (_, Operand::Plain(Value::List(values))) => Ok(has(values)),
        (_, Operand::Plain(Value::Map(entries))) if item.can_be_in_a_set() => Ok(entries
            .iter()
            .any(|(key, _)| item.same(&Operand::Plain(key.clone())))),
        (_, Operand::Tuple(items)) => Ok(contains(items, item)),
        (_, Operand::Set(items)) if item.can_be_in_a_set() => Ok(contains(items, item)),
        _ => Err(EvaluateError::invalid(format!(
            "{} cannot be in {}",
            item.kind(),
            container.kind()
        ))),
    }
}

/// `is`: the same value of the same type. Python asks whether it is the same object, which values cannot tell.
fn is_one(left: &Operand, right: &Operand) -> bool {
    match (left, right) {
        (Operand::Plain(left), Operand::Plain(right)) => {
            std::mem::discriminant(left) == std::mem::discriminant(right) && left.same(right)
        }
        _ => false,
    }
}
