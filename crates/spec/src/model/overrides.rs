//! `override` of a node: changes of a step for one node.

use crate::model::{EnvironmentVariable, Input, Mount, Parameter};
use crate::span::{Span, Spanned};

/// Changes of a step. How they are merged with it is `plan`'s matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Override {
    /// The whole item.
    pub span: Span,
    /// Another image.
    pub image: Option<Spanned<String>>,
    /// Another command; `None`: the step's.
    pub command: Option<Vec<Spanned<String>>>,
    /// Each replaces the step's parameter of its name as a whole.
    pub parameters: Vec<Parameter>,
    /// Each replaces the step's input of its name as a whole.
    pub inputs: Vec<Input>,
    /// Other mounts.
    pub mounts: Vec<Mount>,
    /// Each replaces the step's variable of its name, or adds one.
    pub environment_variables: Vec<EnvironmentVariable>,
    /// Another machine type.
    pub environment: Option<Spanned<String>>,
    /// Another preset; needs `environment` beside it.
    pub runtime_config_preset: Option<Spanned<String>>,
    /// Whether to restart when a spot machine is taken away. Absent: as the step says.
    pub autorestart: Option<Spanned<bool>>,
}
