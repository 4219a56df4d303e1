//! `step`: a named unit of work.

use std::time::Duration;

use crate::model::{EnvironmentVariable, Input, Mount, Parameter, Resources};
use crate::span::{Span, Spanned};

/// What to run, in which image, with what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The whole item.
    pub span: Span,
    /// Free text; spaces and capitals are common.
    pub name: Spanned<String>,
    /// The container image.
    pub image: Spanned<String>,
    /// The lines of one script. A single string in the file is one line here. May be empty.
    pub command: Vec<Spanned<String>>,
    /// In the order in which they are passed. Unique by name.
    pub parameters: Vec<Parameter>,
    /// Files that the step reads. Unique by name.
    pub inputs: Vec<Input>,
    /// Documentation of what the step writes; nothing is checked against it.
    pub outputs: Vec<Output>,
    /// Directories of the host.
    pub mounts: Vec<Mount>,
    /// Names of Kubernetes volumes used as an extra input cache.
    pub cache_volumes: Vec<Spanned<String>>,
    /// Set in the process. Unique by name.
    pub environment_variables: Vec<EnvironmentVariable>,
    /// Names of groups of variables that the platform keeps.
    pub environment_variable_groups: Vec<Spanned<String>>,
    /// The machine type.
    pub environment: Option<Spanned<String>>,
    /// A preset of the platform; needs `environment`.
    pub runtime_config_preset: Option<Spanned<String>>,
    /// What the step needs of a machine.
    pub resources: Option<Resources>,
    /// Wall clock of the whole execution. Absent: no limit.
    pub time_limit: Option<Spanned<Duration>>,
    /// How long the log may be silent. Absent: the platform's default.
    pub no_output_timeout: Option<Spanned<Duration>>,
    /// Expression over live metadata that ends the execution.
    pub stop_condition: Option<Spanned<String>>,
    /// Data store for the outputs.
    pub upload_store: Option<Spanned<String>>,
    /// The original source file; enables `{source-path}` in commands.
    pub source_path: Option<Spanned<String>>,
    /// Whether to restart when a spot machine is taken away. Absent: not said.
    pub autorestart: Option<Spanned<bool>>,
    /// For people.
    pub description: Option<String>,
    /// For people.
    pub category: Option<String>,
    /// Address of a picture, for people.
    pub icon: Option<String>,
}

/// A documented output of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// What it is called.
    pub name: Spanned<String>,
    /// For people.
    pub description: Option<String>,
}

impl Step {
    /// The parameter of that exact name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|parameter| *parameter.name == name)
    }

    /// The input of that exact name.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| *input.name == name)
    }
}
