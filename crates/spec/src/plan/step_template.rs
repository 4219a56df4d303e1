//! The template of a step: overrides and launch values in.

use crate::command::{ValueError, check_value, value_from_text};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Download, EnvironmentVariable, Input, Mount, Override, Parameter, ParameterKind, SocketKind,
    Step,
};
use crate::nearest::nearest;
use crate::plan::expand::Expanded;
use crate::plan::launch::{Assignment, Launch};
use crate::plan::needs::needs;
use crate::plan::refuse::{Findings, check_input_uri, check_step};
use crate::plan::{
    Origin, StepTemplate, TemplateInput, TemplateMount, TemplateParameter, check_uri, merge::merge,
};
use crate::span::Span;
use crate::value::Value;

/// The template of a single execution.
///
/// # Errors
/// What the step asks for and does not get, and what was given and does not fit, all at once.
pub fn template(step: &Step, launch: &Launch) -> Result<Expanded<StepTemplate>, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let mut draft = Draft::new(&mut findings, step, None);
    for assignment in &launch.parameters {
        draft.assign(&mut findings, &assignment.name, assignment, Origin::Launch);
    }
    for (name, uris) in &launch.inputs {
        draft.give_input(&mut findings, name, uris);
    }
    draft
        .template
        .environment_variables
        .extend(launch.environment_variables.clone());
    draft.check_complete(&mut findings, &|_, _| false);
    let mut template = draft.template;
    if let Some(environment) = &launch.environment {
        template.environment.clone_from(environment);
    }
    findings.finish(template)
}

/// A template that is being filled.
pub(super) struct Draft<'s> {
    pub(super) template: StepTemplate,
    step: &'s Step,
    overrides: Option<&'s Override>,
    /// Stands before messages: `node ..., `, or nothing.
    place: String,
}

impl<'s> Draft<'s> {
    /// The step with its defaults, or with the node's.
    pub(super) fn new(
        findings: &mut Findings,
        step: &'s Step,
        node: Option<(&str, Option<&'s Override>)>,
    ) -> Self {
        let overrides = node.and_then(|(_, overrides)| overrides);
        let merged = merge(step, overrides);
        check_step(findings, &merged);
        let parameters = merged
            .parameters
            .iter()
            .map(|item| parameter(step, overrides, item))
            .collect();
        let inputs = merged
            .inputs
            .iter()
            .map(|item| input(step, overrides, item))
            .collect();
        let text = |text: &Option<crate::Spanned<String>>| {
            text.as_ref()
                .map(|text| text.value.clone())
                .filter(|text| !text.is_empty())
        };
        let mut template = StepTemplate {
            step: merged.name.value.clone(),
            image: merged.image.value.clone(),
            commands: merged
                .command
                .iter()
                .map(|line| line.value.clone())
                .collect(),
            parameters,
            inputs,
            environment: text(&merged.environment).unwrap_or_default(),
            time_limit: merged.time_limit.as_ref().map(|limit| limit.value),
            no_output_timeout: merged.no_output_timeout.as_ref().map(|limit| limit.value),
            stop_condition: text(&merged.stop_condition),
            source_path: merged.source_path.as_ref().map(|path| path.value.clone()),
            mounts: merged.mounts.iter().map(mount).collect(),
            needs: needs(findings, &merged),
            ..StepTemplate::default()
        };
        for variable in &merged.environment_variables {
            add_variable(&mut template, step, variable);
        }
        let place = node
            .map(|(name, _)| format!("node `{name}`, "))
            .unwrap_or_default();
        Self {
            template,
            step,
            overrides,
            place,
        }
    }

    /// Gives a parameter a value, checked.
    pub(super) fn assign(
        &mut self,
        findings: &mut Findings,
        name: &str,
        given: &Assignment,
        origin: Origin,
    ) {
        self.assign_at(findings, name, given, origin, Span::default());
    }

    /// The same for a value that stands in the file.
    pub(super) fn assign_at(
        &mut self,
        findings: &mut Findings,
        name: &str,
        given: &Assignment,
        origin: Origin,
        span: Span,
    ) {
        let known: Vec<String> = self
            .template
            .parameters
            .iter()
            .map(|parameter| parameter.definition.name.value.clone())
            .collect();
        let Some(at) = known.iter().position(|known| known == name) else {
            self.unknown(findings, "parameter", name, &known, span);
            return;
        };
        let parameter = &mut self.template.parameters[at];
        let value = if given.append {
            appended(&parameter.value, &given.value)
        } else {
            given.value.clone()
        };
        match typed(&parameter.definition, value) {
            Ok(value) => {
                parameter.value = value;
                parameter.origin = origin;
            }
            Err(errors) => {
                // It is not missing, at least.
                parameter.origin = origin;
                for error in errors {
                    let message = format!("{}parameter `{name}`: {error}", self.place);
                    findings.error(Code::BadLaunch, span, message, None);
                }
            }
        }
    }

    /// Gives an input its URIs.
    pub(super) fn give_input(&mut self, findings: &mut Findings, name: &str, uris: &[String]) {
        let known: Vec<String> = self
            .template
            .inputs
            .iter()
            .map(|input| input.name.clone())
            .collect();
        let Some(at) = known.iter().position(|known| known == name) else {
            self.unknown(findings, "input", name, &known, Span::default());
            return;
        };
        for uri in uris {
            if let Err(message) = check_uri(uri) {
                let message = format!("{}input `{name}`: {message}", self.place);
                findings.error(Code::BadLaunch, Span::default(), message, None);
            }
        }
        self.template.inputs[at].uris = uris.to_vec();
        self.template.inputs[at].origin = Origin::Launch;
    }

    fn unknown(
        &self,
        findings: &mut Findings,
        what: &str,
        name: &str,
        known: &[String],
        span: Span,
    ) {
        let hint = nearest(name, known.iter().map(String::as_str))
            .map(|name| format!("did you mean `{name}`?"));
        let message = format!(
            "{}the step `{}` has no {what} `{name}`",
            self.place, self.template.step
        );
        findings.error(Code::BadLaunch, span, message, hint);
    }

    /// Makes sure that all has a value or will get one, and that the files of the defaults can be fetched.
    ///
    /// `comes` says what edges bring; an input that they fill for good is not looked at.
    pub(super) fn check_complete(
        &self,
        findings: &mut Findings,
        comes: &dyn Fn(SocketKind, &str) -> bool,
    ) {
        for parameter in &self.template.parameters {
            let definition = &parameter.definition;
            let may_lack = definition.optional || definition.kind == ParameterKind::Flag;
            if parameter.origin == Origin::Nowhere
                && !may_lack
                && !comes(SocketKind::Parameter, &definition.name)
            {
                let message = format!(
                    "{}the parameter `{}` is required and has neither a value nor a default",
                    self.place, definition.name.value
                );
                findings.error(Code::BadLaunch, definition.name.span, message, None);
            }
        }
        self.check_variables(findings, comes);
        for input in &self.template.inputs {
            if comes(SocketKind::Input, &input.name) {
                continue;
            }
            let item = self.input_item(&input.name);
            let span = item.map(|item| item.name.span).unwrap_or_default();
            if input.uris.is_empty() && !input.optional {
                let message = format!(
                    "{}the input `{}` is required and has neither a URI nor a default",
                    self.place, input.name
                );
                findings.error(Code::BadLaunch, span, message, None);
            }
            if matches!(input.origin, Origin::Default | Origin::Override) {
                let place = format!("{}input `{}`", self.place, input.name);
                for uri in item
                    .and_then(|item| item.default.as_ref())
                    .into_iter()
                    .flatten()
                {
                    check_input_uri(findings, &place, uri);
                }
            }
        }
    }

    /// Names the variables that must have a value and have none.
    fn check_variables(&self, findings: &mut Findings, comes: &dyn Fn(SocketKind, &str) -> bool) {
        for name in &self.template.required_environment_variables {
            let has_value = self.template.environment_variables.contains_key(name);
            if has_value || comes(SocketKind::EnvironmentVariable, name) {
                continue;
            }
            let of_override = self
                .overrides
                .map(|overrides| overrides.environment_variables.iter());
            let mut items = self
                .step
                .environment_variables
                .iter()
                .chain(of_override.into_iter().flatten());
            let span = items
                .find(|item| item.name.value == *name)
                .map(|item| item.name.span);
            let message = format!(
                "{}the environment variable `{name}` is required and has no value",
                self.place
            );
            findings.error(Code::BadLaunch, span.unwrap_or_default(), message, None);
        }
    }

    /// Where the default of an input stands.
    fn input_item(&self, name: &str) -> Option<&'s Input> {
        let of_override = self
            .overrides
            .and_then(|overrides| overrides.inputs.iter().find(|item| *item.name == name));
        of_override.or_else(|| self.step.input(name))
    }
}

impl Findings {
    /// What was made, unless something stands in its way.
    pub(super) fn finish<T>(self, made: T) -> Result<Expanded<T>, Vec<Diagnostic>> {
        let Findings {
            mut errors,
            warnings,
        } = self;
        // What is used by several nodes is found once for each.
        let mut seen = Vec::new();
        errors.retain(|error| {
            let is_new = !seen.contains(error);
            seen.push(error.clone());
            is_new
        });
        if errors.is_empty() {
            Ok(Expanded { made, warnings })
        } else {
            Err(errors)
        }
    }
}

fn parameter(step: &Step, overrides: Option<&Override>, merged: &Parameter) -> TemplateParameter {
    let of_override = overrides.is_some_and(|all| {
        all.parameters
            .iter()
            .any(|item| item.name.value == merged.name.value)
    });
    let value = merged.default_value();
    let origin = match (&value, of_override) {
        (Value::None, _) => Origin::Nowhere,
        (_, true) => Origin::Override,
        (_, false) => Origin::Default,
    };
    let definition = step.parameter(&merged.name).unwrap_or(merged).clone();
    TemplateParameter {
        definition,
        value,
        origin,
    }
}

fn input(step: &Step, overrides: Option<&Override>, merged: &Input) -> TemplateInput {
    let of_override = overrides.is_some_and(|all| {
        all.inputs
            .iter()
            .any(|item| item.name.value == merged.name.value)
    });
    let uris: Vec<String> = merged
        .default
        .iter()
        .flatten()
        .map(|uri| uri.value.clone())
        .collect();
    let origin = match (uris.is_empty(), of_override) {
        (true, _) => Origin::Nowhere,
        (false, true) => Origin::Override,
        (false, false) => Origin::Default,
    };
    let definition = step.input(&merged.name).unwrap_or(merged);
    TemplateInput {
        name: merged.name.value.clone(),
        uris,
        origin,
        optional: definition.optional,
        keep_directories: definition.keep_directories,
        file_name: definition
            .filename
            .as_ref()
            .map(|name| name.value.clone())
            .filter(|name| !name.is_empty()),
        on_demand: *definition.download == Download::OnDemand,
    }
}

fn mount(mount: &Mount) -> TemplateMount {
    let kind = mount.kind.as_ref().map(|kind| kind.value.as_str());
    TemplateMount {
        source: mount.source.value.clone(),
        destination: mount.destination.value.clone(),
        read_only: mount.readonly,
        kind: kind
            .filter(|kind| *kind != "bind")
            .unwrap_or_default()
            .to_owned(),
    }
}

fn add_variable(template: &mut StepTemplate, step: &Step, merged: &EnvironmentVariable) {
    let name = merged.name.value.clone();
    if let Some(default) = &merged.default {
        template
            .environment_variables
            .insert(name.clone(), default.value.clone());
    }
    let definition = step
        .environment_variables
        .iter()
        .find(|variable| variable.name.value == name)
        .unwrap_or(merged);
    if !definition.optional {
        template.required_environment_variables.push(name);
    }
}

/// The default's values and after them the added ones.
fn appended(default: &Value, added: &Value) -> Value {
    let items = |value: &Value| match value {
        Value::None => Vec::new(),
        Value::List(items) => items.clone(),
        single => vec![single.clone()],
    };
    let mut all = items(default);
    all.extend(items(added));
    Value::List(all)
}

/// The value as the parameter takes it; words for flags are read.
fn typed(parameter: &Parameter, value: Value) -> Result<Value, Vec<ValueError>> {
    let value = match &value {
        Value::Str(text) => value_from_text(parameter, text).map_err(|error| vec![error])?,
        // Of several values for one that is typed once, the list stays, and is refused below.
        _ => value,
    };
    check_value(parameter, &value)
}
