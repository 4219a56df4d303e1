//! Values and steps in the words of `spec`, which knows what they mean.

use contract::api::value::Kind;
use contract::{api, ledger as pb};
use spec::command::Values;
use spec::model::{Input, Multiple, Parameter, ParameterKind, Step};
use spec::{Number, Span, Spanned, Value};

/// A value of a message as `spec` reads it.
pub(crate) fn to_spec(value: &api::Value) -> Value {
    match &value.kind {
        None => Value::None,
        Some(Kind::Boolean(boolean)) => Value::Bool(*boolean),
        Some(Kind::Integer(integer)) => Value::Int(i128::from(*integer)),
        Some(Kind::Number(number)) => Value::Float(*number),
        Some(Kind::Text(text)) => Value::Str(text.clone()),
        Some(Kind::List(list)) => Value::List(list.items.iter().map(to_spec).collect()),
        Some(Kind::BigInteger(digits)) => match digits.parse() {
            Ok(integer) => Value::Int(integer),
            Err(_) => Value::Str(digits.clone()),
        },
        Some(Kind::Date(date)) => Value::Date(date.clone()),
        Some(Kind::Map(map)) => Value::Map(
            map.entries
                .iter()
                .map(|entry| (optional(&entry.key), optional(&entry.value)))
                .collect(),
        ),
    }
}

fn optional(value: &Option<api::Value>) -> Value {
    value.as_ref().map(to_spec).unwrap_or_default()
}

/// A value of `spec` as a message; null is a value without a kind.
pub(crate) fn to_wire(value: &Value) -> api::Value {
    let kind = match value {
        Value::None => return api::Value::default(),
        Value::Bool(boolean) => Kind::Boolean(*boolean),
        Value::Int(integer) => match i64::try_from(*integer) {
            Ok(integer) => Kind::Integer(integer),
            Err(_) => Kind::BigInteger(integer.to_string()),
        },
        Value::Float(number) => Kind::Number(*number),
        Value::Str(text) => Kind::Text(text.clone()),
        Value::Date(date) => Kind::Date(date.clone()),
        Value::List(items) => Kind::List(api::ValueList {
            items: items.iter().map(to_wire).collect(),
        }),
        Value::Map(entries) => Kind::Map(api::ValueMap {
            entries: entries
                .iter()
                .map(|(key, value)| api::ValueEntry {
                    key: Some(to_wire(key)),
                    value: Some(to_wire(value)),
                })
                .collect(),
        }),
    };
    api::Value { kind: Some(kind) }
}

/// A value that a program printed. Whole numbers stay whole.
pub(crate) fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(boolean) => Value::Bool(*boolean),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::Int(i128::from(integer)),
            (None, Some(integer)) => Value::Int(i128::from(integer)),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::Str(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| (Value::Str(key.clone()), from_json(value)))
                .collect(),
        ),
    }
}

/// A template as `spec` builds commands of it: its values are the defaults.
pub(crate) fn step(template: &pb::StepTemplate) -> Step {
    Step {
        name: nowhere(template.step.clone()),
        image: nowhere(template.image.clone()),
        command: template.commands.iter().cloned().map(nowhere).collect(),
        parameters: template.parameters.iter().map(parameter).collect(),
        inputs: template.inputs.iter().map(input).collect(),
        source_path: text(&template.source_path),
        ..Step::default()
    }
}

/// A parameter of a template, its value as the default.
pub(crate) fn parameter(parameter: &pb::TemplateParameter) -> Parameter {
    Parameter {
        name: nowhere(parameter.name.clone()),
        kind: match parameter.r#type.as_str() {
            "flag" => ParameterKind::Flag,
            "float" => ParameterKind::Float,
            "integer" => ParameterKind::Integer,
            _ => ParameterKind::String,
        },
        default: parameter
            .value
            .as_ref()
            .filter(|value| value.kind.is_some())
            .map(|value| nowhere(to_spec(value))),
        optional: parameter.optional,
        min: parameter
            .minimum
            .map(|minimum| nowhere(Number::Float(minimum))),
        max: parameter
            .maximum
            .map(|maximum| nowhere(Number::Float(maximum))),
        choices: (!parameter.choices.is_empty())
            .then(|| parameter.choices.iter().map(to_spec).collect()),
        pass_as: parameter.pass_as.clone().map(nowhere),
        pass_true_as: parameter.pass_true_as.clone().map(nowhere),
        pass_false_as: parameter.pass_false_as.clone().map(nowhere),
        multiple: match parameter.multiple.as_str() {
            "repeat" => Some(Multiple::Repeat),
            "separate" => Some(Multiple::Separate),
            _ => None,
        },
        multiple_separator: match parameter.multiple_separator.as_str() {
            "" => ",".to_owned(),
            separator => separator.to_owned(),
        },
        ..Parameter::default()
    }
}

fn input(input: &pb::TemplateInput) -> Input {
    Input {
        name: nowhere(input.name.clone()),
        optional: input.optional,
        ..Input::default()
    }
}

/// The values of a step's parameters, as its commands and addresses see them.
pub(crate) fn values(step: &Step) -> Values {
    spec::command::resolve_values(step, &Values::new(), spec::command::FlagDefaults::Passed)
}

fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Span::default())
}

fn text(text: &str) -> Option<Spanned<String>> {
    (!text.is_empty()).then(|| nowhere(text.to_owned()))
}
