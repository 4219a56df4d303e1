//! Pipeline `parameters`: one value for several nodes.

use crate::span::{Span, Spanned};
use crate::value::Value;

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
    /// The node.
    pub node: String,
    /// Its parameter.
    pub parameter: String,
}
