//! A step with the override of a node on top.

use crate::model::{Override, Step};
use crate::span::Spanned;

/// The step as the node has it.
///
/// What is set in the override replaces what the step says. Parameters, inputs and environment variables are merged by
/// name: an item of the override replaces the step's item as a whole, at its place, and nothing inside is inherited, so
/// that an input without a default clears the default. New names come last.
pub(crate) fn merge(step: &Step, overrides: Option<&Override>) -> Step {
    let mut merged = step.clone();
    let Some(overrides) = overrides else {
        return merged;
    };
    if let Some(image) = &overrides.image {
        merged.image = image.clone();
    }
    if let Some(command) = &overrides.command {
        merged.command = command.clone();
        merged.command_is_text = overrides.command_is_text;
    }
    if !overrides.mounts.is_empty() {
        merged.mounts = overrides.mounts.clone();
    }
    replace(&mut merged.environment, &overrides.environment);
    replace(
        &mut merged.runtime_config_preset,
        &overrides.runtime_config_preset,
    );
    replace(&mut merged.autorestart, &overrides.autorestart);
    merge_by_name(&mut merged.parameters, &overrides.parameters, |parameter| {
        &parameter.name
    });
    merge_by_name(&mut merged.inputs, &overrides.inputs, |input| &input.name);
    let (variables, replacing) = (
        &mut merged.environment_variables,
        &overrides.environment_variables,
    );
    merge_by_name(variables, replacing, |variable| &variable.name);
    merged
}

fn replace<T: Clone>(field: &mut Option<T>, replacing: &Option<T>) {
    if replacing.is_some() {
        field.clone_from(replacing);
    }
}

fn merge_by_name<T: Clone>(
    items: &mut Vec<T>,
    replacing: &[T],
    name: impl Fn(&T) -> &Spanned<String>,
) {
    for item in replacing {
        match items
            .iter_mut()
            .find(|old| name(old).value == name(item).value)
        {
            Some(old) => *old = item.clone(),
            None => items.push(item.clone()),
        }
    }
}
