//! Templates of steps.

use std::time::Duration;

use contract::{api, ledger};

use crate::model::{KeepDirectories, Multiple, Parameter, ParameterKind};
use crate::plan::{
    DeviceNeed, Needs, Origin, StepTemplate, TemplateInput, TemplateMount, TemplateParameter,
};
use crate::span::{Span, Spanned};
use crate::value::{Number, Value};
use crate::wire::WireError;
use crate::wire::value::{absent, present};

impl From<&StepTemplate> for ledger::StepTemplate {
    fn from(template: &StepTemplate) -> Self {
        let variables = template.environment_variables.iter();
        Self {
            step: template.step.clone(),
            image: template.image.clone(),
            commands: template.commands.clone(),
            parameters: template.parameters.iter().map(Into::into).collect(),
            inputs: template.inputs.iter().map(Into::into).collect(),
            environment_variables: variables
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            environment: template.environment.clone(),
            time_limit_ms: milliseconds(template.time_limit),
            no_output_timeout_ms: milliseconds(template.no_output_timeout),
            stop_condition: template.stop_condition.clone().unwrap_or_default(),
            source_path: template.source_path.clone().unwrap_or_default(),
            required_environment_variables: template.required_environment_variables.clone(),
            mounts: template.mounts.iter().map(Into::into).collect(),
            // Absent where nothing is needed, as in templates of before there were needs.
            needs: (template.needs != Needs::default()).then(|| (&template.needs).into()),
        }
    }
}

impl From<&TemplateMount> for api::Mount {
    fn from(mount: &TemplateMount) -> Self {
        Self {
            source: mount.source.clone(),
            destination: mount.destination.clone(),
            read_only: mount.read_only,
            r#type: mount.kind.clone(),
        }
    }
}

impl From<&Needs> for ledger::Needs {
    fn from(needs: &Needs) -> Self {
        Self {
            cpu_millis: needs.cpu_millis,
            cpu_limit_millis: needs.cpu_limit_millis,
            memory_bytes: needs.memory_bytes,
            memory_limit_bytes: needs.memory_limit_bytes,
            devices: needs.devices.iter().map(Into::into).collect(),
        }
    }
}

impl From<&api::Mount> for TemplateMount {
    fn from(message: &api::Mount) -> Self {
        Self {
            source: message.source.clone(),
            destination: message.destination.clone(),
            read_only: message.read_only,
            kind: message.r#type.clone(),
        }
    }
}

impl From<&ledger::Needs> for Needs {
    fn from(message: &ledger::Needs) -> Self {
        Self {
            cpu_millis: message.cpu_millis,
            cpu_limit_millis: message.cpu_limit_millis,
            memory_bytes: message.memory_bytes,
            memory_limit_bytes: message.memory_limit_bytes,
            devices: message.devices.iter().map(Into::into).collect(),
        }
    }
}

impl From<&DeviceNeed> for ledger::DeviceNeed {
    fn from(need: &DeviceNeed) -> Self {
        Self {
            kind: need.kind.clone(),
            count: need.count,
            memory_bytes: need.memory_bytes,
        }
    }
}

impl From<&ledger::DeviceNeed> for DeviceNeed {
    fn from(message: &ledger::DeviceNeed) -> Self {
        Self {
            kind: message.kind.clone(),
            count: message.count,
            memory_bytes: message.memory_bytes,
        }
    }
}

impl TryFrom<&ledger::StepTemplate> for StepTemplate {
    type Error = WireError;

    /// # Errors
    /// A field with a value that is not known.
    fn try_from(message: &ledger::StepTemplate) -> Result<Self, WireError> {
        let variables = message.environment_variables.iter();
        Ok(Self {
            step: message.step.clone(),
            image: message.image.clone(),
            commands: message.commands.clone(),
            parameters: message
                .parameters
                .iter()
                .map(TemplateParameter::try_from)
                .collect::<Result<_, _>>()?,
            inputs: message
                .inputs
                .iter()
                .map(TemplateInput::try_from)
                .collect::<Result<_, _>>()?,
            environment_variables: variables
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            environment: message.environment.clone(),
            time_limit: duration(message.time_limit_ms),
            no_output_timeout: duration(message.no_output_timeout_ms),
            stop_condition: filled(&message.stop_condition),
            source_path: filled(&message.source_path),
            required_environment_variables: message.required_environment_variables.clone(),
            mounts: message.mounts.iter().map(Into::into).collect(),
            needs: message.needs.as_ref().map(Into::into).unwrap_or_default(),
        })
    }
}

/// Rounded up, so that a limit never becomes none.
fn milliseconds(duration: Option<Duration>) -> u64 {
    let whole =
        |duration: Duration| u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    duration.map_or(0, whole)
}

fn duration(milliseconds: u64) -> Option<Duration> {
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl From<&TemplateParameter> for ledger::TemplateParameter {
    fn from(parameter: &TemplateParameter) -> Self {
        let definition = &parameter.definition;
        let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.value.clone());
        Self {
            name: definition.name.value.clone(),
            r#type: kind_word(definition.kind).to_owned(),
            optional: definition.optional,
            value: present(&parameter.value),
            origin: origin_number(parameter.origin),
            pass_as: text(&definition.pass_as),
            pass_true_as: text(&definition.pass_true_as),
            pass_false_as: text(&definition.pass_false_as),
            multiple: multiple_word(definition.multiple).to_owned(),
            multiple_separator: definition.multiple_separator.clone(),
            choices: definition
                .choices
                .iter()
                .flatten()
                .map(Into::into)
                .collect(),
            minimum: definition.min.as_ref().map(|min| min.value.as_f64()),
            maximum: definition.max.as_ref().map(|max| max.value.as_f64()),
        }
    }
}

impl TryFrom<&ledger::TemplateParameter> for TemplateParameter {
    type Error = WireError;

    /// # Errors
    /// A type, a way to pass several values or an origin that is not known.
    fn try_from(message: &ledger::TemplateParameter) -> Result<Self, WireError> {
        let spanned = |text: &String| Spanned::new(text.clone(), Span::default());
        let number = |number: f64| Spanned::new(shortest(number), Span::default());
        let choices = message
            .choices
            .iter()
            .map(Value::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        let definition = Parameter {
            name: spanned(&message.name),
            kind: read_kind(&message.r#type)?,
            optional: message.optional,
            pass_as: message.pass_as.as_ref().map(spanned),
            pass_true_as: message.pass_true_as.as_ref().map(spanned),
            pass_false_as: message.pass_false_as.as_ref().map(spanned),
            multiple: read_multiple(&message.multiple)?,
            multiple_separator: message.multiple_separator.clone(),
            choices: (!choices.is_empty()).then_some(choices),
            min: message.minimum.map(number),
            max: message.maximum.map(number),
            ..Parameter::default()
        };
        Ok(Self {
            definition,
            value: absent(&message.value)?,
            origin: read_origin(message.origin)?,
        })
    }
}

/// A whole number where the float is one, so that messages say `3` and not `3.0`.
fn shortest(number: f64) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0
        && number.abs() < EXACT
        && !(number == 0.0 && number.is_sign_negative())
    {
        Number::Int(number as i128)
    } else {
        Number::Float(number)
    }
}

fn kind_word(kind: ParameterKind) -> &'static str {
    match kind {
        ParameterKind::Flag => "flag",
        ParameterKind::Float => "float",
        ParameterKind::Integer => "integer",
        ParameterKind::String => "string",
    }
}

fn read_kind(word: &str) -> Result<ParameterKind, WireError> {
    match word {
        "flag" => Ok(ParameterKind::Flag),
        "float" => Ok(ParameterKind::Float),
        "integer" => Ok(ParameterKind::Integer),
        "string" => Ok(ParameterKind::String),
        other => Err(WireError::Unknown {
            field: "parameter.type",
            value: other.to_owned(),
        }),
    }
}

fn multiple_word(multiple: Option<Multiple>) -> &'static str {
    match multiple {
        None => "none",
        Some(Multiple::Repeat) => "repeat",
        Some(Multiple::Separate) => "separate",
    }
}

fn read_multiple(word: &str) -> Result<Option<Multiple>, WireError> {
    match word {
        "none" | "" => Ok(None),
        "repeat" => Ok(Some(Multiple::Repeat)),
        "separate" => Ok(Some(Multiple::Separate)),
        other => Err(WireError::Unknown {
            field: "parameter.multiple",
            value: other.to_owned(),
        }),
    }
}

impl From<&TemplateInput> for ledger::TemplateInput {
    fn from(input: &TemplateInput) -> Self {
        Self {
            name: input.name.clone(),
            uris: input.uris.clone(),
            origin: origin_number(input.origin),
            optional: input.optional,
            keep_directories: keep_word(input.keep_directories).to_owned(),
            file_name: input.file_name.clone().unwrap_or_default(),
            on_demand: input.on_demand,
        }
    }
}

impl TryFrom<&ledger::TemplateInput> for TemplateInput {
    type Error = WireError;

    /// # Errors
    /// A way to keep directories or an origin that is not known.
    fn try_from(message: &ledger::TemplateInput) -> Result<Self, WireError> {
        Ok(Self {
            name: message.name.clone(),
            uris: message.uris.clone(),
            origin: read_origin(message.origin)?,
            optional: message.optional,
            keep_directories: read_keep(&message.keep_directories)?,
            file_name: filled(&message.file_name),
            on_demand: message.on_demand,
        })
    }
}

fn keep_word(keep: KeepDirectories) -> &'static str {
    match keep {
        KeepDirectories::None => "none",
        KeepDirectories::Full => "full",
        KeepDirectories::Suffix => "suffix",
    }
}

fn read_keep(word: &str) -> Result<KeepDirectories, WireError> {
    match word {
        "none" | "" => Ok(KeepDirectories::None),
        "full" => Ok(KeepDirectories::Full),
        "suffix" => Ok(KeepDirectories::Suffix),
        other => Err(WireError::Unknown {
            field: "input.keep_directories",
            value: other.to_owned(),
        }),
    }
}

fn origin_number(origin: Origin) -> i32 {
    let origin = match origin {
        Origin::Nowhere => api::Origin::Unspecified,
        Origin::Default => api::Origin::Default,
        Origin::Override => api::Origin::Override,
        Origin::PipelineParameter => api::Origin::PipelineParameter,
        Origin::Edge => api::Origin::Edge,
        Origin::Launch => api::Origin::Launch,
    };
    origin.into()
}

fn read_origin(number: i32) -> Result<Origin, WireError> {
    let unknown = |_| WireError::Unknown {
        field: "origin",
        value: number.to_string(),
    };
    Ok(match api::Origin::try_from(number).map_err(unknown)? {
        api::Origin::Unspecified => Origin::Nowhere,
        api::Origin::Default => Origin::Default,
        api::Origin::Override => Origin::Override,
        api::Origin::PipelineParameter => Origin::PipelineParameter,
        api::Origin::Edge => Origin::Edge,
        api::Origin::Launch => Origin::Launch,
    })
}
