//! Values and templates in the words of `spec`, which knows what they mean.

use contract::api::value::Kind;
use contract::{api, ledger as pb};
use spec::model::{Multiple, Parameter, ParameterKind};
use spec::plan::{StepTemplate, TemplateInput, TemplateParameter};
use spec::{Number, Span, Spanned, Value};

/// A value of a message as `spec` reads it.
pub fn to_spec(value: &api::Value) -> Value {
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
pub fn to_wire(value: &Value) -> api::Value {
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

/// A template as `spec` builds commands and addresses of it.
pub(crate) fn template(template: &pb::StepTemplate) -> StepTemplate {
    StepTemplate {
        step: template.step.clone(),
        image: template.image.clone(),
        commands: template.commands.clone(),
        parameters: template.parameters.iter().map(template_parameter).collect(),
        inputs: template.inputs.iter().map(input).collect(),
        source_path: Some(template.source_path.clone()).filter(|path| !path.is_empty()),
        ..StepTemplate::default()
    }
}

fn template_parameter(given: &pb::TemplateParameter) -> TemplateParameter {
    TemplateParameter {
        definition: parameter(given),
        value: optional(&given.value),
        ..TemplateParameter::default()
    }
}

fn input(input: &pb::TemplateInput) -> TemplateInput {
    TemplateInput {
        name: input.name.clone(),
        uris: input.uris.clone(),
        optional: input.optional,
        ..TemplateInput::default()
    }
}

/// How a parameter of a template is passed and checked.
pub(crate) fn parameter(parameter: &pb::TemplateParameter) -> Parameter {
    Parameter {
        name: nowhere(parameter.name.clone()),
        kind: match parameter.r#type.as_str() {
            "flag" => ParameterKind::Flag,
            "float" => ParameterKind::Float,
            "integer" => ParameterKind::Integer,
            _ => ParameterKind::String,
        },
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

fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Span::default())
}
