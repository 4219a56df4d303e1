//! One run of a pipeline blueprint, and the blueprint.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::api::{self, EndReason, State};
use contract::ledger as pb;
use imbl::Vector;
use prost::Message as _;
use uuid::Uuid;

use super::{reason, state};
use crate::ids;
use crate::snapshot::RestoreError;
use crate::transition;

/// An expanded pipeline with its graph. It never changes; equal templates in it are held once.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Its name.
    pub name: String,
    /// Its nodes, in the order of the plan.
    pub nodes: Vec<PlannedNode>,
    /// Its edges, in the order of the plan.
    pub edges: Vec<api::Edge>,
    /// Pipeline parameters with the values they have.
    pub parameters: Vec<api::ParameterAssignment>,
    positions: BTreeMap<Arc<str>, usize>,
}

/// An expanded node.
#[derive(Clone, Debug)]
pub struct PlannedNode {
    /// Its name.
    pub name: Arc<str>,
    /// The step it runs.
    pub template: Arc<pb::StepTemplate>,
    /// What happens when it fails.
    pub on_error: pb::OnError,
    /// Whether files that arrive by edges are added to the input's own.
    pub edge_append: bool,
    /// Its actions.
    pub actions: Vec<pb::PlanAction>,
    /// Edges that enter it, as positions in the blueprint, in their order.
    pub(crate) incoming: Vec<usize>,
    /// Nodes that edges from it enter, each once.
    pub(crate) next: Vec<usize>,
}

impl Blueprint {
    /// Reads a plan. Fails, in words, when its edges do not fit its nodes.
    pub(crate) fn new(plan: &pb::Plan) -> Result<Self, String> {
        let mut templates: BTreeMap<Vec<u8>, Arc<pb::StepTemplate>> = BTreeMap::new();
        let mut blueprint = Self {
            name: plan.name.clone(),
            nodes: Vec::with_capacity(plan.nodes.len()),
            edges: plan.edges.clone(),
            parameters: plan.parameters.clone(),
            positions: BTreeMap::new(),
        };
        for node in &plan.nodes {
            let template = node.template.clone().unwrap_or_default();
            let template = templates
                .entry(template.encode_to_vec())
                .or_insert_with(|| Arc::new(template))
                .clone();
            let name: Arc<str> = Arc::from(node.name.as_str());
            let position = blueprint.nodes.len();
            if blueprint.positions.insert(name.clone(), position).is_some() {
                return Err(format!("there are two nodes {name}"));
            }
            blueprint.nodes.push(PlannedNode {
                name,
                template,
                on_error: node.on_error(),
                edge_append: node.edge_append,
                actions: node.actions.clone(),
                incoming: Vec::new(),
                next: Vec::new(),
            });
        }
        for (at, edge) in plan.edges.iter().enumerate() {
            let source = blueprint
                .position(&edge.source_node)
                .ok_or_else(|| no_node(&edge.source_node))?;
            let target = blueprint
                .position(&edge.target_node)
                .ok_or_else(|| no_node(&edge.target_node))?;
            blueprint.nodes[target].incoming.push(at);
            let next = &mut blueprint.nodes[source].next;
            if !next.contains(&target) {
                next.push(target);
            }
        }
        blueprint.check_order()?;
        Ok(blueprint)
    }

    /// Where the node of that name stands.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// Nodes that the edges into a node come from; one that several edges come from comes several times.
    pub(crate) fn sources(&self, node: usize) -> impl Iterator<Item = usize> {
        let edges = self.nodes[node]
            .incoming
            .iter()
            .map(|edge| &self.edges[*edge]);
        edges.filter_map(|edge| self.position(&edge.source_node))
    }

    /// Refuses a circle: its nodes would wait for each other for ever.
    fn check_order(&self) -> Result<(), String> {
        let mut waiting: Vec<usize> = vec![0; self.nodes.len()];
        for node in &self.nodes {
            for next in &node.next {
                waiting[*next] += 1;
            }
        }
        let mut ready: Vec<usize> = (0..self.nodes.len())
            .filter(|node| waiting[*node] == 0)
            .collect();
        let mut ordered = 0;
        while let Some(node) = ready.pop() {
            ordered += 1;
            for next in &self.nodes[node].next {
                waiting[*next] -= 1;
                if waiting[*next] == 0 {
                    ready.push(*next);
                }
            }
        }
        match waiting.iter().position(|count| *count > 0) {
            Some(node) if ordered < self.nodes.len() => Err(format!(
                "node {} waits for itself through its edges",
                self.nodes[node].name
            )),
            _ => Ok(()),
        }
    }

    fn plan(&self) -> pb::Plan {
        let nodes = self.nodes.iter().map(|node| pb::PlanNode {
            name: node.name.to_string(),
            template: Some((*node.template).clone()),
            on_error: node.on_error.into(),
            edge_append: node.edge_append,
            actions: node.actions.clone(),
        });
        pb::Plan {
            name: self.name.clone(),
            nodes: nodes.collect(),
            edges: self.edges.clone(),
            parameters: self.parameters.clone(),
        }
    }
}

fn no_node(name: &str) -> String {
    format!("an edge names node {name}, which does not exist")
}

/// One run of a pipeline blueprint.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Project it belongs to.
    pub project: Arc<str>,
    /// Number in the project, from 1.
    pub number: i64,
    /// Its UUID.
    pub pipeline_id: Uuid,
    /// What is run.
    pub blueprint: Arc<Blueprint>,
    /// STARTED, STOPPING while its executions end before it does, then a final one.
    pub state: State,
    /// Why it ended, or is ending.
    pub end_reason: EndReason,
    /// For people.
    pub message: String,
    /// Unix time in milliseconds.
    pub create_time_ms: i64,
    /// Unix time in milliseconds; 0 before.
    pub end_time_ms: i64,
    /// Nodes, in the order of the plan.
    pub nodes: Vector<Node>,
    /// The source tree.
    pub source: Option<api::Source>,
    /// Title for people.
    pub title: Arc<str>,
    /// Words of the user.
    pub annotations: Arc<BTreeMap<String, String>>,
    /// Raft index of its last change.
    pub revision: u64,
    /// Final state it will have once its executions have ended; none while it goes on.
    pub ending: Option<State>,
    /// Priority of its executions, of [`crate::PRIORITY_RANGE`].
    pub priority: i32,
    /// How many of its nodes have not ended.
    pub(crate) open: usize,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// CREATED until its edges are satisfied, then the state of its execution.
    pub state: State,
    /// Number of its newest execution; 0 before it has one.
    pub execution: i64,
    /// For people.
    pub message: String,
    /// Whether it will never run.
    pub skipped: bool,
    /// How often it was run again after an error.
    pub retries: u32,
    /// Why it ended, or never started.
    pub end_reason: EndReason,
}

impl Node {
    pub(crate) fn created() -> Self {
        Self {
            state: State::Created,
            execution: 0,
            message: String::new(),
            skipped: false,
            retries: 0,
            end_reason: EndReason::Unspecified,
        }
    }

    /// Whether it will not change any more.
    pub fn is_final(&self) -> bool {
        transition::is_final(self.state)
    }

    pub(crate) fn restore(record: pb::NodeRecord) -> Result<Self, RestoreError> {
        Ok(Self {
            state: state(record.state)?,
            execution: record.execution,
            message: record.message,
            skipped: record.skipped,
            retries: record.retries,
            end_reason: reason(record.end_reason)?,
        })
    }
}

impl Pipeline {
    /// Whether it has ended.
    pub fn is_final(&self) -> bool {
        transition::is_final(self.state)
    }

    /// The name of a node as it is shared.
    pub(crate) fn node_name(&self, name: &str) -> Arc<str> {
        match self.blueprint.position(name) {
            Some(node) => self.blueprint.nodes[node].name.clone(),
            None => Arc::from(name),
        }
    }

    pub(crate) fn record(&self) -> pb::PipelineRecord {
        let nodes = self.nodes.iter().map(|node| pb::NodeRecord {
            state: node.state.into(),
            execution: node.execution,
            message: node.message.clone(),
            skipped: node.skipped,
            retries: node.retries,
            end_reason: node.end_reason.into(),
        });
        pb::PipelineRecord {
            project: self.project.to_string(),
            number: self.number,
            pipeline_id: ids::wire(self.pipeline_id),
            plan: Some(self.blueprint.plan()),
            state: self.state.into(),
            end_reason: self.end_reason.into(),
            message: self.message.clone(),
            create_time_ms: self.create_time_ms,
            end_time_ms: self.end_time_ms,
            nodes: nodes.collect(),
            source: self.source.clone(),
            title: self.title.to_string(),
            annotations: (*self.annotations).clone(),
            revision: self.revision,
            ending: self.ending.unwrap_or_default().into(),
            priority: self.priority,
        }
    }
}
