//! Pipeline `parameters`: one value for several nodes.

use crate::diagnostic::Code;
use crate::reader::{Reader, anything, text, texts, words};
use crate::span::{Span, Spanned};
use crate::value::Value;
use crate::yaml::{Data, Node};

/// One parameter of a pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PipelineParameter {
    /// The whole item.
    pub span: Span,
    /// Its name.
    pub name: Spanned<String>,
    /// As written; an explicit null is absent.
    pub default: Option<Spanned<Value>>,
    /// The parameters that take the value.
    pub targets: Vec<Target>,
    /// For people.
    pub category: Option<String>,
    /// For people.
    pub description: Option<String>,
}

/// `node.parameter.name`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// The whole text.
    pub span: Span,
    /// Exactly as written; its middle part may be a plural.
    pub text: String,
    /// The node.
    pub node: String,
    /// Its parameter.
    pub parameter: String,
}

impl PipelineParameter {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> PipelineParameter {
        let known = [
            "name",
            "default",
            "target",
            "targets",
            "category",
            "description",
        ];
        let mut fields = reader.fields(node, "a pipeline parameter", &known);
        let mut targets = Vec::new();
        if let Some(target) = fields.optional("target", text) {
            targets.push(target);
        }
        if let Some(several) = fields.optional("targets", texts) {
            // A single empty text is no target; in a list it is a wrong one.
            let none = several.len() == 1 && several[0].is_empty() && !is_list(node.get("targets"));
            targets.extend(several.into_iter().filter(|_| !none));
        }
        if let (Some(_), Some(span)) = (fields.key_span("target"), fields.key_span("targets")) {
            let hint = "put all of them under `targets`".to_owned();
            fields
                .reader()
                .error(Code::Conflict, span, "`target` is given too", Some(hint));
        }
        let targets: Vec<Target> = targets
            .into_iter()
            .filter_map(|target| Target::read(fields.reader(), &target))
            .collect();
        let parameter = PipelineParameter {
            span: fields.span(),
            name: fields.required("name", text),
            default: fields
                .optional("default", anything)
                .filter(|default| default.value != Value::None),
            targets,
            category: fields.optional("category", words),
            description: fields.optional("description", words),
        };
        if parameter.targets.is_empty()
            && node.get("target").is_none()
            && !is_filled(node.get("targets"))
        {
            let message = format!(
                "the pipeline parameter `{}` has no targets",
                *parameter.name
            );
            fields
                .reader()
                .warn(Code::NoEffect, node.span, message, None);
        }
        parameter
    }
}

fn is_list(node: Option<&Node>) -> bool {
    node.is_some_and(|node| matches!(node.data, Data::List(_)))
}

fn is_filled(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.to_value().is_truthy())
}

impl Target {
    fn read(reader: &mut Reader, target: &Spanned<String>) -> Option<Target> {
        let hint = || Some("write it as `node.parameter.name`".to_owned());
        let mut parts = target.splitn(3, '.');
        let (Some(node), Some(kind), Some(parameter)) = (parts.next(), parts.next(), parts.next())
        else {
            let message = format!("`{}` does not have three parts", **target);
            reader.error(Code::BadValue, target.span, message, hint());
            return None;
        };
        if !kind.starts_with("parameter") {
            let message = format!("`{kind}` cannot be the target of a pipeline parameter");
            reader.error(Code::BadValue, target.span, message, hint());
        }
        Some(Target {
            span: target.span,
            text: target.value.clone(),
            node: node.to_owned(),
            parameter: parameter.to_owned(),
        })
    }
}
