//! Values that a program printed.

use spec::Value;

/// A value that a program printed. Whole numbers stay whole.
pub(crate) fn of(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(boolean) => Value::Bool(*boolean),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::Int(i128::from(integer)),
            (None, Some(integer)) => Value::Int(i128::from(integer)),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::Str(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(of).collect()),
        serde_json::Value::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| (Value::Str(key.clone()), of(value)))
                .collect(),
        ),
    }
}
