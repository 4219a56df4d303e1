//! Values.

use contract::api;
use contract::api::value::Kind;

use crate::value::Value;
use crate::wire::WireError;

impl From<&Value> for api::Value {
    fn from(value: &Value) -> Self {
        let kind = match value {
            Value::None => None,
            Value::Bool(bool) => Some(Kind::Boolean(*bool)),
            Value::Int(int) => Some(match i64::try_from(*int) {
                Ok(int) => Kind::Integer(int),
                Err(_) => Kind::BigInteger(int.to_string()),
            }),
            Value::Float(float) => Some(Kind::Number(*float)),
            Value::Str(text) => Some(Kind::Text(text.clone())),
            Value::Date(text) => Some(Kind::Date(text.clone())),
            Value::List(items) => Some(Kind::List(api::ValueList {
                items: items.iter().map(Into::into).collect(),
            })),
            Value::Map(entries) => {
                let entry = |(key, value): &(Value, Value)| api::ValueEntry {
                    key: Some(key.into()),
                    value: Some(value.into()),
                };
                Some(Kind::Map(api::ValueMap {
                    entries: entries.iter().map(entry).collect(),
                }))
            }
        };
        api::Value { kind }
    }
}

impl TryFrom<&api::Value> for Value {
    type Error = WireError;

    /// # Errors
    /// A large whole number that is not one, or does not fit 128 bits.
    fn try_from(value: &api::Value) -> Result<Self, WireError> {
        Ok(match &value.kind {
            None => Value::None,
            Some(Kind::Boolean(bool)) => Value::Bool(*bool),
            Some(Kind::Integer(int)) => Value::Int(i128::from(*int)),
            Some(Kind::BigInteger(digits)) => {
                Value::Int(digits.parse().map_err(|_| WireError::Unknown {
                    field: "value.big_integer",
                    value: digits.clone(),
                })?)
            }
            Some(Kind::Number(float)) => Value::Float(*float),
            Some(Kind::Text(text)) => Value::Str(text.clone()),
            Some(Kind::Date(text)) => Value::Date(text.clone()),
            Some(Kind::List(list)) => Value::List(
                list.items
                    .iter()
                    .map(Value::try_from)
                    .collect::<Result<_, _>>()?,
            ),
            Some(Kind::Map(map)) => {
                let entry =
                    |entry: &api::ValueEntry| Ok((absent(&entry.key)?, absent(&entry.value)?));
                Value::Map(
                    map.entries
                        .iter()
                        .map(entry)
                        .collect::<Result<_, WireError>>()?,
                )
            }
        })
    }
}

/// A value that may be left out, which means null.
pub(super) fn absent(value: &Option<api::Value>) -> Result<Value, WireError> {
    value.as_ref().map_or(Ok(Value::None), Value::try_from)
}

/// The other direction: null is left out.
pub(super) fn present(value: &Value) -> Option<api::Value> {
    (*value != Value::None).then(|| value.into())
}
