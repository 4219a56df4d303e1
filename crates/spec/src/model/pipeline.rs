//! `pipeline`: nodes joined by edges.

use crate::diagnostic::Code;
use crate::model::{Edge, Node, PipelineParameter};
use crate::reader::{Reader, boolean, text};
use crate::span::{Span, Spanned};
use crate::yaml;
use std::collections::BTreeSet;

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

/// What nodes and edges were spelled as before there were nodes.
const CONNECTIONS: &str = "connections";

impl Pipeline {
    pub(crate) fn read(reader: &mut Reader, node: &yaml::Node) -> Pipeline {
        let mut known = vec!["name", "nodes", "edges", "parameters", "reuse-executions"];
        let older = node.get(CONNECTIONS).is_some() && node.get("edges").is_none();
        if older {
            known.push(CONNECTIONS);
        }
        let mut fields = reader.fields(node, "a pipeline", &known);
        if let (true, Some(span)) = (older, fields.key_span(CONNECTIONS)) {
            let hint = "`nodes` and `edges` are the spelling of today".to_owned();
            fields.reader().warn(
                Code::OtherSpelling,
                span,
                "`connections` is the older spelling of `edges`",
                Some(hint),
            );
        }
        // An older blueprint may have none of them.
        let optional = fields.reader().is_legacy();
        let edges_field = if older { CONNECTIONS } else { "edges" };
        let name: Spanned<String> = fields.required("name", text);
        let implied = older && fields.key_span("nodes").is_none();
        let names = (!implied).then(|| names_of(node));
        for field in ["nodes", edges_field] {
            if fields.key_span(field).is_none() && !optional && !(implied && field == "nodes") {
                fields.missing(field);
            }
        }
        let nodes = fields.list("nodes", Node::read);
        let read_edge = |reader: &mut Reader, node: &_| Edge::read(reader, node, names.as_ref());
        let edges = fields.list(edges_field, read_edge);
        let mut pipeline = Pipeline {
            span: fields.span(),
            name,
            nodes: nodes.into_iter().flatten().collect(),
            edges: edges.into_iter().flatten().collect(),
            parameters: fields.list("parameters", PipelineParameter::read),
            reuse_executions: fields.optional("reuse-executions", boolean),
        };
        if implied {
            pipeline.imply_nodes();
        }
        pipeline.check_names(reader);
        pipeline
    }

    /// Makes a node of each name that an edge uses.
    fn imply_nodes(&mut self) {
        let mut seen = BTreeSet::new();
        let ends = self
            .edges
            .iter()
            .flat_map(|edge| [&edge.source, &edge.target]);
        let nodes = ends
            .filter(|socket| seen.insert(&socket.node))
            .map(|socket| Node::implied(Spanned::new(socket.node.clone(), socket.span)))
            .collect();
        self.nodes = nodes;
    }

    /// Checks the names of the nodes, and those that the parameters name.
    fn check_names(&self, reader: &mut Reader) {
        let mut seen = BTreeSet::new();
        // A name that is nowhere in the text stands in for one that was refused.
        for node in self
            .nodes
            .iter()
            .filter(|node| node.name.span != Span::default())
        {
            let name = &node.name;
            if !seen.insert(name.as_str()) {
                let message = format!("there is a node `{}` in this pipeline already", **name);
                reader.error(Code::DuplicateName, name.span, message, None);
            }
            if name.contains('.') {
                let hint = "edges are cut at dots; take them out of the name".to_owned();
                let message = format!("no edge can name the node `{}`", **name);
                reader.warn(Code::BadValue, name.span, message, Some(hint));
            }
        }
        for target in self
            .parameters
            .iter()
            .flat_map(|parameter| &parameter.targets)
        {
            if !reader.is_broken() && !seen.contains(target.node.as_str()) {
                let hint = reader.suggest(&target.node, "its nodes are", seen.iter().copied());
                let message = format!("the pipeline has no node `{}`", target.node);
                reader.error(Code::UnknownReference, target.span, message, hint);
            }
        }
    }
}

/// The names of the nodes, of those too that are wrong otherwise.
fn names_of(pipeline: &yaml::Node) -> BTreeSet<&str> {
    match pipeline.get("nodes").map(|nodes| &nodes.data) {
        Some(yaml::Data::List(nodes)) => nodes
            .iter()
            .filter_map(|node| node.get("name").and_then(yaml::Node::as_str))
            .collect(),
        _ => BTreeSet::new(),
    }
}
