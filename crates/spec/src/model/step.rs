//! `step`: a named unit of work.

use crate::diagnostic::Code;
use crate::duration;
use crate::reader::{Reader, boolean, is_text, short_text, text, texts, unique, words};
use crate::value::Value;
use crate::yaml::{Data, Node};
use std::time::Duration;

use crate::model::{EnvironmentVariable, Input, Mount, Parameter, Resources};
use crate::span::{Span, Spanned};

/// What to run, in which image, with what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The whole item.
    pub span: Span,
    /// Free text; spaces and capitals are common.
    pub name: Spanned<String>,
    /// The container image.
    pub image: Spanned<String>,
    /// The lines of one script. A single string in the file is one line here. May be empty.
    pub command: Vec<Spanned<String>>,
    /// Whether the file gives the command as one string rather than as a list. It matters only where a command is
    /// printed as it was written.
    pub command_is_text: bool,
    /// In the order in which they are passed. Unique by name.
    pub parameters: Vec<Parameter>,
    /// Files that the step reads. Unique by name.
    pub inputs: Vec<Input>,
    /// Documentation of what the step writes; nothing is checked against it.
    pub outputs: Vec<Output>,
    /// Directories of the host.
    pub mounts: Vec<Mount>,
    /// Names of Kubernetes volumes used as an extra input cache.
    pub cache_volumes: Vec<Spanned<String>>,
    /// Set in the process. Unique by name.
    pub environment_variables: Vec<EnvironmentVariable>,
    /// Names of groups of variables that the platform keeps.
    pub environment_variable_groups: Vec<Spanned<String>>,
    /// The machine type.
    pub environment: Option<Spanned<String>>,
    /// A preset of the platform; needs `environment`.
    pub runtime_config_preset: Option<Spanned<String>>,
    /// What the step needs of a machine.
    pub resources: Option<Resources>,
    /// Wall clock of the whole execution. Absent: no limit.
    pub time_limit: Option<Spanned<Duration>>,
    /// How long the log may be silent. Absent: the platform's default.
    pub no_output_timeout: Option<Spanned<Duration>>,
    /// Expression over live metadata that ends the execution.
    pub stop_condition: Option<Spanned<String>>,
    /// Data store for the outputs.
    pub upload_store: Option<Spanned<String>>,
    /// The original source file; enables `{source-path}` in commands.
    pub source_path: Option<Spanned<String>>,
    /// Whether to restart when a spot machine is taken away. Absent: not said.
    pub autorestart: Option<Spanned<bool>>,
    /// For people.
    pub description: Option<String>,
    /// For people.
    pub category: Option<String>,
    /// Address of a picture, for people.
    pub icon: Option<String>,
}

/// A documented output of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// What it is called.
    pub name: Spanned<String>,
    /// For people.
    pub description: Option<String>,
}

impl Step {
    /// The parameter of that exact name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|parameter| *parameter.name == name)
    }

    /// The input of that exact name.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| *input.name == name)
    }
}

impl Step {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Step {
        let mut fields = reader.fields(
            node,
            "a step",
            &[
                "name",
                "image",
                "command",
                "parameters",
                "inputs",
                "outputs",
                "mounts",
                "cache-volumes",
                "environment-variables",
                "environment-variable-groups",
                "environment",
                "runtime-config-preset",
                "resources",
                "time-limit",
                "no-output-timeout",
                "stop-condition",
                "upload-store",
                "source-path",
                "autorestart",
                "description",
                "category",
                "icon",
            ],
        );
        let mut step = Step {
            span: fields.span(),
            name: fields.required("name", text),
            image: fields.required("image", text),
            command: fields.required("command", texts),
            command_is_text: is_text(node.get("command")),
            parameters: fields.list("parameters", Parameter::read),
            inputs: fields.list("inputs", Input::read),
            outputs: fields.list("outputs", Output::read),
            mounts: fields.list("mounts", Mount::read),
            cache_volumes: fields.list("cache-volumes", text),
            environment_variables: fields.list("environment-variables", EnvironmentVariable::read),
            environment_variable_groups: fields.list("environment-variable-groups", text),
            environment: fields
                .optional("environment", text)
                .filter(|text| !text.is_empty()),
            runtime_config_preset: fields
                .optional("runtime-config-preset", text)
                .filter(|text| !text.is_empty()),
            resources: fields.optional("resources", Resources::read_of_step),
            time_limit: fields.optional("time-limit", duration).flatten(),
            no_output_timeout: fields.optional("no-output-timeout", duration).flatten(),
            stop_condition: fields.optional("stop-condition", text),
            upload_store: fields
                .optional("upload-store", short_text(64))
                .filter(|text| !text.is_empty()),
            source_path: fields.optional("source-path", text),
            autorestart: fields.optional("autorestart", boolean),
            description: fields.optional("description", words),
            category: fields.optional("category", words),
            icon: fields.optional("icon", words),
        };
        step.cache_volumes.retain(|name| !name.is_empty());
        step.environment_variable_groups
            .retain(|name| !name.is_empty());
        step.parameters = unique(reader, "a parameter", step.parameters, |parameter| {
            &parameter.name
        });
        step.inputs = unique(reader, "an input", step.inputs, |input| &input.name);
        step.environment_variables = unique(
            reader,
            "a variable",
            step.environment_variables,
            |variable| &variable.name,
        );
        step
    }
}

impl Output {
    fn read(reader: &mut Reader, node: &Node) -> Output {
        let mut fields = reader.fields(node, "an output", &["name", "description"]);
        Output {
            name: fields.required("name", text),
            description: fields.optional("description", words),
        }
    }
}

/// More than the reference can count: 999,999,999 days.
const TOO_MANY_SECONDS: u128 = 86_399_999_913_601;

/// Seconds, or text with units. Blank text, zero and less mean that it is not set.
fn duration(reader: &mut Reader, node: &Node) -> Option<Spanned<Duration>> {
    let refuse = |reader: &mut Reader, reason: String| {
        let hint = "whole seconds, or for instance `90s`, `1h 30m`, `2d`".to_owned();
        reader.error(
            Code::BadValue,
            node.span,
            format!("this is no duration: {reason}"),
            Some(hint),
        );
        None
    };
    let found = match &node.data {
        Data::Scalar(Value::Str(text)) => match duration::parse(text) {
            Ok(found) => found,
            Err(reason) => refuse(reader, reason.to_string()),
        },
        Data::Scalar(Value::Int(seconds)) if seconds.unsigned_abs() >= TOO_MANY_SECONDS => {
            refuse(reader, format!("{seconds} seconds are too many"))
        }
        Data::Scalar(Value::Int(seconds)) => {
            if *seconds <= 0 {
                reader.warn(
                    Code::NoEffect,
                    node.span,
                    "a duration of zero or less is no limit",
                    None,
                );
            }
            u64::try_from(*seconds)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs)
        }
        _ => {
            reader.wrong_type(node, "a whole number or a string");
            None
        }
    };
    found.map(|duration| Spanned::new(duration, node.span))
}
