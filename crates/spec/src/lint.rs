//! What only the whole file can tell: names that nothing has, defaults that do not fit, fields that mean nothing.
//!
//! It looks at files in which every value is of its type; see [`crate::reader`] for what comes before.

use std::cmp::Ordering;

use crate::diagnostic::Code;
use crate::expression;
use crate::model::{
    Action, Config, Job, Node, NodeKind, Override, Parameter, ParameterKind, Pipeline, Step, Task,
    TaskKind, TaskSource,
};
use crate::nearest::suggest;
use crate::python;
use crate::reader::Reader;
use crate::span::{Span, Spanned};
use crate::value::Value;

/// Reports all that is wrong or looks wrong.
pub(crate) fn lint(config: &Config, reader: &mut Reader) {
    for step in &config.steps {
        lint_step(step, reader);
    }
    for task in &config.tasks {
        lint_task(task, reader);
    }
    for pipeline in &config.pipelines {
        lint_pipeline(config, pipeline, reader);
    }
}

fn lint_step(step: &Step, reader: &mut Reader) {
    if let (Some(preset), None) = (&step.runtime_config_preset, &step.environment) {
        preset_without_environment(preset.span, reader);
    }
    lint_expression(step.stop_condition.as_ref(), reader);
    for parameter in &step.parameters {
        lint_passing(parameter, reader);
        lint_default(parameter, reader);
    }
}

fn preset_without_environment(span: Span, reader: &mut Reader) {
    let hint = "a preset belongs to an environment: give `environment` beside it".to_owned();
    reader.error(
        Code::Conflict,
        span,
        "`runtime-config-preset` needs `environment`",
        Some(hint),
    );
}

fn lint_expression(condition: Option<&Spanned<String>>, reader: &mut Reader) {
    let Some(condition) = condition else { return };
    if let Err(reason) = expression::check(condition) {
        let message = format!("`stop-condition` is no valid expression: {reason}");
        let hint = "for instance `accuracy >= 0.99` or `loss < 0.1 and epoch > 3`".to_owned();
        reader.error(Code::BadValue, condition.span, message, Some(hint));
    }
}

/// Warns of templates that are never used.
fn lint_passing(parameter: &Parameter, reader: &mut Reader) {
    let given = |template: &Option<Spanned<String>>| {
        template
            .as_ref()
            .filter(|template| !template.is_empty())
            .map(|template| template.span)
    };
    let pass_true = given(&parameter.pass_true_as);
    let pass_false = given(&parameter.pass_false_as);
    let mut warn = |span: Option<Span>, message: &str| {
        if let Some(span) = span {
            reader.warn(Code::NoEffect, span, message, None);
        }
    };
    if parameter.kind == ParameterKind::Flag {
        if parameter.optional {
            warn(
                Some(parameter.name.span),
                "`optional` has no effect on a flag: flags always are",
            );
        }
        if pass_true.or(pass_false).is_some() {
            warn(
                given(&parameter.pass_as),
                "`pass-as` has no effect beside `pass-true-as` or `pass-false-as`",
            );
        }
    } else {
        warn(
            pass_true,
            "`pass-true-as` has no effect on a parameter that is no flag",
        );
        warn(
            pass_false,
            "`pass-false-as` has no effect on a parameter that is no flag",
        );
    }
}

/// Warns of a default that a user could not give.
fn lint_default(parameter: &Parameter, reader: &mut Reader) {
    let Some(default) = parameter
        .default
        .as_ref()
        .filter(|default| default.value.is_truthy())
    else {
        return;
    };
    let single = std::slice::from_ref(&default.value);
    let values = match &default.value {
        Value::List(values) => values,
        _ => single,
    };
    for value in values {
        for problem in value_problems(parameter, value) {
            let message = format!("the default of `{}` {problem}", *parameter.name);
            reader.warn(Code::BadDefault, default.span, message, None);
        }
    }
}

fn value_problems(parameter: &Parameter, value: &Value) -> Vec<String> {
    let shown = python::str(value);
    let mut problems = Vec::new();
    let mut cast = value.clone();
    match parameter.kind {
        ParameterKind::String if value.as_str().is_none() => {
            return vec![format!(
                "is {}, not a string: it is passed as `{shown}`",
                value.kind()
            )];
        }
        ParameterKind::Integer => match python::number::parse_int(&shown) {
            Some(int) => cast = Value::Int(int),
            None => problems.push(format!("is `{shown}`, which is not a whole number")),
        },
        ParameterKind::Float => match python::number::parse_float(&shown) {
            Some(float) => cast = Value::Float(float),
            None => problems.push(format!("is `{shown}`, which is not a number")),
        },
        ParameterKind::String | ParameterKind::Flag => {}
    }
    let against = |bound: &Value| python::compare::order(&cast, bound).ok().flatten();
    if let Some(min) = &parameter.min
        && against(&min.value.into()) == Some(Ordering::Less)
    {
        problems.push(format!(
            "is `{shown}`, less than the least allowed, {}",
            python::str(&min.value.into())
        ));
    }
    if let Some(max) = &parameter.max
        && against(&max.value.into()) == Some(Ordering::Greater)
    {
        problems.push(format!(
            "is `{shown}`, more than the most allowed, {}",
            python::str(&max.value.into())
        ));
    }
    let flags = [Value::Bool(true), Value::Bool(false)];
    let choices = match parameter.kind {
        ParameterKind::Flag => Some(flags.as_slice()),
        _ => parameter.choices.as_deref(),
    };
    if let Some(choices) = choices
        && !choices.iter().any(|choice| choice.same(&cast))
    {
        let allowed: Vec<String> = choices.iter().map(python::str).collect();
        problems.push(format!(
            "is `{shown}`, which is none of its choices: {}",
            allowed.join(", ")
        ));
    }
    problems
}

fn lint_task(task: &Task, reader: &mut Reader) {
    lint_expression(task.stop_condition.as_ref(), reader);
    if let (Some(set), true) = (
        task.parameter_sets.first(),
        *task.kind != TaskKind::ManualSearch,
    ) {
        let hint = "say `type: manual_search`".to_owned();
        reader.warn(
            Code::NoEffect,
            set.span,
            "parameter sets are only for a manual search",
            Some(hint),
        );
    }
    if *task.kind != TaskKind::BayesianTpe {
        let fields = [
            ("engine", task.engine.as_ref().map(|field| field.span)),
            (
                "optimization-target-metric",
                task.optimization_target_metric
                    .as_ref()
                    .map(|field| field.span),
            ),
            (
                "optimization-target-value",
                task.optimization_target_value
                    .as_ref()
                    .map(|field| field.span),
            ),
        ];
        for (name, span) in fields {
            if let Some(span) = span {
                let hint = "say `type: bayesian_tpe`".to_owned();
                reader.warn(
                    Code::NoEffect,
                    span,
                    format!("`{name}` is only for a Bayesian task"),
                    Some(hint),
                );
            }
        }
    }
}

fn lint_pipeline(config: &Config, pipeline: &Pipeline, reader: &mut Reader) {
    for node in &pipeline.nodes {
        for action in &node.actions {
            lint_action(action, reader);
        }
        match &node.kind {
            NodeKind::Execution { job, .. } | NodeKind::Task { job, .. }
                if job.commit.is_some() => {}
            NodeKind::Execution { step, job } => {
                lint_job(find_step(config, step, step.span, reader), job, reader)
            }
            NodeKind::Task { source, job } => {
                lint_job(find_source(config, source, reader), job, reader)
            }
            NodeKind::Deployment(_) => {}
        }
    }
    for target in pipeline
        .parameters
        .iter()
        .flat_map(|parameter| &parameter.targets)
    {
        let step = pipeline
            .node(&target.node)
            .and_then(|node| step_of_execution(config, node));
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

fn step_of_execution<'a>(config: &'a Config, node: &Node) -> Option<&'a Step> {
    match &node.kind {
        NodeKind::Execution { step, job } if job.commit.is_none() => config.step(step),
        _ => None,
    }
}

fn find_step<'a>(
    config: &'a Config,
    name: &str,
    span: Span,
    reader: &mut Reader,
) -> Option<&'a Step> {
    let step = config.step(name);
    if step.is_none() {
        let hint = suggest(
            name,
            "the steps are",
            config.steps.iter().map(|step| step.name.as_str()),
        );
        reader.error(
            Code::UnknownReference,
            span,
            format!("there is no step `{name}`"),
            Some(hint),
        );
    }
    step
}

fn find_source<'a>(
    config: &'a Config,
    source: &TaskSource,
    reader: &mut Reader,
) -> Option<&'a Step> {
    let name = match source {
        TaskSource::Step(step) if step.is_empty() => return None,
        TaskSource::Step(step) => return find_step(config, step, step.span, reader),
        TaskSource::Blueprint(task) => task,
    };
    if name.is_empty() {
        return None;
    }
    match config.task(name) {
        Some(task) => find_step(config, &task.step, task.step.span, reader),
        None => {
            let hint = suggest(
                name,
                "the tasks are",
                config.tasks.iter().map(|task| task.name.as_str()),
            );
            reader.error(
                Code::UnknownReference,
                name.span,
                format!("there is no task `{}`", **name),
                Some(hint),
            );
            None
        }
    }
}

fn lint_job(step: Option<&Step>, job: &Job, reader: &mut Reader) {
    if let (Some(step), Some(overrides)) = (step, &job.overrides) {
        lint_override(step, overrides, reader);
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

fn lint_action(action: &Action, reader: &mut Reader) {
    const WHEN: [&str; 3] = ["node-complete", "node-starting", "node-error"];
    const THEN: [&str; 4] = [
        "noop",
        "stop-pipeline",
        "error-pipeline",
        "require-approval",
    ];
    for when in action
        .when
        .iter()
        .filter(|when| !WHEN.contains(&when.as_str()))
    {
        let message = format!(
            "`{}` is no known moment: the action may never happen",
            **when
        );
        let hint = suggest(when, "known are", WHEN);
        reader.warn(Code::NotWellKnown, when.span, message, Some(hint));
    }
    for then in action
        .then
        .iter()
        .filter(|then| !THEN.contains(&then.as_str()))
    {
        let message = format!("`{}` is no known action: it may do nothing", **then);
        let hint = suggest(then, "known are", THEN);
        reader.warn(Code::NotWellKnown, then.span, message, Some(hint));
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
    let hint = suggest(name, "it has", names);
    reader.error(
        Code::UnknownReference,
        span,
        format!("the step `{step}` has no {what} `{name}`"),
        Some(hint),
    );
}
