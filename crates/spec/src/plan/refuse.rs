//! What is read but not run by this version, each with its place. A row here goes when the feature comes.

use crate::confinement::{check_image_name, check_mount};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::expression::Expression;
use crate::model::{Action, Job, Node, NodeKind, Step};
use crate::span::{Span, Spanned};

/// Collects what stands in the way of a run.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Findings {
    pub(super) fn error(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let (message, path) = (message.into(), String::new());
        self.errors.push(Diagnostic {
            severity: Severity::Error,
            code,
            message,
            hint,
            span,
            path,
        });
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>) {
        let (message, path, code) = (message.into(), String::new(), Code::NoEffect);
        self.warnings.push(Diagnostic {
            severity: Severity::Warning,
            code,
            message,
            hint: None,
            span,
            path,
        });
    }

    pub(super) fn refused(&mut self, span: Span, what: impl Into<String>) {
        let message = format!("refused: {}", what.into());
        self.error(Code::NotExecutable, span, message, None);
    }

    fn unsupported(&mut self, span: Span, what: impl Into<String>) {
        let message = format!("{} cannot be run by this version of Shoal", what.into());
        self.error(Code::NotExecutable, span, message, None);
    }
}

/// Refuses a node that does not become an execution of a step of this file.
pub(super) fn check_node(findings: &mut Findings, node: &Node) {
    let name = &node.name.value;
    match &node.kind {
        NodeKind::Execution { job, .. } => check_job(findings, name, job),
        NodeKind::Task { .. } => {
            findings.unsupported(node.name.span, format!("the task node `{name}`"))
        }
        NodeKind::Deployment(_) => {
            findings.unsupported(node.name.span, format!("the deployment node `{name}`"))
        }
    }
    for action in &node.actions {
        check_action(findings, name, action);
    }
}

fn check_job(findings: &mut Findings, node: &str, job: &Job) {
    if let Some(commit) = &job.commit {
        let what = format!(
            "the node `{node}` with a step of another commit (`{}`)",
            commit.value
        );
        findings.unsupported(commit.span, what);
    }
}

fn check_action(findings: &mut Findings, node: &str, action: &Action) {
    for then in action
        .then
        .iter()
        .filter(|then| then.value == "require-approval")
    {
        findings.unsupported(
            then.span,
            format!("`require-approval` of the node `{node}`"),
        );
    }
    for condition in &action.conditions {
        check_expression(findings, condition);
    }
}

fn check_expression(findings: &mut Findings, text: &Spanned<String>) {
    if let Err(error) = Expression::parse(text) {
        let message = format!("`{}` is not an expression: {error}", text.value);
        findings.error(Code::BadValue, text.span, message, None);
    }
}

/// Refuses what a step asks for and does not get, and warns of what it can do without.
pub(super) fn check_step(findings: &mut Findings, step: &Step) {
    let name = &step.name.value;
    if let Err(rule) = check_image_name(&step.image.value) {
        findings.refused(
            step.image.span,
            format!("the image of the step `{name}`: {rule}"),
        );
    }
    for mount in &step.mounts {
        let what = format!(
            "the mount `{}` of the step `{name}`",
            mount.source.value.escape_debug()
        );
        let kind = mount.kind.as_ref().map_or("", |kind| kind.value.as_str());
        if !matches!(kind, "" | "bind") {
            findings.unsupported(mount.span, format!("{what} of the type `{kind}`"));
        } else if let Err(rule) = check_mount(&mount.source.value, &mount.destination.value) {
            findings.refused(mount.span, format!("{what}: {rule}"));
        }
    }
    for group in &step.environment_variable_groups {
        let what = format!(
            "the step `{name}` with the variables of the group `{}`",
            group.value
        );
        findings.unsupported(group.span, what);
    }
    if let Some(condition) = &step.stop_condition {
        check_expression(findings, condition);
    }
    if let Some(store) = &step.upload_store {
        findings.warn(
            store.span,
            format!("`upload-store` of the step `{name}` is not used: outputs are kept by Shoal"),
        );
    }
    if let Some(preset) = &step.runtime_config_preset {
        findings.warn(
            preset.span,
            format!("`runtime-config-preset` of the step `{name}` is not used"),
        );
    }
    for volume in &step.cache_volumes {
        findings.warn(
            volume.span,
            format!(
                "the cache volume `{}` of the step `{name}` is not used",
                volume.value
            ),
        );
    }
}

/// Refuses a URI of an input that nothing here can fetch.
pub(super) fn check_input_uri(findings: &mut Findings, place: &str, uri: &Spanned<String>) {
    if let Err(message) = check_uri(uri) {
        findings.error(
            Code::NotExecutable,
            uri.span,
            format!("{place}: {message}"),
            None,
        );
    }
}

/// Whether files can be fetched from such a URI: `http`, `https`, `file` and `datum`. One that begins with a placeholder
/// is taken; check it again once its parameters have values.
///
/// # Errors
/// What is wrong, for people.
pub fn check_uri(uri: &str) -> Result<(), String> {
    const TAKEN: [&str; 4] = ["http", "https", "file", "datum"];
    let taken = "taken are `http://`, `https://`, `file://` and `datum://`";
    if uri.starts_with("{parameter:") || uri.starts_with("{parameter-value:") {
        return Ok(());
    }
    match uri.split_once("://") {
        Some((scheme, "")) if TAKEN.contains(&scheme) => Err(format!("`{uri}` names no file")),
        Some((scheme, _)) if TAKEN.contains(&scheme) => Ok(()),
        Some((scheme, _)) => Err(format!(
            "files of `{scheme}://` cannot be fetched by this version of Shoal; {taken}"
        )),
        None => Err(format!("`{uri}` is not a URI; {taken}")),
    }
}
