//! Order between values, as Python's `<` sees it.

use std::cmp::Ordering;

use crate::value::{Number, Value};

/// Which of two values is smaller, exactly: a whole number is not rounded to be compared with a float.
///
/// `Err(Incomparable)` where Python raises a `TypeError`; `Ok(None)` where no order holds (`nan`).
pub fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, Incomparable> {
    if let (Some(left), Some(right)) = (number(left), number(right)) {
        return Ok(order_numbers(left, right));
    }
    match (left, right) {
        (Value::Str(left), Value::Str(right)) => Ok(Some(left.cmp(right))),
        // Python prints dates so that their text sorts as they do; a date and a time of a day do not compare.
        (Value::Date(left), Value::Date(right)) if left.len() == right.len() => {
            Ok(Some(left.cmp(right)))
        }
        (Value::List(left), Value::List(right)) => {
            for (left, right) in left.iter().zip(right) {
                if !left.same(right) {
                    return order(left, right);
                }
            }
            Ok(Some(left.len().cmp(&right.len())))
        }
        _ => Err(Incomparable),
    }
}

/// The types of two values have no order between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomparable;

/// The number behind a number or a boolean.
pub fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Bool(bool) => Some(Number::Int(i128::from(*bool))),
        other => other.as_number(),
    }
}

/// Which of two numbers is smaller; `None` when one of them is `nan`.
pub fn order_numbers(left: Number, right: Number) -> Option<Ordering> {
    match (left, right) {
        (Number::Int(left), Number::Int(right)) => Some(left.cmp(&right)),
        (Number::Float(left), Number::Float(right)) => left.partial_cmp(&right),
        (Number::Int(int), Number::Float(float)) => order_int_and_float(int, float),
        (Number::Float(float), Number::Int(int)) => {
            order_int_and_float(int, float).map(Ordering::reverse)
        }
    }
}

fn order_int_and_float(int: i128, float: f64) -> Option<Ordering> {
    // Beyond 2^127 the sign of the float decides; below, its whole part converts without loss.
    const LIMIT: f64 = 1.7e38;
    if float.is_nan() {
        return None;
    }
    if float.abs() >= LIMIT {
        return Some(if float > 0.0 {
            Ordering::Less
        } else {
            Ordering::Greater
        });
    }
    let whole = float.floor();
    let by_whole = int.cmp(&(whole as i128));
    Some(if by_whole == Ordering::Equal && float > whole {
        Ordering::Less
    } else {
        by_whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_pythons() {
        let text = |text: &str| Value::Str(text.to_owned());
        let list =
            |items: &[i128]| Value::List(items.iter().map(|item| Value::Int(*item)).collect());
        let table = [
            (Value::Int(1), Value::Int(2), Ok(Some(Ordering::Less))),
            (
                Value::Int(2),
                Value::Float(1.5),
                Ok(Some(Ordering::Greater)),
            ),
            (Value::Int(-2), Value::Float(-1.5), Ok(Some(Ordering::Less))),
            (
                Value::Int(9_007_199_254_740_993),
                Value::Float(9_007_199_254_740_992.0),
                Ok(Some(Ordering::Greater)),
            ),
            (
                Value::Int(i128::MAX),
                Value::Float(f64::INFINITY),
                Ok(Some(Ordering::Less)),
            ),
            (
                Value::Bool(true),
                Value::Float(1.0),
                Ok(Some(Ordering::Equal)),
            ),
            (Value::Float(f64::NAN), Value::Int(1), Ok(None)),
            (text("a"), text("b"), Ok(Some(Ordering::Less))),
            (text("B"), text("a"), Ok(Some(Ordering::Less))),
            (list(&[1, 2]), list(&[1, 3]), Ok(Some(Ordering::Less))),
            (list(&[1]), list(&[1, 0]), Ok(Some(Ordering::Less))),
            (text("1"), Value::Int(1), Err(Incomparable)),
            (Value::None, Value::None, Err(Incomparable)),
        ];
        for (left, right, expected) in table {
            assert_eq!(order(&left, &right), expected, "{left:?} and {right:?}");
        }
    }
}
