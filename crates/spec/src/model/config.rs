//! The whole file: an ordered list of items, each of one type.

use crate::model::{Deployment, Endpoint, Pipeline, Step, Task};

/// A `valohai.yaml` that was read without an error.
///
/// Each list keeps the order of the file. Names are unique within a list: of two items with one name, the later one
/// stands, at the place of the earlier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What can be executed.
    pub steps: Vec<Step>,
    /// Parameter sweeps that pipelines can name.
    pub tasks: Vec<Task>,
    /// Services that a deployment can serve.
    pub endpoints: Vec<Endpoint>,
    /// Blueprints of pipelines.
    pub pipelines: Vec<Pipeline>,
    /// What to create a deployment with.
    pub deployments: Vec<Deployment>,
}

impl Config {
    /// The step of that exact name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| *step.name == name)
    }

    /// The task of that exact name.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| *task.name == name)
    }

    /// The pipeline of that exact name.
    pub fn pipeline(&self, name: &str) -> Option<&Pipeline> {
        self.pipelines
            .iter()
            .find(|pipeline| *pipeline.name == name)
    }

    /// The endpoint of that exact name.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| *endpoint.name == name)
    }

    /// The deployment of that exact name.
    pub fn deployment(&self, name: &str) -> Option<&Deployment> {
        self.deployments
            .iter()
            .find(|deployment| *deployment.name == name)
    }
}
