//! References: the steps and tasks that nodes name, the inputs and parameters that overrides and targets name.

use std::collections::BTreeMap;

use super::preset_without_environment;
use crate::diagnostic::Code;
use crate::model::{Config, Job, Node, NodeKind, Override, Pipeline, Step, Task, TaskSource};
use crate::reader::Reader;
use crate::span::{Span, Spanned};

/// Reports names that nothing has.
pub(super) fn lint(config: &Config, reader: &mut Reader) {
    let names = Names {
        steps: config
            .steps
            .iter()
            .map(|step| (step.name.as_str(), step))
            .collect(),
        tasks: config
            .tasks
            .iter()
            .map(|task| (task.name.as_str(), task))
            .collect(),
    };
    for pipeline in &config.pipelines {
        for node in &pipeline.nodes {
            lint_node(node, &names, reader);
        }
        lint_targets(pipeline, &names, reader);
    }
}

/// What the file has, by name.
struct Names<'a> {
    steps: BTreeMap<&'a str, &'a Step>,
    tasks: BTreeMap<&'a str, &'a Task>,
}

/// A node that takes its step from another commit names nothing of this file.
fn lint_node(node: &Node, names: &Names<'_>, reader: &mut Reader) {
    let (step, job) = match &node.kind {
        NodeKind::Deployment(_) => return,
        NodeKind::Execution { job, .. } | NodeKind::Task { job, .. } if job.commit.is_some() => {
            return;
        }
        NodeKind::Execution { step, job } => (find_step(names, step, reader), job),
        NodeKind::Task {
            source: TaskSource::Step(step),
            job,
        } if step.is_empty() => (None, job),
        NodeKind::Task {
            source: TaskSource::Step(step),
            job,
        } => (find_step(names, step, reader), job),
        NodeKind::Task {
            source: TaskSource::Blueprint(task),
            job,
        } => (step_of_task(names, task, reader), job),
    };
    if let (
        Some(step),
        Job {
            overrides: Some(overrides),
            ..
        },
    ) = (step, job)
    {
        lint_override(step, overrides, reader);
    }
}

fn find_step<'a>(
    names: &Names<'a>,
    name: &Spanned<String>,
    reader: &mut Reader,
) -> Option<&'a Step> {
    let step = names.steps.get(name.as_str()).copied();
    if step.is_none() {
        let hint = reader.suggest(name, "the steps are", names.steps.keys().copied());
        let message = format!("there is no step `{}`", **name);
        reader.error(Code::UnknownReference, name.span, message, hint);
    }
    step
}

fn step_of_task<'a>(
    names: &Names<'a>,
    name: &Spanned<String>,
    reader: &mut Reader,
) -> Option<&'a Step> {
    if name.is_empty() {
        return None;
    }
    let Some(task) = names.tasks.get(name.as_str()) else {
        let hint = reader.suggest(name, "the tasks are", names.tasks.keys().copied());
        let message = format!("there is no task `{}`", **name);
        reader.error(Code::UnknownReference, name.span, message, hint);
        return None;
    };
    let step = names.steps.get(task.step.as_str()).copied();
    if step.is_none() {
        let message = format!(
            "the task `{}` is of the step `{}`, which there is not",
            **name, *task.step
        );
        let hint = format!("the task names its step on line {}", task.step.span.line);
        reader.error(Code::UnknownReference, name.span, message, Some(hint));
    }
    step
}

/// Pipeline parameters reach parameters that the step of their node has.
fn lint_targets(pipeline: &Pipeline, names: &Names<'_>, reader: &mut Reader) {
    let nodes: BTreeMap<&str, &Node> = pipeline
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node))
        .collect();
    let step_of = |node: &Node| match &node.kind {
        NodeKind::Execution { step, job } if job.commit.is_none() => {
            names.steps.get(step.as_str()).copied()
        }
        _ => None,
    };
    for target in pipeline
        .parameters
        .iter()
        .flat_map(|parameter| &parameter.targets)
    {
        let step = nodes
            .get(target.node.as_str())
            .and_then(|node| step_of(node));
        if let Some(step) = step
            && step.parameter(&target.parameter).is_none()
        {
            let names = step
                .parameters
                .iter()
                .map(|parameter| parameter.name.as_str());
            no_such(
                "parameter",
                &target.parameter,
                &step.name,
                target.span,
                names,
                reader,
            );
        }
    }
}

fn lint_override(step: &Step, overrides: &Override, reader: &mut Reader) {
    for input in &overrides.inputs {
        if step.input(&input.name).is_none() {
            let names = step.inputs.iter().map(|input| input.name.as_str());
            no_such(
                "input",
                &input.name,
                &step.name,
                input.name.span,
                names,
                reader,
            );
        }
    }
    for parameter in &overrides.parameters {
        if step.parameter(&parameter.name).is_none() {
            let names = step
                .parameters
                .iter()
                .map(|parameter| parameter.name.as_str());
            no_such(
                "parameter",
                &parameter.name,
                &step.name,
                parameter.name.span,
                names,
                reader,
            );
        }
    }
    if let (Some(preset), None) = (&overrides.runtime_config_preset, &overrides.environment) {
        preset_without_environment(preset.span, reader);
    }
}

fn no_such<'a>(
    what: &str,
    name: &str,
    step: &str,
    span: Span,
    names: impl Iterator<Item = &'a str>,
    reader: &mut Reader,
) {
    let hint = reader.suggest(name, "it has", names);
    reader.error(
        Code::UnknownReference,
        span,
        format!("the step `{step}` has no {what} `{name}`"),
        hint,
    );
}
