//! Pipeline `parameters`: one value for several nodes.

use crate::diagnostic::Code;
use crate::reader::{Reader, anything, is_text, text, texts, words};
use crate::span::{Span, Spanned};
use crate::value::Value;
use crate::yaml::Node;

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
        let mut given = Vec::new();
        given.extend(fields.optional("target", text));
        if let Some(mut several) = fields.optional("targets", texts) {
            // A single empty text is no target; in a list it is a wrong one.
            several.retain(|target| !target.is_empty() || !is_text(node.get("targets")));
            given.extend(several);
        }
        if let (Some(_), Some(span)) = (fields.key_span("target"), fields.key_span("targets")) {
            let hint = "put all of them under `targets`".to_owned();
            let message = "`target` is given too";
            fields
                .reader()
                .error(Code::Conflict, span, message, Some(hint));
        }
        let parameter = PipelineParameter {
            span: fields.span(),
            name: fields.required("name", text),
            default: fields
                .optional("default", anything)
                .filter(|default| default.value != Value::None),
            targets: given
                .iter()
                .filter_map(|target| Target::read(fields.reader(), target))
                .collect(),
            category: fields.optional("category", words),
            description: fields.optional("description", words),
        };
        if given.is_empty() && !reader.is_broken() {
            let message = format!(
                "the pipeline parameter `{}` has no targets",
                *parameter.name
            );
            reader.warn(Code::NoEffect, node.span, message, None);
        }
        parameter
    }
}

impl Target {
    fn read(reader: &mut Reader, target: &Spanned<String>) -> Option<Target> {
        let hint = || Some("write it as `node.parameter.name`".to_owned());
        // What is no text has been reported already.
        if target.is_empty() && reader.is_broken() {
            return None;
        }
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
