//! The expanded pipeline as the reference's client would send it to the platform, as JSON.
//!
//! It is what `shoal pipeline plan NAME --output json` prints, so that a person can compare. Nothing here runs it: see
//! [`expand`](crate::plan::expand) for that.

mod items;
mod task;

use serde_json::{Map, Value as Json, json};

use crate::model::{
    Config, DeploymentNode, Edge, EdgeMergeMode, Job, Node, NodeKind, OnError, Pipeline,
    PipelineParameter, Step, TaskSource,
};
use crate::plan::merge::merge;
use crate::value::Value;

use items::{number_of_seconds, put, put_text, value_json};

/// The pipeline expanded: `edges`, `nodes` and `parameters`.
///
/// `commit` stands for the commit of the file (`HEAD` where there is none).
///
/// # Errors
/// A step or a task that a node names and that does not exist; only nodes with a `commit` may, in a file without errors.
pub fn reference_json(config: &Config, pipeline: &Pipeline, commit: &str) -> Result<Json, String> {
    let nodes: Result<Vec<Json>, String> = pipeline
        .nodes
        .iter()
        .map(|node| node_json(config, node, commit))
        .collect();
    let parameters: Map<String, Json> = pipeline
        .parameters
        .iter()
        .map(|parameter| (parameter.name.value.clone(), parameter_json(parameter)))
        .collect();
    let edges: Vec<Json> = pipeline.edges.iter().map(edge_json).collect();
    Ok(json!({"edges": edges, "nodes": nodes?, "parameters": parameters}))
}

fn edge_json(edge: &Edge) -> Json {
    let mut json = json!({
        "source_node": edge.source.node,
        "source_type": edge.source.kind.word(),
        "source_key": edge.source.key,
        "target_node": edge.target.node,
        "target_type": edge.target.kind.word(),
        "target_key": edge.target.key,
    });
    if !edge.configuration.is_empty() {
        json["configuration"] = items::map_json(&edge.configuration);
    }
    json
}

fn parameter_json(parameter: &PipelineParameter) -> Json {
    let mut config = Map::new();
    config.insert("name".to_owned(), json!(parameter.name.value));
    let default = parameter.default.as_ref().map(|default| &default.value);
    put(&mut config, "default", default.map(value_json));
    put_text(
        &mut config,
        "category",
        parameter
            .category
            .as_deref()
            .filter(|text| !text.is_empty()),
    );
    put_text(
        &mut config,
        "description",
        parameter
            .description
            .as_deref()
            .filter(|text| !text.is_empty()),
    );
    let targets: Vec<&str> = parameter
        .targets
        .iter()
        .map(|target| target.text.as_str())
        .collect();
    config.insert("targets".to_owned(), json!(targets));
    let expression = match default {
        Some(list @ Value::List(_)) => {
            json!({"style": "single", "rules": {"value": value_json(list)}})
        }
        Some(value) => value_json(value),
        None => json!(""),
    };
    json!({"config": config, "expression": expression})
}

fn node_json(config: &Config, node: &Node, commit: &str) -> Result<Json, String> {
    let mut json = Map::new();
    json.insert("name".to_owned(), json!(node.name.value));
    if !node.actions.is_empty() {
        json.insert(
            "actions".to_owned(),
            node.actions.iter().map(items::action_json).collect(),
        );
    }
    let on_error = match node.on_error.value {
        OnError::StopAll => None,
        OnError::StopNext => Some("stop-next"),
        OnError::Continue => Some("continue"),
        OnError::Retry => Some("retry"),
    };
    put_text(&mut json, "on-error", on_error);
    let kind = match &node.kind {
        NodeKind::Execution { step, job } => {
            job_json(&mut json, config, step, job, commit)?;
            "execution"
        }
        NodeKind::Task {
            source: TaskSource::Step(step),
            job,
        } => {
            job_json(&mut json, config, step, job, commit)?;
            "task"
        }
        NodeKind::Task {
            source: TaskSource::Blueprint(name),
            job,
        } => {
            let task = config
                .task(name)
                .ok_or_else(|| format!("there is no task `{}`", name.value))?;
            job_json(&mut json, config, &task.step, job, commit)?;
            if let Some(Json::Object(template)) = json.get_mut("template") {
                task::add_task(template, task);
            }
            "task"
        }
        NodeKind::Deployment(deployment) => {
            deployment_json(&mut json, config, deployment, commit);
            "deployment"
        }
    };
    json.insert("type".to_owned(), json!(kind));
    Ok(Json::Object(json))
}

fn deployment_json(
    json: &mut Map<String, Json>,
    config: &Config,
    node: &DeploymentNode,
    commit: &str,
) {
    let named = |name: &str| node.endpoints.iter().any(|endpoint| endpoint.value == name);
    let configurations: Map<String, Json> = config
        .endpoints
        .iter()
        .filter(|endpoint| named(&endpoint.name))
        .map(|endpoint| {
            (
                endpoint.name.value.clone(),
                json!({"enabled": true, "files": {}}),
            )
        })
        .collect();
    json.insert("deployment".to_owned(), json!(node.deployment.value));
    json.insert("endpoints".to_owned(), items::texts_json(&node.endpoints));
    json.insert("aliases".to_owned(), items::texts_json(&node.aliases));
    json.insert("commit".to_owned(), json!(commit));
    json.insert(
        "endpoint_configurations".to_owned(),
        Json::Object(configurations),
    );
}

/// What executions and tasks have: the template, of a step of this file or of another commit.
fn job_json(
    json: &mut Map<String, Json>,
    config: &Config,
    step_name: &str,
    job: &Job,
    commit: &str,
) -> Result<(), String> {
    if *job.edge_merge_mode == EdgeMergeMode::Append {
        json.insert("edge-merge-mode".to_owned(), json!("append"));
    }
    let other_commit = job.commit.as_ref().map(|commit| commit.value.as_str());
    let mut template = Map::new();
    template.insert("commit".to_owned(), json!(other_commit.unwrap_or(commit)));
    template.insert("step".to_owned(), json!(step_name));
    if other_commit.is_none_or(|other| other == commit) {
        let step = config
            .step(step_name)
            .ok_or_else(|| format!("there is no step `{step_name}`"))?;
        add_step(&mut template, &merge(step, job.overrides.as_ref()));
    } else if let Some(overrides) = &job.overrides {
        items::add_override(&mut template, overrides);
    }
    json.insert("template".to_owned(), Json::Object(template));
    Ok(())
}

/// The fields of a step with its override merged in.
fn add_step(template: &mut Map<String, Json>, step: &Step) {
    let mut runtime_config = Map::new();
    let seconds = step
        .no_output_timeout
        .as_ref()
        .map(|timeout| number_of_seconds(timeout.value));
    put(&mut runtime_config, "no_output_timeout", seconds);
    put(
        &mut runtime_config,
        "autorestart",
        step.autorestart
            .as_ref()
            .map(|autorestart| json!(autorestart.value)),
    );
    put_text(template, "name", Some(&step.name));
    put_text(template, "image", Some(&step.image));
    template.insert(
        "command".to_owned(),
        items::command_json(&step.command, step.command_is_text),
    );
    let parameters = step.parameters.iter();
    let parameters: Map<String, Json> = parameters
        .map(|parameter| {
            (
                parameter.name.value.clone(),
                value_json(&parameter.default_value()),
            )
        })
        .collect();
    template.insert("parameters".to_owned(), Json::Object(parameters));
    let inputs: Map<String, Json> = step
        .inputs
        .iter()
        .map(|input| {
            (
                input.name.value.clone(),
                items::texts_json(input.default.as_deref().unwrap_or_default()),
            )
        })
        .collect();
    template.insert("inputs".to_owned(), Json::Object(inputs));
    items::put_list(
        template,
        "mounts",
        step.mounts.iter().map(items::mount_json).collect(),
    );
    let filled = |texts: &[crate::Spanned<String>]| -> Vec<Json> {
        texts
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| json!(text.value))
            .collect()
    };
    items::put_list(template, "cache-volumes", filled(&step.cache_volumes));
    items::put_list(
        template,
        "outputs",
        step.outputs.iter().map(items::output_json).collect(),
    );
    if !step.environment_variables.is_empty() {
        let variables: Map<String, Json> = step
            .environment_variables
            .iter()
            .map(|variable| {
                let default = variable
                    .default
                    .as_ref()
                    .map(|default| json!(default.value));
                (variable.name.value.clone(), default.unwrap_or(Json::Null))
            })
            .collect();
        template.insert("environment-variables".to_owned(), Json::Object(variables));
    }
    items::put_list(
        template,
        "environment-variable-groups",
        filled(&step.environment_variable_groups),
    );
    for (key, text) in [
        ("environment", &step.environment),
        ("runtime-config-preset", &step.runtime_config_preset),
        ("source-path", &step.source_path),
        ("stop-condition", &step.stop_condition),
        ("upload-store", &step.upload_store),
    ] {
        put_text(template, key, text.as_ref().map(|text| text.value.as_str()));
    }
    put_text(template, "description", step.description.as_deref());
    put_text(
        template,
        "icon",
        step.icon.as_deref().filter(|text| !text.is_empty()),
    );
    put_text(
        template,
        "category",
        step.category.as_deref().filter(|text| !text.is_empty()),
    );
    put(
        template,
        "time-limit",
        step.time_limit
            .as_ref()
            .map(|limit| number_of_seconds(limit.value)),
    );
    put(
        template,
        "resources",
        step.resources.as_ref().and_then(items::resources_json),
    );
    template.insert("runtime_config".to_owned(), Json::Object(runtime_config));
}
