//! What the edges into a node bring it from the nodes before it.

use std::sync::Arc;

use contract::{api, ledger as pb};
use spec::Value;
use spec::glob::fnmatch;
use spec::plan::TemplateParameter;

use crate::json;
use crate::launch::{Brought, CannotRun};
use crate::ledger::Ledger;
use crate::records::{Blueprint, Execution, InputFile, Pipeline};

/// Refuses a blueprint with an edge that brings what its target cannot take.
pub(crate) fn check(blueprint: &Blueprint) -> Result<(), String> {
    for edge in &blueprint.edges {
        if kind(edge).is_none() {
            return Err(format!(
                "an edge from {} {} to {} {} means nothing",
                edge.source_node, edge.source_type, edge.target_node, edge.target_type
            ));
        }
    }
    Ok(())
}

/// What an edge brings.
enum Kind {
    /// Outputs of the source whose names match become files of an input.
    Outputs,
    /// Files of the source's inputs whose names match become files of an input.
    Inputs,
    /// The value of a parameter.
    Parameter,
    /// The latest value of a metadata key, as the value of a parameter.
    Metadata,
    /// The value of an environment variable.
    Variable,
    /// Nothing but order.
    Order,
}

fn kind(edge: &api::Edge) -> Option<Kind> {
    match (edge.source_type.as_str(), edge.target_type.as_str()) {
        ("output", "input") => Some(Kind::Outputs),
        ("input", "input") => Some(Kind::Inputs),
        ("parameter", "parameter") => Some(Kind::Parameter),
        ("metadata", "parameter") => Some(Kind::Metadata),
        ("environment-variable", "environment-variable") => Some(Kind::Variable),
        ("dependency", _) | (_, "dependency") => Some(Kind::Order),
        _ => None,
    }
}

/// What a node starts with: its template with the values that edges bring in it, and the files they bring.
pub(crate) fn bring(
    ledger: &Ledger,
    pipeline: &Pipeline,
    node: usize,
) -> Result<(Arc<pb::StepTemplate>, Brought), CannotRun> {
    let blueprint = &pipeline.blueprint;
    let planned = &blueprint.nodes[node];
    let mut template = planned.template.clone();
    let mut brought = Brought::new();
    for edge in planned.incoming.iter().map(|edge| &blueprint.edges[*edge]) {
        let source = Source::of(ledger, pipeline, &edge.source_node);
        match kind(edge) {
            Some(Kind::Outputs) => {
                let files = source.outputs(ledger, &edge.source_key);
                brought
                    .entry(edge.target_key.clone())
                    .or_default()
                    .extend(files);
            }
            Some(Kind::Inputs) => {
                let files = source.inputs(&edge.source_key);
                brought
                    .entry(edge.target_key.clone())
                    .or_default()
                    .extend(files);
            }
            Some(Kind::Parameter) => {
                set_parameter(&mut template, edge, source.parameter(&edge.source_key))?
            }
            Some(Kind::Metadata) => {
                set_parameter(&mut template, edge, source.metadata(&edge.source_key))?
            }
            Some(Kind::Variable) => {
                if let Some(value) = source.variable(&edge.source_key) {
                    let variables = &mut Arc::make_mut(&mut template).environment_variables;
                    variables.insert(edge.target_key.clone(), value);
                }
            }
            Some(Kind::Order) | None => {}
        }
    }
    Ok((template, brought))
}

/// The node an edge comes from. One that failed before it had an execution, and does not matter, has its plan only.
struct Source<'a> {
    template: Option<&'a pb::StepTemplate>,
    execution: Option<&'a Execution>,
}

impl<'a> Source<'a> {
    fn of(ledger: &'a Ledger, pipeline: &'a Pipeline, name: &str) -> Self {
        let position = pipeline.blueprint.position(name);
        let node = position.and_then(|position| pipeline.nodes.get(position));
        let execution = node.and_then(|node| ledger.execution(&pipeline.project, node.execution));
        let planned = position.and_then(|position| pipeline.blueprint.nodes.get(position));
        Self {
            template: execution
                .map(Execution::template)
                .or(planned.map(|planned| &*planned.template)),
            execution,
        }
    }

    /// Outputs whose names match, in the order in which they were published.
    fn outputs(&self, ledger: &Ledger, pattern: &str) -> Vec<InputFile> {
        let outputs = self
            .execution
            .map(|execution| &*execution.outputs)
            .unwrap_or_default();
        let data = outputs.iter().filter_map(|id| ledger.datum(id));
        let matching = data.filter(|datum| fnmatch(pattern, &datum.file_name));
        let files = matching.map(|datum| InputFile {
            uri: datum.uri(),
            datum_id: Some(datum.datum_id),
            origin: api::Origin::Edge.into(),
            file_name: String::new(),
            digest: Some(datum.digest),
            size_bytes: datum.size_bytes,
        });
        files.collect()
    }

    /// Files of the inputs whose names match.
    fn inputs(&self, pattern: &str) -> Vec<InputFile> {
        let inputs = self
            .execution
            .map(|execution| &*execution.inputs)
            .unwrap_or_default();
        let matching = inputs
            .iter()
            .filter(|input| input.name == pattern || fnmatch(pattern, &input.name));
        let files = matching
            .flat_map(|input| &input.files)
            .map(|file| InputFile {
                origin: api::Origin::Edge.into(),
                file_name: String::new(),
                ..file.clone()
            });
        files.collect()
    }

    fn parameter(&self, name: &str) -> Option<Value> {
        let mut parameters = self.template?.parameters.iter();
        let parameter = parameters.find(|parameter| parameter.name == name)?;
        Value::try_from(parameter.value.as_ref()?).ok()
    }

    /// The latest value of a metadata key.
    fn metadata(&self, key: &str) -> Option<Value> {
        let metadata: serde_json::Value =
            serde_json::from_str(&self.execution?.metadata_json).ok()?;
        metadata.get(key).map(json::of)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.template?.environment_variables.get(name).cloned()
    }
}

/// Gives a parameter the value an edge brings. Without one, what it has or its being optional must do.
fn set_parameter(
    template: &mut Arc<pb::StepTemplate>,
    edge: &api::Edge,
    value: Option<Value>,
) -> Result<(), CannotRun> {
    let name = &edge.target_key;
    let position = template
        .parameters
        .iter()
        .position(|parameter| parameter.name == *name);
    let Some(position) = position else {
        return Err(CannotRun::Unfit(format!(
            "an edge names parameter {name}, which the step does not have"
        )));
    };
    let known = &template.parameters[position];
    let Some(value) = value.filter(|value| *value != Value::None) else {
        let has_value = known
            .value
            .as_ref()
            .is_some_and(|value| value.kind.is_some());
        if has_value || known.optional || known.r#type == "flag" {
            return Ok(());
        }
        return Err(CannotRun::EdgeEmpty(format!(
            "parameter {name} is required, and node {} has no {} {}",
            edge.source_node, edge.source_type, edge.source_key
        )));
    };
    let unfit = |error: String| {
        CannotRun::Unfit(format!(
            "parameter {name} cannot take the {} {} of node {}: {error}",
            edge.source_type, edge.source_key, edge.source_node
        ))
    };
    let typed = TemplateParameter::try_from(known).map_err(|error| unfit(error.to_string()))?;
    let value = spec::command::check_value(&typed.definition, &value).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        unfit(errors.join(", "))
    })?;
    let parameter = &mut Arc::make_mut(template).parameters[position];
    parameter.value = Some((&value).into());
    parameter.origin = api::Origin::Edge.into();
    Ok(())
}
