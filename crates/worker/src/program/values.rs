//! Values of the wire as values of the format, and documents put together from them.

use contract::api::{self, value::Kind};
use spec::Value;

/// A value of the wire. One without a kind is null.
pub(super) fn from_wire(value: &api::Value) -> Value {
    match &value.kind {
        None => Value::None,
        Some(Kind::Boolean(bool)) => Value::Bool(*bool),
        Some(Kind::Integer(int)) => Value::Int((*int).into()),
        Some(Kind::Number(float)) => Value::Float(*float),
        Some(Kind::Text(text)) => Value::Str(text.clone()),
        Some(Kind::BigInteger(digits)) => match digits.parse() {
            Ok(int) => Value::Int(int),
            Err(_) => Value::Str(digits.clone()),
        },
        Some(Kind::Date(text)) => Value::Date(text.clone()),
        Some(Kind::List(list)) => Value::List(list.items.iter().map(from_wire).collect()),
        Some(Kind::Map(map)) => {
            let part = |value: &Option<api::Value>| value.as_ref().map_or(Value::None, from_wire);
            let entries = map.entries.iter();
            Value::Map(entries.map(|e| (part(&e.key), part(&e.value))).collect())
        }
    }
}

/// A map with text as keys.
pub(super) fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
    let entries = entries.into_iter();
    Value::Map(
        entries
            .map(|(key, value)| (Value::Str(key.into()), value))
            .collect(),
    )
}

/// Text, or null when there is none.
pub(super) fn text_or_null(text: &str) -> Value {
    match text {
        "" => Value::None,
        text => Value::Str(text.to_owned()),
    }
}
