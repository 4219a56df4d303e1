//! Parameters: templates that are never used, defaults that a user could not give.

use std::cmp::Ordering;

use crate::diagnostic::Code;
use crate::model::{Parameter, ParameterKind};
use crate::python;
use crate::reader::Reader;
use crate::span::{Span, Spanned};
use crate::value::Value;

/// Reports what is odd about a parameter of a step. Nothing of it is an error: many real files rely on that.
pub(super) fn lint(parameter: &Parameter, reader: &mut Reader) {
    lint_passing(parameter, reader);
    lint_default(parameter, reader);
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
