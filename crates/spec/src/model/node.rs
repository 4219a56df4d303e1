//! `nodes` of a pipeline: executions, tasks, deployments.

use crate::model::{Action, Override};
use crate::span::{Span, Spanned};

/// One node of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The whole item.
    pub span: Span,
    /// Unique within the pipeline.
    pub name: Spanned<String>,
    /// What becomes of it.
    pub kind: NodeKind,
    /// What to do when it starts or ends.
    pub actions: Vec<Action>,
    /// What its failure means for the pipeline.
    pub on_error: Spanned<OnError>,
}

/// What a node becomes, and of what.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// One execution of a step.
    Execution {
        /// The step's name.
        step: Spanned<String>,
        /// How the step is changed for the node.
        job: Job,
    },
    /// A sweep of executions.
    Task {
        /// What is swept.
        source: TaskSource,
        /// How the step is changed for the node.
        job: Job,
    },
    /// A deployment of endpoints.
    Deployment(DeploymentNode),
}

/// What execution and task nodes have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// Another commit or library to take the step from. Never empty.
    pub commit: Option<Spanned<String>>,
    /// Changes of the step for this node.
    pub overrides: Option<Override>,
    /// How files that edges bring meet the inputs' defaults.
    pub edge_merge_mode: Spanned<EdgeMergeMode>,
}

/// What a task node sweeps.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskSource {
    /// A step, with the variants that edges and users give.
    Step(Spanned<String>),
    /// A `task` of the file.
    Blueprint(Spanned<String>),
}

/// What a deployment node deploys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentNode {
    /// The deployment's name.
    pub deployment: Spanned<String>,
    /// Names of the endpoints.
    pub endpoints: Vec<Spanned<String>>,
    /// Aliases for the new version.
    pub aliases: Vec<Spanned<String>>,
}

/// What the failure of a node means for its pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The pipeline fails and all else is stopped.
    #[default]
    StopAll,
    /// What follows the node is skipped.
    StopNext,
    /// As if the node had completed.
    Continue,
    /// The node runs again. Not for deployments.
    Retry,
}

/// How files that arrive by edges meet the default of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdgeMergeMode {
    /// They take its place.
    #[default]
    Replace,
    /// They are added.
    Append,
}

impl Node {
    /// What executions and tasks have and deployments have not.
    pub fn job(&self) -> Option<&Job> {
        match &self.kind {
            NodeKind::Execution { job, .. } | NodeKind::Task { job, .. } => Some(job),
            NodeKind::Deployment(_) => None,
        }
    }
}
