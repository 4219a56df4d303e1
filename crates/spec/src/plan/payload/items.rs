//! The small parts of the payload.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::model::{
    Action, Bounds, Download, EnvironmentVariable, Input, KeepDirectories, Mount, Multiple, Output,
    Override, Parameter, ParameterKind, Resources,
};
use crate::python::number::float_repr;
use crate::python::str;
use crate::span::Spanned;
use crate::value::{Number, Value};

/// Adds a field unless it is absent.
pub(super) fn put(object: &mut Map<String, Json>, key: &str, value: Option<Json>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value);
    }
}

/// Adds a text unless it is absent.
pub(super) fn put_text(object: &mut Map<String, Json>, key: &str, text: Option<&str>) {
    put(object, key, text.map(|text| json!(text)));
}

/// Adds a list unless it is empty.
pub(super) fn put_list(object: &mut Map<String, Json>, key: &str, items: Vec<Json>) {
    put(
        object,
        key,
        (!items.is_empty()).then_some(Json::Array(items)),
    );
}

/// A value of the format. What JSON does not have becomes text or, of numbers, null.
pub(super) fn value_json(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(bool) => json!(bool),
        Value::Int(int) => number_json(Number::Int(*int)),
        Value::Float(float) => number_json(Number::Float(*float)),
        Value::Str(text) | Value::Date(text) => json!(text),
        Value::List(items) => items.iter().map(value_json).collect(),
        Value::Map(entries) => map_json(entries),
    }
}

/// A map, its keys as text.
pub(super) fn map_json(entries: &[(Value, Value)]) -> Json {
    let object: Map<String, Json> = entries
        .iter()
        .map(|(key, value)| (key_text(key), value_json(value)))
        .collect();
    Json::Object(object)
}

/// A key as Python's JSON writer makes it a text.
pub(super) fn key_text(key: &Value) -> String {
    match key {
        Value::None => "null".to_owned(),
        Value::Bool(bool) => bool.to_string(),
        Value::Float(float) => float_repr(*float),
        other => str(other),
    }
}

pub(super) fn number_json(number: Number) -> Json {
    match number {
        Number::Int(int) => i64::try_from(int)
            .map(Json::from)
            .or_else(|_| u64::try_from(int).map(Json::from))
            .unwrap_or_else(|_| json!(int as f64)),
        Number::Float(float) => json!(float),
    }
}

/// Whole seconds, rounded down.
pub(super) fn number_of_seconds(duration: Duration) -> Json {
    json!(duration.as_secs())
}

pub(super) fn texts_json(texts: &[Spanned<String>]) -> Json {
    texts.iter().map(|text| json!(text.value)).collect()
}

/// A command as it was written: one string, or a list.
pub(super) fn command_json(lines: &[Spanned<String>], is_text: bool) -> Json {
    match lines {
        [only] if is_text => json!(only.value),
        several => texts_json(several),
    }
}

pub(super) fn action_json(action: &Action) -> Json {
    let when: BTreeSet<&str> = action.when.iter().map(|when| when.value.as_str()).collect();
    json!({"when": when, "if": texts_json(&action.conditions), "then": texts_json(&action.then)})
}

pub(super) fn mount_json(mount: &Mount) -> Json {
    let mut json = Map::new();
    put_text(&mut json, "source", Some(&mount.source));
    put_text(&mut json, "destination", Some(&mount.destination));
    json.insert("readonly".to_owned(), json!(mount.readonly));
    put_text(
        &mut json,
        "type",
        mount.kind.as_ref().map(|kind| kind.value.as_str()),
    );
    if !mount.options.is_empty() {
        json.insert("options".to_owned(), map_json(&mount.options));
    }
    Json::Object(json)
}

pub(super) fn output_json(output: &Output) -> Json {
    let mut json = Map::new();
    put_text(&mut json, "name", Some(&output.name));
    put_text(&mut json, "description", output.description.as_deref());
    Json::Object(json)
}

/// `None` when nothing is asked for. Empty devices are something: they clear the platform's.
pub(super) fn resources_json(resources: &Resources) -> Option<Json> {
    let bounds = |bounds: &Option<Bounds>| {
        let bounds = bounds.as_ref()?;
        let mut json = Map::new();
        put(
            &mut json,
            "min",
            bounds.min.as_ref().map(|min| number_json(min.value)),
        );
        put(
            &mut json,
            "max",
            bounds.max.as_ref().map(|max| number_json(max.value)),
        );
        (!json.is_empty()).then_some(Json::Object(json))
    };
    let mut json = Map::new();
    put(&mut json, "cpu", bounds(&resources.cpu));
    put(&mut json, "memory", bounds(&resources.memory));
    let devices = resources.devices.as_ref().map(|devices| {
        let devices = devices
            .iter()
            .map(|(name, count)| (name.value.clone(), number_json(count.value)));
        Json::Object(devices.collect())
    });
    put(&mut json, "devices", devices);
    (!json.is_empty()).then_some(Json::Object(json))
}

/// An override of a step that is not in the file: its items as they were written.
pub(super) fn add_override(template: &mut Map<String, Json>, overrides: &Override) {
    put_text(
        template,
        "image",
        overrides.image.as_ref().map(|image| image.value.as_str()),
    );
    let command = overrides.command.as_ref();
    put(
        template,
        "command",
        command.map(|lines| command_json(lines, overrides.command_is_text)),
    );
    put_list(
        template,
        "parameters",
        overrides.parameters.iter().map(parameter_json).collect(),
    );
    put_list(
        template,
        "inputs",
        overrides.inputs.iter().map(input_json).collect(),
    );
    put_list(
        template,
        "mounts",
        overrides.mounts.iter().map(mount_json).collect(),
    );
    put_text(
        template,
        "environment",
        overrides
            .environment
            .as_ref()
            .map(|text| text.value.as_str()),
    );
    let preset = overrides.runtime_config_preset.as_ref();
    put_text(
        template,
        "runtime-config-preset",
        preset.map(|text| text.value.as_str()),
    );
    let variables = overrides.environment_variables.iter();
    put_list(
        template,
        "environment-variables",
        variables.map(variable_json).collect(),
    );
    if let Some(autorestart) = &overrides.autorestart {
        template.insert(
            "runtime_config".to_owned(),
            json!({"autorestart": autorestart.value}),
        );
    }
}

fn parameter_json(parameter: &Parameter) -> Json {
    let mut json = Map::new();
    let is_flag = parameter.kind == ParameterKind::Flag;
    put_text(&mut json, "name", Some(&parameter.name));
    let kind = match parameter.kind {
        ParameterKind::Flag => "flag",
        ParameterKind::Float => "float",
        ParameterKind::Integer => "integer",
        ParameterKind::String => "string",
    };
    put_text(&mut json, "type", Some(kind));
    let default = parameter.default_value();
    put(
        &mut json,
        "default",
        (default != Value::None).then(|| value_json(&default)),
    );
    put(
        &mut json,
        "min",
        parameter.min.as_ref().map(|min| number_json(min.value)),
    );
    put(
        &mut json,
        "max",
        parameter.max.as_ref().map(|max| number_json(max.value)),
    );
    let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| json!(text.value));
    put(&mut json, "pass-as", text(&parameter.pass_as));
    if is_flag {
        put(&mut json, "pass-true-as", text(&parameter.pass_true_as));
        put(&mut json, "pass-false-as", text(&parameter.pass_false_as));
    } else {
        json.insert("optional".to_owned(), json!(parameter.optional));
        let choices = parameter
            .choices
            .as_ref()
            .filter(|choices| !choices.is_empty());
        put(
            &mut json,
            "choices",
            choices.map(|choices| choices.iter().map(value_json).collect()),
        );
    }
    if let Some(multiple) = parameter.multiple {
        let word = if multiple == Multiple::Repeat {
            "repeat"
        } else {
            "separate"
        };
        json.insert("multiple".to_owned(), json!(word));
        json.insert(
            "multiple-separator".to_owned(),
            json!(parameter.multiple_separator),
        );
    }
    let widget = parameter
        .widget
        .as_ref()
        .map(|widget| match widget.settings.is_empty() {
            true => json!(widget.kind),
            false => json!({"type": widget.kind, "settings": map_json(&widget.settings)}),
        });
    put(&mut json, "widget", widget);
    put_text(&mut json, "description", parameter.description.as_deref());
    put_text(
        &mut json,
        "category",
        parameter
            .category
            .as_deref()
            .filter(|text| !text.is_empty()),
    );
    Json::Object(json)
}

fn input_json(input: &Input) -> Json {
    let mut json = Map::new();
    put_text(&mut json, "name", Some(&input.name));
    let default = input.default.as_ref();
    put(
        &mut json,
        "default",
        default.map(|uris| command_json(uris, input.default_is_text)),
    );
    json.insert("optional".to_owned(), json!(input.optional));
    put_text(&mut json, "description", input.description.as_deref());
    put_text(
        &mut json,
        "filename",
        input.filename.as_ref().map(|name| name.value.as_str()),
    );
    let kept = match input.keep_directories {
        KeepDirectories::None => None,
        KeepDirectories::Full => Some("full"),
        KeepDirectories::Suffix => Some("suffix"),
    };
    put_text(&mut json, "keep-directories", kept);
    put_text(
        &mut json,
        "download",
        (*input.download == Download::OnDemand).then_some("on-demand"),
    );
    Json::Object(json)
}

fn variable_json(variable: &EnvironmentVariable) -> Json {
    let mut json = Map::new();
    put_text(&mut json, "name", Some(&variable.name));
    put_text(
        &mut json,
        "default",
        variable
            .default
            .as_ref()
            .map(|default| default.value.as_str()),
    );
    json.insert("optional".to_owned(), json!(variable.optional));
    put_text(&mut json, "description", variable.description.as_deref());
    Json::Object(json)
}
