//! `nodes` of a pipeline: executions, tasks, deployments.

use crate::diagnostic::Code;
use crate::model::{Action, Override};
use crate::reader::{Fields, Reader, choice, not_a_choice, text};
use crate::span::{Span, Spanned};
use crate::yaml;

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

impl Node {
    /// Reads a node. `None` when it does not say what it is.
    pub(crate) fn read(reader: &mut Reader, node: &yaml::Node) -> Option<Node> {
        const TYPES: [&str; 3] = ["execution", "task", "deployment"];
        let mut fields = reader.free_fields(node, "a node");
        let kind: Spanned<String> = fields.required("type", text);
        match kind.as_str() {
            "execution" => Some(Node::read_execution(reader, node)),
            "task" => Some(Node::read_task(reader, node)),
            "deployment" => Some(Node::read_deployment(reader, node)),
            other => {
                if node.get("type").is_some_and(|kind| kind.as_str().is_some()) {
                    reader.at("type", |reader| {
                        not_a_choice(reader, kind.span, other, TYPES.into_iter())
                    });
                }
                None
            }
        }
    }

    /// A node for each name that the older spelling's edges use: the execution of the step of that name.
    pub(crate) fn implied(name: Spanned<String>) -> Node {
        Node {
            span: name.span,
            name: name.clone(),
            kind: NodeKind::Execution {
                step: name,
                job: Job::default(),
            },
            actions: Vec::new(),
            on_error: Spanned::default(),
        }
    }

    fn read_execution(reader: &mut Reader, node: &yaml::Node) -> Node {
        let known = [
            "name",
            "type",
            "step",
            "override",
            "commit",
            "edge-merge-mode",
            "actions",
            "on-error",
        ];
        let mut fields = reader.fields(node, "an execution node", &known);
        Node {
            span: fields.span(),
            name: fields.required("name", text),
            kind: NodeKind::Execution {
                step: fields.required("step", text),
                job: Job::read(&mut fields),
            },
            actions: fields.list("actions", Action::read),
            on_error: fields
                .optional("on-error", choice(&OnError::WORDS))
                .unwrap_or_default(),
        }
    }

    fn read_task(reader: &mut Reader, node: &yaml::Node) -> Node {
        let known = [
            "name",
            "type",
            "step",
            "task",
            "override",
            "commit",
            "edge-merge-mode",
            "actions",
            "on-error",
        ];
        let mut fields = reader.fields(node, "a task node", &known);
        let step = fields.optional("step", text);
        let task = fields.optional("task", text);
        if let (Some(_), Some(_), Some(span)) = (&step, &task, fields.key_span("task")) {
            let hint = "a task node names a step or a task".to_owned();
            fields
                .reader()
                .refuse(Code::Conflict, span, "`step` is given too", Some(hint));
        }
        if step.is_none() && task.is_none() {
            fields.missing("step` or `task");
        }
        let source = match task {
            Some(task) => TaskSource::Blueprint(task),
            None => TaskSource::Step(step.unwrap_or_default()),
        };
        Node {
            span: fields.span(),
            name: fields.required("name", text),
            kind: NodeKind::Task {
                source,
                job: Job::read(&mut fields),
            },
            actions: fields.list("actions", Action::read),
            on_error: fields
                .optional("on-error", choice(&OnError::WORDS))
                .unwrap_or_default(),
        }
    }

    fn read_deployment(reader: &mut Reader, node: &yaml::Node) -> Node {
        let known = [
            "name",
            "type",
            "deployment",
            "endpoints",
            "aliases",
            "actions",
            "on-error",
        ];
        let mut fields = reader.fields(node, "a deployment node", &known);
        let deployment = DeploymentNode {
            deployment: fields.required("deployment", text),
            endpoints: fields.list("endpoints", text),
            aliases: fields.list("aliases", text),
        };
        Node {
            span: fields.span(),
            name: fields.required("name", text),
            kind: NodeKind::Deployment(deployment),
            actions: fields.list("actions", Action::read),
            on_error: fields
                .optional("on-error", choice(&OnError::WORDS[..3]))
                .unwrap_or_default(),
        }
    }
}

impl Job {
    fn read(fields: &mut Fields<'_>) -> Job {
        Job {
            commit: fields
                .optional("commit", text)
                .filter(|commit| !commit.is_empty()),
            overrides: fields.optional("override", Override::read),
            edge_merge_mode: fields
                .optional("edge-merge-mode", choice(&EdgeMergeMode::WORDS))
                .unwrap_or_default(),
        }
    }
}

impl OnError {
    /// `retry` comes last: deployments do not take it.
    const WORDS: [(&str, OnError); 4] = [
        ("stop-all", OnError::StopAll),
        ("stop-next", OnError::StopNext),
        ("continue", OnError::Continue),
        ("retry", OnError::Retry),
    ];
}

impl EdgeMergeMode {
    const WORDS: [(&str, EdgeMergeMode); 2] = [
        ("replace", EdgeMergeMode::Replace),
        ("append", EdgeMergeMode::Append),
    ];
}
