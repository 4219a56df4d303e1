//! `pipeline`: nodes joined by edges.

use crate::model::{Edge, Node, PipelineParameter};
use crate::span::{Span, Spanned};

/// The blueprint of a pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipeline {
    /// The whole item.
    pub span: Span,
    /// Free text.
    pub name: Spanned<String>,
    /// In the order of the file. Unique by name. Of the older `connections` spelling: in the order in which the
    /// edges name them.
    pub nodes: Vec<Node>,
    /// In the order of the file.
    pub edges: Vec<Edge>,
    /// Values for several nodes at once.
    pub parameters: Vec<PipelineParameter>,
    /// Whether earlier equal executions may stand in for nodes.
    pub reuse_executions: Option<Spanned<bool>>,
}

impl Pipeline {
    /// The node of that exact name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| *node.name == name)
    }
}
