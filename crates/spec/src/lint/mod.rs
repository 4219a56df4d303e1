//! What only the whole file can tell: names that nothing has, defaults that do not fit, fields that mean nothing.
//!
//! It looks at files in which every value is of its type; see [`crate::reader`] for what comes before.

mod parameters;
mod references;

use crate::diagnostic::Code;
use crate::expression;
use crate::model::{Action, Config, Step, Task, TaskKind};
use crate::reader::Reader;
use crate::span::{Span, Spanned};

/// Reports all that is wrong or looks wrong.
pub(crate) fn lint(config: &Config, reader: &mut Reader) {
    for step in &config.steps {
        lint_step(step, reader);
    }
    for task in &config.tasks {
        lint_task(task, reader);
    }
    for action in config
        .pipelines
        .iter()
        .flat_map(|pipeline| &pipeline.nodes)
        .flat_map(|node| &node.actions)
    {
        lint_action(action, reader);
    }
    references::lint(config, reader);
}

fn lint_step(step: &Step, reader: &mut Reader) {
    if let (Some(preset), None) = (&step.runtime_config_preset, &step.environment) {
        preset_without_environment(preset.span, reader);
    }
    lint_expression(step.stop_condition.as_ref(), reader);
    for parameter in &step.parameters {
        parameters::lint(parameter, reader);
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
        let hint = reader.suggest(when, "known are", WHEN);
        reader.warn(Code::NotWellKnown, when.span, message, hint);
    }
    for then in action
        .then
        .iter()
        .filter(|then| !THEN.contains(&then.as_str()))
    {
        let message = format!("`{}` is no known action: it may do nothing", **then);
        let hint = reader.suggest(then, "known are", THEN);
        reader.warn(Code::NotWellKnown, then.span, message, hint);
    }
}
