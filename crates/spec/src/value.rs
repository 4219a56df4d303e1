//! The values of the format: what Python's `safe_load` would have made of a piece of YAML.
//!
//! The distinction between `1` and `1.0`, or between a date and a string, decides how a parameter is passed,
//! so none of it is lost here. Text forms (`str`, `repr`) live in `python`.

/// One YAML 1.1 value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `~`, `null` or nothing at all.
    #[default]
    None,
    /// `yes`, `No`, `true`, `off`, …
    Bool(bool),
    /// A whole number. Larger ones than 128 bits hold are refused when they are read.
    Int(i128),
    /// A number with a dot, `.inf` or `.nan`.
    Float(f64),
    /// Text: quoted, or plain and nothing else.
    Str(String),
    /// A date or a date with time, as Python prints it: `2020-09-02`, `2020-09-02 00:00:00+00:00`.
    Date(String),
    /// A sequence.
    List(Vec<Value>),
    /// A mapping, in the order of the text. No two keys are [`same`](Value::same).
    Map(Vec<(Value, Value)>),
}

/// A number that the format asks for: never a boolean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Written without a dot.
    Int(i128),
    /// Written with a dot.
    Float(f64),
}

impl Value {
    /// The text, when this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number, when this is one. Booleans are not numbers here.
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Value::Int(int) => Some(Number::Int(*int)),
            Value::Float(float) => Some(Number::Float(*float)),
            _ => None,
        }
    }

    /// Whether Python counts the value as true: not null, false, zero or empty.
    pub fn is_truthy(&self) -> bool {
        match self {
            Value::None => false,
            Value::Bool(bool) => *bool,
            Value::Int(int) => *int != 0,
            Value::Float(float) => *float != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::Date(_) => true,
            Value::List(items) => !items.is_empty(),
            Value::Map(entries) => !entries.is_empty(),
        }
    }

    /// Python's `==`: `1`, `1.0` and `true` are the same, `"1"` is not, and the order of a map does not matter.
    pub fn same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) | (Value::Date(a), Value::Date(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(key, a)| b.iter().any(|(other, b)| key.same(other) && a.same(b)))
            }
            _ => match (self.numeric(), other.numeric()) {
                (Some(Number::Int(a)), Some(Number::Int(b))) => a == b,
                (Some(Number::Float(a)), Some(Number::Float(b))) => a == b,
                (Some(Number::Int(int)), Some(Number::Float(float)))
                | (Some(Number::Float(float)), Some(Number::Int(int))) => {
                    // Exact: a float that is whole and within the range converts without loss.
                    float.fract() == 0.0 && float.abs() < 1.7e38 && float as i128 == int
                }
                _ => false,
            },
        }
    }

    /// What the reference calls the type of the value, in words for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "nothing (null)",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Str(_) => "a string",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The number behind a number or a boolean, as Python's arithmetic sees it.
    fn numeric(&self) -> Option<Number> {
        match self {
            Value::Bool(bool) => Some(Number::Int(i128::from(*bool))),
            other => other.as_number(),
        }
    }
}

impl Number {
    /// The number as a float; whole numbers beyond 2^53 are rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        }
    }

    /// The number as a whole one, when it is whole (`3` and `3.0`).
    pub fn as_int(self) -> Option<i128> {
        match self {
            Number::Int(int) => Some(int),
            Number::Float(float) if float.fract() == 0.0 && float.abs() < 1.7e38 => {
                Some(float as i128)
            }
            Number::Float(_) => None,
        }
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(int) => Value::Int(int),
            Number::Float(float) => Value::Float(float),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Value::{Bool, Float, Int, List, Map, None, Str};

    #[test]
    fn sameness_is_pythons() {
        let text = |text: &str| Str(text.to_owned());
        let pairs = [
            (Int(1), Float(1.0), true),
            (Int(1), Bool(true), true),
            (Bool(false), Float(0.0), true),
            (Int(1), text("1"), false),
            (None, Bool(false), false),
            (Float(f64::NAN), Float(f64::NAN), false),
            (Int(i128::MAX), Float(1.7e38), false),
            (List(vec![Int(1)]), List(vec![Bool(true)]), true),
            (
                Map(vec![(text("a"), Int(1)), (text("b"), Int(2))]),
                Map(vec![(text("b"), Int(2)), (text("a"), Float(1.0))]),
                true,
            ),
            (
                Map(vec![(text("a"), Int(1))]),
                Map(vec![(text("b"), Int(1))]),
                false,
            ),
        ];
        for (a, b, same) in pairs {
            assert_eq!(a.same(&b), same, "{a:?} and {b:?}");
            assert_eq!(b.same(&a), same, "{b:?} and {a:?}");
        }
    }

    #[test]
    fn truth_is_pythons() {
        let falsy = [
            None,
            Bool(false),
            Int(0),
            Float(0.0),
            Str(String::new()),
            List(vec![]),
            Map(vec![]),
        ];
        assert!(falsy.iter().all(|value| !value.is_truthy()));
        let truthy = [
            Bool(true),
            Int(-1),
            Float(f64::NAN),
            Str("false".into()),
            List(vec![None]),
        ];
        assert!(truthy.iter().all(|value| value.is_truthy()));
    }
}
