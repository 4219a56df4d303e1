//! `shoal execution command`: the shell lines of a step with its default parameters.

use serde_json::Value;
use spec::command::{FlagDefaults, Values, build_commands};

use super::Context;
use crate::args::ConfigFile;
use crate::commands::config;
use crate::commands::run::pick;
use crate::{Exit, Failure};

pub(super) fn command(context: &Context, step: &str, file: &ConfigFile) -> Result<Exit, Failure> {
    let loaded = config::load(context, file)?;
    let names: Vec<&str> = loaded
        .config
        .steps
        .iter()
        .map(|step| step.name.value.as_str())
        .collect();
    let name = pick("step", step, &names)?;
    let step = loaded
        .config
        .steps
        .iter()
        .rev()
        .find(|step| step.name.value == name);
    let step = step.ok_or_else(|| Failure::new(format!("there is no step {name}")))?;
    let commands = build_commands(step, &Values::new(), FlagDefaults::Ignored)
        .map_err(|error| Failure::new(format!("step {name}: {error}")))?;
    for warning in &commands.warnings {
        context.note(&format!("warning: {warning}"));
    }
    context.print(
        || {
            commands
                .lines
                .iter()
                .map(|line| Value::from(line.as_str()))
                .collect()
        },
        || {
            commands
                .lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect()
        },
    )?;
    Ok(Exit::Done)
}
