//! From a blueprint to what is run.
//!
//! [`expand`] makes the executable [`Plan`] of a pipeline and [`template`] the one of a single step: every name is
//! resolved, overrides and launch values are in, and only what edges bring is open. Both refuse, with its place, what this
//! version reads but does not run; nothing is left out in silence. [`reference_json`] prints a blueprint as the reference
//! does, and is not run.
//!
//! Choices where the format leaves one:
//! - a pipeline parameter without a default that is not given at launch leaves its targets as they are;
//! - of an override's parameters and inputs only the default counts: the rest is the step's;
//! - actions that do nothing known are dropped.

mod merge;

mod needs;
mod step_template;

mod edges;
mod expand;
mod refuse;

pub mod launch;

mod payload;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::command::{CommandError, Commands, Values};
use crate::model::{KeepDirectories, OnError, Parameter, SocketKind};
use crate::value::Value;

pub use expand::{Expanded, expand};
pub use launch::Launch;
pub use payload::reference_json;
pub use refuse::check_uri;
pub use step_template::template;

/// A pipeline, expanded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Name of the blueprint.
    pub name: String,
    /// In the order of the file. Names are unique, and edges make no circle.
    pub nodes: Vec<PlanNode>,
    /// In the order of the file. Both ends exist and fit each other.
    pub edges: Vec<PlanEdge>,
    /// Pipeline parameters and the values they have; those without a value are left out.
    pub parameters: Vec<(String, Value)>,
}

/// One node: an execution to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanNode {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub template: StepTemplate,
    /// What its failure means.
    pub on_error: OnError,
    /// Whether files that arrive by edges are added to the input's own instead of taking their place.
    pub edge_append: bool,
    /// What to do when it starts or ends.
    pub actions: Vec<PlanAction>,
}

/// One edge between two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanEdge {
    /// Node it leaves.
    pub source_node: String,
    /// What of it.
    pub source_kind: SocketKind,
    /// Which one: of outputs a pattern for [`fnmatch`](crate::glob::fnmatch).
    pub source_key: String,
    /// Node it enters.
    pub target_node: String,
    /// What of it.
    pub target_kind: SocketKind,
    /// Which one.
    pub target_key: String,
}

/// What to do when something happens to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanAction {
    /// `node-starting`, `node-complete`, `node-error`.
    pub when: Vec<String>,
    /// Expressions that must all hold; each of them can be read.
    pub conditions: Vec<String>,
    /// `stop-pipeline`, `error-pipeline`, `noop`.
    pub then: Vec<String>,
}

/// A step with everything fixed but what edges bring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepTemplate {
    /// Name of the step.
    pub step: String,
    /// The container image.
    pub image: String,
    /// Lines with their placeholders.
    pub commands: Vec<String>,
    /// In the order in which they are passed.
    pub parameters: Vec<TemplateParameter>,
    /// In the order of the step.
    pub inputs: Vec<TemplateInput>,
    /// Environment variables that have a value.
    pub environment_variables: BTreeMap<String, String>,
    /// Environment variables that must have a value by the time it starts, with or without one now.
    pub required_environment_variables: Vec<String>,
    /// Which machines may run it; empty: any.
    pub environment: String,
    /// Limit of the whole execution.
    pub time_limit: Option<Duration>,
    /// Limit without output.
    pub no_output_timeout: Option<Duration>,
    /// Expression over metadata that stops it; it can be read.
    pub stop_condition: Option<String>,
    /// Replaces `{source-path}`.
    pub source_path: Option<String>,
    /// Directories of the machine that it asks for.
    pub mounts: Vec<TemplateMount>,
    /// What it needs of a machine.
    pub needs: Needs,
}

/// A directory of the machine that a template asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateMount {
    /// On the machine.
    pub source: String,
    /// In the step's container.
    pub destination: String,
    /// For reading only.
    pub read_only: bool,
    /// Kind of file system; empty: a directory of the machine.
    pub kind: String,
}

/// What a step needs of a machine beside a place on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Processors kept for it, in thousandths; 0: none.
    pub cpu_millis: u64,
    /// Processors it may use at most, in thousandths; 0: no limit.
    pub cpu_limit_millis: u64,
    /// Memory kept for it, in bytes; 0: none.
    pub memory_bytes: u64,
    /// Memory it may use at most, in bytes; 0: no limit.
    pub memory_limit_bytes: u64,
    /// Devices for itself, in the order of the file.
    pub devices: Vec<DeviceNeed>,
}

/// Devices of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceNeed {
    /// `nvidia.com/gpu`, or a product: `nvidia.com/a100`.
    pub kind: String,
    /// How many; at least 1.
    pub count: u32,
    /// Least memory of each, in bytes; 0: any.
    pub memory_bytes: u64,
}

/// A parameter of a template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TemplateParameter {
    /// How it is passed and checked; its default is not looked at any more.
    pub definition: Parameter,
    /// Its value so far; [`Value::None`]: none.
    pub value: Value,
    /// Where that came from.
    pub origin: Origin,
}

/// An input of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateInput {
    /// Its name.
    pub name: String,
    /// Where its files come from so far; placeholders are not replaced yet.
    pub uris: Vec<String>,
    /// Where those came from.
    pub origin: Origin,
    /// Whether it may have no files.
    pub optional: bool,
    /// What is kept of the directories.
    pub keep_directories: KeepDirectories,
    /// Name for its only file.
    pub file_name: Option<String>,
    /// Whether its files are listed only.
    pub on_demand: bool,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// There is no value.
    #[default]
    Nowhere,
    /// The step.
    Default,
    /// The override of the node.
    Override,
    /// A pipeline parameter.
    PipelineParameter,
    /// An edge.
    Edge,
    /// The launch.
    Launch,
}

impl Plan {
    /// The node of that exact name.
    pub fn node(&self, name: &str) -> Option<&PlanNode> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

impl StepTemplate {
    /// The values of all parameters that have one.
    pub fn values(&self) -> Values {
        self.parameters
            .iter()
            .filter(|parameter| parameter.value != Value::None)
            .map(|parameter| {
                (
                    parameter.definition.name.value.clone(),
                    parameter.value.clone(),
                )
            })
            .collect()
    }

    /// The lines of the script with the values put in.
    ///
    /// # Errors
    /// A value that cannot be passed.
    pub fn build_commands(&self) -> Result<Commands, CommandError> {
        crate::command::build_template(self)
    }

    /// The URIs of an input with the values put in.
    ///
    /// # Errors
    /// A placeholder whose parameter does not exist or has no single value.
    pub fn build_uris(&self, input: &TemplateInput) -> Result<Vec<String>, CommandError> {
        let (values, definitions) = (self.values(), self.definitions());
        input
            .uris
            .iter()
            .map(|uri| crate::command::interpolate_uri(uri, &definitions, &values))
            .collect()
    }

    pub(crate) fn definitions(&self) -> Vec<&Parameter> {
        self.parameters
            .iter()
            .map(|parameter| &parameter.definition)
            .collect()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
