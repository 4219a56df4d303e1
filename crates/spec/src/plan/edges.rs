//! Whether the edges of a pipeline can carry what they are to carry.

use std::collections::BTreeMap;

use crate::diagnostic::Code;
use crate::glob::fnmatch;
use crate::model::{Edge, Pipeline, Socket, SocketKind};
use crate::nearest::nearest;
use crate::plan::refuse::Findings;
use crate::plan::{PlanEdge, StepTemplate};

/// Checks every edge against the templates of the nodes, and the whole for circles. Nodes without a template are left out:
/// they were refused already.
pub(super) fn check_edges(
    findings: &mut Findings,
    pipeline: &Pipeline,
    templates: &BTreeMap<&str, &StepTemplate>,
) {
    let mut taken: BTreeMap<(String, SocketKind, String), String> = BTreeMap::new();
    for edge in &pipeline.edges {
        let (source, target) = (&edge.source, &edge.target);
        if source.node == target.node {
            let message = format!("the edge from `{source}` leads to its own node");
            findings.error(Code::BadGraph, edge.span, message, None);
            continue;
        }
        if !fits(findings, edge) {
            continue;
        }
        if let Some(template) = templates.get(source.node.as_str()) {
            check_source(findings, source, template);
        }
        if let Some(template) = templates.get(target.node.as_str()) {
            check_target(findings, target, template);
        }
        let is_single = matches!(
            target.kind,
            SocketKind::Parameter | SocketKind::EnvironmentVariable
        );
        let place = (target.node.clone(), target.kind, target.key.clone());
        if let Some(first) = is_single
            .then(|| taken.insert(place, source.to_string()))
            .flatten()
        {
            let message = format!("`{target}` gets a value from `{first}` and from `{source}`");
            findings.error(
                Code::BadGraph,
                target.span,
                message,
                Some("let one edge lead there".to_owned()),
            );
        }
    }
    for circle in circles(pipeline) {
        let message = format!(
            "the nodes wait for each other in a circle: {}",
            circle.join(" -> ")
        );
        let last = &circle[circle.len() - 2..];
        let closing = pipeline
            .edges
            .iter()
            .find(|edge| edge.source.node == last[0] && edge.target.node == last[1]);
        findings.error(
            Code::BadGraph,
            closing.map(|edge| edge.span).unwrap_or_default(),
            message,
            None,
        );
    }
}

/// Whether such a thing can become such a thing.
fn fits(findings: &mut Findings, edge: &Edge) -> bool {
    use SocketKind::{
        Dependency, Deployment, EnvironmentVariable, File, Input, Metadata, Output, Parameter,
    };
    match (edge.source.kind, edge.target.kind) {
        (Output | Input, Input)
        | (Parameter | Metadata, Parameter)
        | (EnvironmentVariable, EnvironmentVariable)
        | (Dependency, Dependency) => true,
        // They belong to deployment nodes, which are refused as a whole.
        (Output | Input, File) | (Deployment, Parameter) => false,
        (source, target) => {
            let message = format!(
                "an edge cannot make {} of {}",
                article(target),
                article(source)
            );
            let hint =
                "an input takes outputs and inputs, a parameter takes parameters and metadata"
                    .to_owned();
            findings.error(Code::BadGraph, edge.span, message, Some(hint));
            false
        }
    }
}

fn article(kind: SocketKind) -> String {
    let article = if kind.word().starts_with(['e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

fn check_source(findings: &mut Findings, socket: &Socket, template: &StepTemplate) {
    match socket.kind {
        // The key names inputs, perhaps with a pattern.
        SocketKind::Input => {
            let names = template.inputs.iter().map(|input| input.name.as_str());
            if !names.clone().any(|name| fnmatch(&socket.key, name)) {
                unknown(findings, socket, template, names);
            }
        }
        SocketKind::Parameter => check_parameter(findings, socket, template),
        SocketKind::EnvironmentVariable => {
            let required = template
                .required_environment_variables
                .iter()
                .map(String::as_str);
            let names = template
                .environment_variables
                .keys()
                .map(String::as_str)
                .chain(required);
            if !names.clone().any(|name| name == socket.key) {
                unknown(findings, socket, template, names);
            }
        }
        // Outputs and metadata are known only once they are there.
        _ => {}
    }
}

fn check_target(findings: &mut Findings, socket: &Socket, template: &StepTemplate) {
    match socket.kind {
        SocketKind::Input => {
            let names = template.inputs.iter().map(|input| input.name.as_str());
            if !names.clone().any(|name| name == socket.key) {
                unknown(findings, socket, template, names);
            }
        }
        SocketKind::Parameter => check_parameter(findings, socket, template),
        // Any variable may be set.
        _ => {}
    }
}

fn check_parameter(findings: &mut Findings, socket: &Socket, template: &StepTemplate) {
    let names = template
        .parameters
        .iter()
        .map(|parameter| parameter.definition.name.value.as_str());
    if !names.clone().any(|name| name == socket.key) {
        unknown(findings, socket, template, names);
    }
}

fn unknown<'n>(
    findings: &mut Findings,
    socket: &Socket,
    template: &StepTemplate,
    names: impl Iterator<Item = &'n str>,
) {
    let hint = nearest(&socket.key, names).map(|name| format!("did you mean `{name}`?"));
    let message = format!(
        "`{socket}`: the step `{}` has no {} `{}`",
        template.step, socket.kind, socket.key
    );
    findings.error(Code::UnknownReference, socket.span, message, hint);
}

/// Circles of the graph, each as the names of its nodes, the first one again at the end. Every circle that is named breaks
/// up when one of its edges goes; circles that share nodes with a named one are not named again.
pub(super) fn circles(pipeline: &Pipeline) -> Vec<Vec<String>> {
    let mut left: Vec<&str> = pipeline
        .nodes
        .iter()
        .map(|node| node.name.value.as_str())
        .collect();
    let edges: Vec<(&str, &str)> = pipeline
        .edges
        .iter()
        .map(|edge| (edge.source.node.as_str(), edge.target.node.as_str()))
        .filter(|(source, target)| source != target)
        .collect();
    let mut circles = Vec::new();
    loop {
        // What has nothing before it, or nothing after it, is in no circle.
        let before = left.len();
        let all = left.clone();
        let is_inside = |node: &str| {
            let has = |wanted: fn(&(&str, &str), &str) -> bool,
                       other: fn(&(&str, &str)) -> String| {
                edges
                    .iter()
                    .any(|edge| wanted(edge, node) && all.contains(&other(edge).as_str()))
            };
            has(|edge, node| edge.1 == node, |edge| edge.0.to_owned())
                && has(|edge, node| edge.0 == node, |edge| edge.1.to_owned())
        };
        left.retain(|node| is_inside(node));
        if left.is_empty() {
            return circles;
        }
        if left.len() < before {
            continue;
        }
        // Everything that is left has a successor that is left: walking on must come back.
        let mut path: Vec<&str> = vec![left[0]];
        let circle = loop {
            let last = path[path.len() - 1];
            let next = edges
                .iter()
                .find(|edge| edge.0 == last && left.contains(&edge.1))
                .map(|edge| edge.1);
            let Some(next) = next else { return circles };
            if let Some(start) = path.iter().position(|node| *node == next) {
                let mut circle: Vec<String> = path[start..]
                    .iter()
                    .map(|node| (*node).to_owned())
                    .collect();
                circle.push(next.to_owned());
                break circle;
            }
            path.push(next);
        };
        left.retain(|node| !circle.iter().any(|name| name == node));
        circles.push(circle);
    }
}

/// The edges as they are run.
pub(super) fn plan_edges(pipeline: &Pipeline) -> Vec<PlanEdge> {
    let edges = pipeline.edges.iter().map(|edge| PlanEdge {
        source_node: edge.source.node.clone(),
        source_kind: edge.source.kind,
        source_key: edge.source.key.clone(),
        target_node: edge.target.node.clone(),
        target_kind: edge.target.kind,
        target_key: edge.target.key.clone(),
    });
    edges.collect()
}
