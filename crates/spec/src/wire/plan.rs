//! Plans of pipelines.

use contract::{api, ledger};

use crate::model::{OnError, SocketKind};
use crate::plan::{Plan, PlanAction, PlanEdge, PlanNode, StepTemplate};
use crate::wire::WireError;
use crate::wire::value::absent;

impl From<&Plan> for ledger::Plan {
    fn from(plan: &Plan) -> Self {
        let assignment = |(name, value): &(String, crate::Value)| api::ParameterAssignment {
            name: name.clone(),
            value: Some(value.into()),
            append: false,
        };
        Self {
            name: plan.name.clone(),
            nodes: plan.nodes.iter().map(Into::into).collect(),
            edges: plan.edges.iter().map(Into::into).collect(),
            parameters: plan.parameters.iter().map(assignment).collect(),
        }
    }
}

impl TryFrom<&ledger::Plan> for Plan {
    type Error = WireError;

    /// # Errors
    /// A field that is missing or has a value that is not known.
    fn try_from(message: &ledger::Plan) -> Result<Self, WireError> {
        let parameter =
            |given: &api::ParameterAssignment| Ok((given.name.clone(), absent(&given.value)?));
        Ok(Self {
            name: message.name.clone(),
            nodes: message
                .nodes
                .iter()
                .map(PlanNode::try_from)
                .collect::<Result<_, _>>()?,
            edges: message
                .edges
                .iter()
                .map(PlanEdge::try_from)
                .collect::<Result<_, _>>()?,
            parameters: message
                .parameters
                .iter()
                .map(parameter)
                .collect::<Result<_, WireError>>()?,
        })
    }
}

impl From<&PlanNode> for ledger::PlanNode {
    fn from(node: &PlanNode) -> Self {
        let on_error = match node.on_error {
            OnError::StopAll => ledger::OnError::StopAll,
            OnError::StopNext => ledger::OnError::StopNext,
            OnError::Continue => ledger::OnError::Continue,
            OnError::Retry => ledger::OnError::Retry,
        };
        let action = |action: &PlanAction| ledger::PlanAction {
            when: action.when.clone(),
            conditions: action.conditions.clone(),
            then: action.then.clone(),
        };
        Self {
            name: node.name.clone(),
            template: Some((&node.template).into()),
            on_error: on_error.into(),
            edge_append: node.edge_append,
            actions: node.actions.iter().map(action).collect(),
        }
    }
}

impl TryFrom<&ledger::PlanNode> for PlanNode {
    type Error = WireError;

    /// # Errors
    /// A node without a template, or a field with a value that is not known.
    fn try_from(message: &ledger::PlanNode) -> Result<Self, WireError> {
        let template = message
            .template
            .as_ref()
            .ok_or(WireError::Missing("node.template"))?;
        let unknown = |_| WireError::Unknown {
            field: "node.on_error",
            value: message.on_error.to_string(),
        };
        let on_error = match ledger::OnError::try_from(message.on_error).map_err(unknown)? {
            ledger::OnError::Unspecified | ledger::OnError::StopAll => OnError::StopAll,
            ledger::OnError::StopNext => OnError::StopNext,
            ledger::OnError::Continue => OnError::Continue,
            ledger::OnError::Retry => OnError::Retry,
        };
        let action = |action: &ledger::PlanAction| PlanAction {
            when: action.when.clone(),
            conditions: action.conditions.clone(),
            then: action.then.clone(),
        };
        Ok(Self {
            name: message.name.clone(),
            template: StepTemplate::try_from(template)?,
            on_error,
            edge_append: message.edge_append,
            actions: message.actions.iter().map(action).collect(),
        })
    }
}

impl From<&PlanEdge> for api::Edge {
    fn from(edge: &PlanEdge) -> Self {
        Self {
            source_node: edge.source_node.clone(),
            source_type: edge.source_kind.word().to_owned(),
            source_key: edge.source_key.clone(),
            target_node: edge.target_node.clone(),
            target_type: edge.target_kind.word().to_owned(),
            target_key: edge.target_key.clone(),
        }
    }
}

impl TryFrom<&api::Edge> for PlanEdge {
    type Error = WireError;

    /// # Errors
    /// A type of socket that is not known.
    fn try_from(message: &api::Edge) -> Result<Self, WireError> {
        Ok(Self {
            source_node: message.source_node.clone(),
            source_kind: read_kind("edge.source_type", &message.source_type)?,
            source_key: message.source_key.clone(),
            target_node: message.target_node.clone(),
            target_kind: read_kind("edge.target_type", &message.target_type)?,
            target_key: message.target_key.clone(),
        })
    }
}

fn read_kind(field: &'static str, word: &str) -> Result<SocketKind, WireError> {
    let found = SocketKind::ALL.into_iter().find(|kind| kind.word() == word);
    found.ok_or_else(|| WireError::Unknown {
        field,
        value: word.to_owned(),
    })
}
