//! What a `valohai.yaml` says, one file a thing, each with the rules it is read by.
//!
//! Every thing keeps the places of what a person may have to be pointed to, later too: what is understood but not
//! executed is refused by name, where it stands. Absent and default are told apart where it matters, and defaults
//! are the format's.
//!
//! Invariant: a model is only handed out when nothing in its file was refused.

mod config;
mod step;

mod environment_variable;
mod input;
mod mount;
mod parameter;
mod resources;

mod pipeline;

mod action;
mod edge;
mod node;
mod overrides;
mod pipeline_parameter;

mod task;

mod deployment;
mod endpoint;

pub use action::Action;
pub use config::Config;
pub use deployment::Deployment;
pub use edge::{Edge, Socket, SocketKind};
pub use endpoint::{Endpoint, EndpointFile, SharedVolume, Toleration, WorkspaceVolume};
pub use environment_variable::EnvironmentVariable;
pub use input::{Download, Input, KeepDirectories};
pub use mount::Mount;
pub use node::{DeploymentNode, EdgeMergeMode, Job, Node, NodeKind, OnError, TaskSource};
pub use overrides::Override;
pub use parameter::{Multiple, Parameter, ParameterKind, Widget};
pub use pipeline::Pipeline;
pub use pipeline_parameter::{PipelineParameter, Target};
pub use resources::{Bounds, Resources};
pub use step::{Output, Step};
pub use task::{OnChildError, Rules, Style, Task, TaskKind, VariantParameter};
