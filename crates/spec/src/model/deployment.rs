//! `deployment`: what to create a deployment with that does not exist yet.

use crate::diagnostic::Code;
use crate::reader::{Reader, free_map, key_text, text};
use crate::span::{Span, Spanned};
use crate::value::Value;
use crate::yaml::{Data, Node};

/// Defaults for a deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    /// The whole item.
    pub span: Span,
    /// Its name.
    pub name: Spanned<String>,
    /// Free settings; `target` is the one that creation needs.
    pub defaults: Vec<(Value, Value)>,
}

impl Deployment {
    pub(crate) fn read(reader: &mut Reader, node: &Node) -> Deployment {
        let mut fields = reader.fields(node, "a deployment", &["name", "defaults"]);
        let deployment = Deployment {
            span: fields.span(),
            name: fields.required("name", name),
            defaults: fields.optional("defaults", defaults).unwrap_or_default(),
        };
        let has_target = deployment
            .defaults
            .iter()
            .any(|(key, value)| key.as_str() == Some("target") && value.is_truthy());
        if !has_target && !deployment.name.is_empty() {
            let message = format!(
                "the deployment `{}` has no `defaults.target`",
                *deployment.name
            );
            let hint =
                "a deployment that does not exist yet cannot be created without it".to_owned();
            reader.warn(
                Code::MissingField,
                deployment.name.span,
                message,
                Some(hint),
            );
        }
        deployment
    }
}

/// Deployments have no schema, and so any scalar is a name.
fn name(reader: &mut Reader, node: &Node) -> Spanned<String> {
    match &node.data {
        Data::Scalar(value) if value.as_str().is_none() => {
            let message = format!("a name is text: this is {}", value.kind());
            let hint = "put it in quotes".to_owned();
            reader.warn(Code::WrongType, node.span, message, Some(hint));
            Spanned::new(key_text(value), node.span)
        }
        _ => text(reader, node),
    }
}

/// Nothing at all is as good as no defaults.
fn defaults(reader: &mut Reader, node: &Node) -> Vec<(Value, Value)> {
    match &node.data {
        Data::Scalar(Value::None) => Vec::new(),
        _ => free_map(reader, node),
    }
}
