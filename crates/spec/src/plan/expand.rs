//! The executable plan of a pipeline.

use std::collections::BTreeMap;

use crate::diagnostic::{Code, Diagnostic};
use crate::model::{Action, Config, EdgeMergeMode, Job, Node, NodeKind, Pipeline, SocketKind};
use crate::nearest::nearest;
use crate::plan::edges::{check_edges, plan_edges};
use crate::plan::launch::{Assignment, Launch};
use crate::plan::refuse::{Findings, check_node};
use crate::plan::step_template::Draft;
use crate::plan::{Origin, Plan, PlanAction, PlanNode, StepTemplate};
use crate::span::Span;
use crate::value::Value;

/// What was made, and what a person should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Expanded<T> {
    /// The plan or the template.
    pub made: T,
    /// What the file asks for and does not get, but can do without.
    pub warnings: Vec<Diagnostic>,
}

/// The plan of a pipeline of the file.
///
/// # Errors
/// What this version does not run (`not-executable`), edges that lead nowhere or in circles (`bad-graph`,
/// `unknown-reference`), and what is missing at launch or does not fit (`bad-launch`), all at once.
pub fn expand(
    config: &Config,
    pipeline: &Pipeline,
    launch: &Launch,
) -> Result<Expanded<Plan>, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    if pipeline.nodes.is_empty() {
        let message = format!(
            "the pipeline `{}` has no nodes: there is nothing to run",
            pipeline.name.value
        );
        findings.error(Code::BadGraph, pipeline.name.span, message, None);
    }
    let mut drafts: Vec<(&Node, Draft<'_>)> = Vec::new();
    for node in &pipeline.nodes {
        check_node(&mut findings, node);
        if let Some(draft) = draft(&mut findings, config, node) {
            drafts.push((node, draft));
        }
    }
    let values = pipeline_values(&mut findings, pipeline, launch);
    copy_to_targets(&mut findings, pipeline, &values, &mut drafts);
    assign_to_nodes(&mut findings, pipeline, launch, &mut drafts);
    let templates: BTreeMap<&str, &StepTemplate> = drafts
        .iter()
        .map(|(node, draft)| (node.name.value.as_str(), &draft.template))
        .collect();
    check_edges(&mut findings, pipeline, &templates);
    for (node, draft) in &drafts {
        check_complete(&mut findings, pipeline, node, draft);
    }
    if let Some(reuse) = pipeline
        .reuse_executions
        .as_ref()
        .filter(|reuse| reuse.value)
    {
        findings.warn(
            reuse.span,
            "`reuse-executions` is not used by this version: every node runs",
        );
    }
    let nodes = drafts
        .into_iter()
        .map(|(node, draft)| plan_node(node, draft, launch))
        .collect();
    let plan = Plan {
        name: pipeline.name.value.clone(),
        nodes,
        edges: plan_edges(pipeline),
        parameters: values,
    };
    findings.finish(plan)
}

/// The step of a node with its override; `None` where the node was refused as a whole.
fn draft<'c>(findings: &mut Findings, config: &'c Config, node: &'c Node) -> Option<Draft<'c>> {
    let NodeKind::Execution {
        step,
        job: Job {
            commit: None,
            overrides,
            ..
        },
    } = &node.kind
    else {
        return None;
    };
    let found = config.step(step);
    if found.is_none() {
        let message = format!(
            "node `{}`: there is no step `{}`",
            node.name.value, step.value
        );
        findings.error(Code::UnknownReference, step.span, message, None);
    }
    Some(Draft::new(
        findings,
        found?,
        Some((&node.name, overrides.as_ref())),
    ))
}

/// Every pipeline parameter that has a value: the launch's, or its default.
fn pipeline_values(
    findings: &mut Findings,
    pipeline: &Pipeline,
    launch: &Launch,
) -> Vec<(String, Value)> {
    let names: Vec<&str> = pipeline
        .parameters
        .iter()
        .map(|parameter| parameter.name.value.as_str())
        .collect();
    let mut values: Vec<(String, Value)> = Vec::new();
    for parameter in &pipeline.parameters {
        let name = &parameter.name.value;
        let default = parameter
            .default
            .as_ref()
            .map(|default| default.value.clone())
            .unwrap_or_default();
        let given = launch
            .parameters
            .iter()
            .rev()
            .find(|given| given.name == *name);
        let value = match given {
            Some(Assignment {
                value,
                append: true,
                ..
            }) => appended(default, value),
            Some(Assignment { value, .. }) => value.clone(),
            None => default,
        };
        if value != Value::None {
            values.push((name.clone(), value));
        }
    }
    for given in &launch.parameters {
        let of_node = given
            .name
            .split_once('.')
            .is_some_and(|(node, _)| pipeline.node(node).is_some());
        if !of_node && !names.contains(&given.name.as_str()) {
            let of_nodes = pipeline.nodes.iter().map(|node| node.name.value.as_str());
            let (known, typed): (Vec<&str>, &str) = match given.name.split_once('.') {
                Some((node, _)) => (of_nodes.collect(), node),
                None => (names.clone(), &given.name),
            };
            let hint = nearest(typed, known).map(|name| format!("did you mean `{name}`?"));
            let hint =
                hint.or_else(|| Some("name a node's parameter as `node.parameter`".to_owned()));
            let message = format!(
                "the pipeline `{}` has no parameter `{}`",
                pipeline.name.value, given.name
            );
            findings.error(Code::BadLaunch, Span::default(), message, hint);
        }
    }
    values
}

fn appended(default: Value, added: &Value) -> Value {
    let items = |value: Value| match value {
        Value::None => Vec::new(),
        Value::List(items) => items,
        single => vec![single],
    };
    let mut all = items(default);
    all.extend(items(added.clone()));
    Value::List(all)
}

fn copy_to_targets(
    findings: &mut Findings,
    pipeline: &Pipeline,
    values: &[(String, Value)],
    drafts: &mut [(&Node, Draft<'_>)],
) {
    for parameter in &pipeline.parameters {
        let Some((name, value)) = values
            .iter()
            .find(|(name, _)| *name == parameter.name.value)
        else {
            continue;
        };
        let given = Assignment {
            name: name.clone(),
            value: value.clone(),
            append: false,
        };
        for target in &parameter.targets {
            if let Some((_, draft)) = drafts
                .iter_mut()
                .find(|(node, _)| node.name.value == target.node)
            {
                draft.assign_at(
                    findings,
                    &target.parameter,
                    &given,
                    Origin::PipelineParameter,
                    target.span,
                );
            }
        }
    }
}

/// `node.name` of the launch.
fn assign_to_nodes(
    findings: &mut Findings,
    pipeline: &Pipeline,
    launch: &Launch,
    drafts: &mut [(&Node, Draft<'_>)],
) {
    let is_own = |name: &str| {
        pipeline
            .parameters
            .iter()
            .any(|parameter| parameter.name.value == name)
    };
    for given in launch
        .parameters
        .iter()
        .filter(|given| !is_own(&given.name))
    {
        let Some((node, name)) = given.name.split_once('.') else {
            continue;
        };
        if let Some((_, draft)) = drafts
            .iter_mut()
            .find(|(other, _)| other.name.value == node)
        {
            draft.assign(findings, name, given, Origin::Launch);
        }
    }
    for (full_name, uris) in &launch.inputs {
        let parts = full_name.split_once('.');
        match parts.and_then(|(node, name)| {
            drafts
                .iter_mut()
                .find(|(other, _)| other.name.value == node)
                .map(|(_, draft)| (draft, name))
        }) {
            Some((draft, name)) => draft.give_input(findings, name, uris),
            None => {
                let message = format!("`{full_name}` is not an input of a node");
                let hint = Some("name it as `node.input`".to_owned());
                findings.error(Code::BadLaunch, Span::default(), message, hint);
            }
        }
    }
}

fn check_complete(findings: &mut Findings, pipeline: &Pipeline, node: &Node, draft: &Draft<'_>) {
    let comes = |kind: SocketKind, key: &str| {
        let mut edges = pipeline.edges.iter();
        edges.any(|edge| {
            edge.target.node == node.name.value
                && edge.target.kind == kind
                && edge.target.key == key
        })
    };
    let appends = node
        .job()
        .is_some_and(|job| *job.edge_merge_mode == EdgeMergeMode::Append);
    draft.check_complete(findings, &|kind, name| {
        // Files that are added leave the input's own in place: those must be fetchable too.
        let has_own = draft
            .template
            .inputs
            .iter()
            .any(|input| input.name == name && !input.uris.is_empty());
        comes(kind, name) && !(kind == SocketKind::Input && appends && has_own)
    });
}

fn plan_node(node: &Node, draft: Draft<'_>, launch: &Launch) -> PlanNode {
    let mut template = draft.template;
    if let (true, Some(environment)) = (template.environment.is_empty(), &launch.environment) {
        template.environment.clone_from(environment);
    }
    PlanNode {
        name: node.name.value.clone(),
        template,
        on_error: node.on_error.value,
        edge_append: node
            .job()
            .is_some_and(|job| *job.edge_merge_mode == EdgeMergeMode::Append),
        actions: node.actions.iter().filter_map(plan_action).collect(),
    }
}

/// The action with what is known to do something; `None` when that is nothing.
fn plan_action(action: &Action) -> Option<PlanAction> {
    let known = |words: &[crate::Spanned<String>], known: &[&str]| -> Vec<String> {
        let mut words: Vec<String> = words
            .iter()
            .map(|word| word.value.clone())
            .filter(|word| known.contains(&word.as_str()))
            .collect();
        words.dedup();
        words
    };
    let when = known(
        &action.when,
        &["node-starting", "node-complete", "node-error"],
    );
    let then = known(&action.then, &["noop", "stop-pipeline", "error-pipeline"]);
    let conditions = action
        .conditions
        .iter()
        .map(|condition| condition.value.clone())
        .collect();
    (!when.is_empty() && !then.is_empty()).then_some(PlanAction {
        when,
        conditions,
        then,
    })
}
