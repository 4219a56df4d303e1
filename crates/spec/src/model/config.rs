//! The whole file: an ordered list of items, each of one type.

use crate::diagnostic::Code;
use crate::model::{Deployment, Endpoint, Pipeline, Step, Task};
use crate::reader::{Mode, Reader, key_text, unique};
use crate::value::Value;
use crate::yaml::{Data, Entry, Node};

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

/// The types of items, in the order in which the reference looks for them: of an item with several, the first counts.
const TYPES: [&str; 6] = [
    "step",
    "task",
    "endpoint",
    "pipeline",
    "blueprint",
    "deployment",
];

impl Config {
    pub(crate) fn read(reader: &mut Reader, root: &Node) -> Config {
        let mut config = Config::default();
        match &root.data {
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    reader.at(index, |reader| config.read_item(reader, item));
                }
            }
            Data::Scalar(Value::None) => {
                let hint = "it begins with `- step:`".to_owned();
                reader.refuse(Code::Syntax, root.span, "the file is empty", Some(hint));
            }
            _ => {
                let hint = "each item begins with a dash: `- step:`".to_owned();
                let message = format!("the file is a list of items, not {}", root.kind());
                reader.refuse(Code::WrongType, root.span, message, Some(hint));
            }
        }
        config.steps = unique(reader, "a step", config.steps, |step| &step.name);
        config.tasks = unique(reader, "a task", config.tasks, |task| &task.name);
        config.endpoints = unique(reader, "an endpoint", config.endpoints, |endpoint| {
            &endpoint.name
        });
        config.pipelines = unique(reader, "a pipeline", config.pipelines, |pipeline| {
            &pipeline.name
        });
        config.deployments = unique(reader, "a deployment", config.deployments, |deployment| {
            &deployment.name
        });
        config
    }

    fn read_item(&mut self, reader: &mut Reader, item: &Node) {
        let Data::Map(entries) = &item.data else {
            let message = format!("an item is a map of one type, not {}", item.kind());
            let hint = format!("the types are {}", TYPES.join(", "));
            return reader.refuse(Code::WrongType, item.span, message, Some(hint));
        };
        let mut counted: Option<&Entry> = None;
        for kind in TYPES {
            let Some(entry) = entries
                .iter()
                .find(|entry| entry.key.as_str() == Some(kind))
            else {
                continue;
            };
            let Some(first) = counted else {
                counted = Some(entry);
                reader.at(kind, |reader| self.read_type(reader, kind, &entry.value));
                continue;
            };
            let message = format!(
                "`{kind}` is ignored: its item is a `{}` already",
                key_text(&first.key)
            );
            let hint = "an item of its own begins with a dash".to_owned();
            reader.warn(Code::UnknownItem, entry.key_span, message, Some(hint));
            // Ignored or not, its mistakes are refused, but for the two types that have no schema.
            if !matches!(kind, "blueprint" | "deployment") {
                reader.at(kind, |reader| {
                    let read = |reader: &mut Reader| {
                        Config::default().read_type(reader, kind, &entry.value);
                    };
                    reader.in_mode(Mode::Ignored, read);
                });
            }
        }
        if counted.is_none() {
            warn_of_unknown(reader, item, entries);
        }
    }

    fn read_type(&mut self, reader: &mut Reader, kind: &str, node: &Node) {
        match kind {
            "step" => self.steps.push(Step::read(reader, node)),
            "task" => self.tasks.push(Task::read(reader, node)),
            "endpoint" => self.endpoints.push(Endpoint::read(reader, node)),
            "deployment" => self.deployments.push(Deployment::read(reader, node)),
            "pipeline" => self.pipelines.push(Pipeline::read(reader, node)),
            // `blueprint` is what pipelines were called; it has no schema.
            _ => {
                let read = |reader: &mut Reader| Pipeline::read(reader, node);
                self.pipelines.push(reader.in_mode(Mode::Legacy, read));
            }
        }
    }
}

/// Items of other types are where people keep their anchors: never an error.
fn warn_of_unknown(reader: &mut Reader, item: &Node, entries: &[Entry]) {
    let Some(entry) = entries.first() else {
        return reader.warn(
            Code::UnknownItem,
            item.span,
            "an empty item means nothing",
            None,
        );
    };
    let kind = key_text(&entry.key);
    let hint = reader.suggest(&kind, "the types are", TYPES);
    reader.warn(
        Code::UnknownItem,
        entry.key_span,
        format!("`{kind}` is no type of item and is ignored"),
        hint,
    );
}
