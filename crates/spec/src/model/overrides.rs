//! `override` of a node: changes of a step for one node.

use crate::model::{EnvironmentVariable, Input, Mount, Parameter};
use crate::reader::{Reader, boolean, is_text, text, texts, unique};
use crate::span::{Span, Spanned};
use crate::yaml::Node;

/// Changes of a step. How they are merged with it is `plan`'s matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Override {
    /// The whole item.
    pub span: Span,
    /// Another image.
    pub image: Option<Spanned<String>>,
    /// Another command; `None`: the step's.
    pub command: Option<Vec<Spanned<String>>>,
    /// Whether the file gives the command as one string rather than as a list.
    pub command_is_text: bool,
    /// Each replaces the step's parameter of its name as a whole.
    pub parameters: Vec<Parameter>,
    /// Each replaces the step's input of its name as a whole.
    pub inputs: Vec<Input>,
    /// Other mounts.
    pub mounts: Vec<Mount>,
    /// Each replaces the step's variable of its name, or adds one.
    pub environment_variables: Vec<EnvironmentVariable>,
    /// Another machine type.
    pub environment: Option<Spanned<String>>,
    /// Another preset; needs `environment` beside it.
    pub runtime_config_preset: Option<Spanned<String>>,
    /// Whether to restart when a spot machine is taken away. Absent: as the step says.
    pub autorestart: Option<Spanned<bool>>,
}

impl Override {
    const FIELDS: [&str; 9] = [
        "image",
        "command",
        "parameters",
        "inputs",
        "mounts",
        "environment-variables",
        "environment",
        "runtime-config-preset",
        "autorestart",
    ];

    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Override {
        let mut fields = match reader.is_legacy() {
            true => reader.lenient_fields(node, "an override", &Override::FIELDS),
            false => reader.fields(node, "an override", &Override::FIELDS),
        };
        let mut overrides = Override {
            span: fields.span(),
            image: fields
                .optional("image", text)
                .filter(|image| !image.is_empty()),
            command: fields
                .optional("command", texts)
                .filter(|lines| !is_empty_command(lines)),
            command_is_text: is_text(node.get("command")),
            parameters: fields.list("parameters", Parameter::read),
            inputs: fields.list("inputs", Input::read),
            mounts: fields.list("mounts", Mount::read),
            environment_variables: fields.list("environment-variables", EnvironmentVariable::read),
            environment: fields
                .optional("environment", text)
                .filter(|environment| !environment.is_empty()),
            runtime_config_preset: fields
                .optional("runtime-config-preset", text)
                .filter(|preset| !preset.is_empty()),
            autorestart: fields.optional("autorestart", boolean),
        };
        overrides.parameters = unique(reader, "a parameter", overrides.parameters, |parameter| {
            &parameter.name
        });
        overrides.inputs = unique(reader, "an input", overrides.inputs, |input| &input.name);
        overrides.environment_variables = unique(
            reader,
            "a variable",
            overrides.environment_variables,
            |variable| &variable.name,
        );
        overrides
    }
}

/// A command of nothing does not replace the step's.
fn is_empty_command(lines: &[Spanned<String>]) -> bool {
    lines.is_empty() || (lines.len() == 1 && lines[0].is_empty())
}
