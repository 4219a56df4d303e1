//! From a step and values to the lines of its script.
//!
//! Each command of a step is interpolated by itself: `{parameters}`, `{parameter:NAME}`, `{parameter-value:NAME}` and
//! `{source-path}` are replaced, everything else in braces stays, because shells use braces too. Nothing is appended:
//! a step that names no placeholder reads its parameters from a file.
//!
//! - [`resolve_values`]: what was given, on top of the step's defaults;
//! - [`build_commands`]: the interpolated lines;
//! - [`join_script`]: the one script that a shell runs;
//! - [`check_value`]: whether a value fits its parameter, before any of it.

mod arguments;
mod values;

mod interpolate;

use std::collections::BTreeMap;

use crate::model::Step;
use crate::plan::StepTemplate;
use crate::python::{FormatError, text};
use crate::value::Value;

pub use arguments::format_arguments;
pub use interpolate::interpolate_uri;
use interpolate::{Scope, interpolate_command};
pub use values::{ValueError, check_value, value_from_text};

/// Values of parameters by name.
pub type Values = BTreeMap<String, Value>;

/// Whether the defaults of flags count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagDefaults {
    /// A flag that nobody gave is not passed, whatever its default. So does `Step.build_command` of the reference, and
    /// `shoal execution command`, which shows the same.
    Ignored,
    /// The default of a flag is a value like any other. So executions are created.
    Passed,
}

/// The interpolated lines of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// One for each command of the step, blanks around it removed. A line may be empty, and may hold line ends.
    pub lines: Vec<String>,
    /// Commands that were left as they are, and why.
    pub warnings: Vec<String>,
}

/// Why a value cannot be passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Several values for a parameter that takes one.
    #[error(
        "the parameter `{0}` takes one value and has a list; give it `multiple: repeat` or `multiple: separate`"
    )]
    ListForSingle(String),
    /// A list within the list of a repeated parameter.
    #[error("the parameter `{0}` has a list within its list of values")]
    NestedList(String),
    /// The template of the parameter does not fit it.
    #[error(
        "`pass-as` of the parameter `{parameter}`: {error}; the placeholders are `{{name}}`, `{{value}}` and `{{v}}`"
    )]
    Template {
        /// Whose template it is.
        parameter: String,
        /// What does not fit.
        error: FormatError,
    },
    /// An input names a parameter that the step does not have.
    #[error("the step has no parameter `{0}`{hint}", hint = nearest_hint(.1))]
    UnknownParameter(String, Option<String>),
    /// An input names a parameter that has no value.
    #[error("the parameter `{0}` has no value")]
    NoValue(String),
}

/// `; did you mean …?`, or nothing.
pub(crate) fn nearest_hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The values a step runs with: its defaults, and on top of them what is given. `Value::None` counts as not given when
/// arguments are made of it.
pub fn resolve_values(step: &Step, given: &Values, flags: FlagDefaults) -> Values {
    let is_flag =
        |parameter: &crate::model::Parameter| parameter.kind == crate::model::ParameterKind::Flag;
    let mut values: Values = step
        .parameters
        .iter()
        .filter(|parameter| flags == FlagDefaults::Passed || !is_flag(parameter))
        .map(|parameter| (parameter.name.value.clone(), parameter.default_value()))
        .filter(|(_, default)| *default != Value::None)
        .collect();
    values.extend(
        given
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    values
}

/// The lines of the step's script with the values put in.
///
/// A template that Python calls malformed leaves its whole command as it is, with a warning.
///
/// # Errors
/// A value that cannot be passed.
pub fn build_commands(
    step: &Step,
    given: &Values,
    flags: FlagDefaults,
) -> Result<Commands, CommandError> {
    let scope = Scope {
        parameters: step.parameters.iter().collect(),
        values: resolve_values(step, given, flags),
        source_path: step.source_path.as_ref().map(|path| path.value.as_str()),
    };
    interpolate_all(step.command.iter().map(|line| line.value.as_str()), &scope)
}

/// The same for a template, whose values are already on top of its defaults.
pub(crate) fn build_template(template: &StepTemplate) -> Result<Commands, CommandError> {
    let scope = Scope {
        parameters: template.definitions(),
        values: template.values(),
        source_path: template.source_path.as_deref(),
    };
    interpolate_all(template.commands.iter().map(String::as_str), &scope)
}

fn interpolate_all<'c>(
    commands: impl Iterator<Item = &'c str>,
    scope: &Scope<'_>,
) -> Result<Commands, CommandError> {
    let mut built = Commands::default();
    for command in commands {
        let line = match interpolate_command(command, scope) {
            Ok(line) => line,
            Err(CommandError::Template {
                parameter,
                error: FormatError::Malformed(message),
            }) => {
                built.warnings.push(format!(
                    "`{command}` is left as it is: `pass-as` of `{parameter}`: {message}"
                ));
                command.to_owned()
            }
            Err(error) => return Err(error),
        };
        built.lines.push(text::strip(&line).to_owned());
    }
    Ok(built)
}

/// One script of all lines, blank ones left out, joined by line ends: what one line sets, the next one sees, and blocks
/// of shell may be spread over lines. The status of the script is that of its last command.
///
/// A first line that begins with `#!` stays first, so that a runtime can take the interpreter from it.
pub fn join_script(lines: &[String]) -> String {
    let kept: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| !text::strip(line).is_empty())
        .collect();
    kept.join("\n")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
