//! Plans in the messages of the log.

use contract::{api, ledger as pb};
use ledger::to_wire;
use spec::Number;
use spec::model::{KeepDirectories, Multiple, OnError, ParameterKind};
use spec::plan::{Origin, Plan, PlanAction, PlanEdge, PlanNode, StepTemplate, TemplateInput, TemplateParameter};

/// An expanded pipeline.
pub(crate) fn plan(plan: &Plan) -> pb::Plan {
    pb::Plan {
        name: plan.name.clone(),
        nodes: plan.nodes.iter().map(node).collect(),
        edges: plan.edges.iter().map(edge).collect(),
        parameters: plan
            .parameters
            .iter()
            .map(|(name, value)| api::ParameterAssignment { name: name.clone(), value: Some(to_wire(value)), append: false })
            .collect(),
    }
}

fn node(node: &PlanNode) -> pb::PlanNode {
    let on_error = match node.on_error {
        OnError::StopAll => pb::OnError::StopAll,
        OnError::StopNext => pb::OnError::StopNext,
        OnError::Continue => pb::OnError::Continue,
        OnError::Retry => pb::OnError::Retry,
    };
    pb::PlanNode {
        name: node.name.clone(),
        template: Some(template(&node.template)),
        on_error: on_error.into(),
        edge_append: node.edge_append,
        actions: node.actions.iter().map(action).collect(),
    }
}

fn action(action: &PlanAction) -> pb::PlanAction {
    pb::PlanAction { when: action.when.clone(), conditions: action.conditions.clone(), then: action.then.clone() }
}

fn edge(edge: &PlanEdge) -> api::Edge {
    api::Edge {
        source_node: edge.source_node.clone(),
        source_type: edge.source_kind.word().to_owned(),
        source_key: edge.source_key.clone(),
        target_node: edge.target_node.clone(),
        target_type: edge.target_kind.word().to_owned(),
        target_key: edge.target_key.clone(),
    }
}

/// A step with everything fixed but what edges bring.
pub(crate) fn template(template: &StepTemplate) -> pb::StepTemplate {
    let limit_ms = |limit: Option<std::time::Duration>| limit.map_or(0, |limit| limit.as_millis() as u64);
    pb::StepTemplate {
        step: template.step.clone(),
        image: template.image.clone(),
        commands: template.commands.clone(),
        parameters: template.parameters.iter().map(parameter).collect(),
        inputs: template.inputs.iter().map(input).collect(),
        environment_variables: template.environment_variables.clone(),
        environment: template.environment.clone(),
        time_limit_ms: limit_ms(template.time_limit),
        no_output_timeout_ms: limit_ms(template.no_output_timeout),
        stop_condition: template.stop_condition.clone().unwrap_or_default(),
        source_path: template.source_path.clone().unwrap_or_default(),
        required_environment_variables: template.required_environment_variables.clone(),
    }
}

fn parameter(parameter: &TemplateParameter) -> pb::TemplateParameter {
    let definition = &parameter.definition;
    let kind = match definition.kind {
        ParameterKind::Flag => "flag",
        ParameterKind::Float => "float",
        ParameterKind::Integer => "integer",
        ParameterKind::String => "string",
    };
    let multiple = match definition.multiple {
        None => "none",
        Some(Multiple::Repeat) => "repeat",
        Some(Multiple::Separate) => "separate",
    };
    let number = |number: Number| match number {
        Number::Int(integer) => integer as f64,
        Number::Float(float) => float,
    };
    let text = |text: &Option<spec::Spanned<String>>| text.as_ref().map(|text| text.value.clone());
    pb::TemplateParameter {
        name: definition.name.value.clone(),
        r#type: kind.to_owned(),
        optional: definition.optional,
        value: Some(to_wire(&parameter.value)),
        origin: origin(parameter.origin),
        pass_as: text(&definition.pass_as),
        pass_true_as: text(&definition.pass_true_as),
        pass_false_as: text(&definition.pass_false_as),
        multiple: multiple.to_owned(),
        multiple_separator: definition.multiple_separator.clone(),
        choices: definition.choices.iter().flatten().map(to_wire).collect(),
        minimum: definition.min.as_ref().map(|minimum| number(minimum.value)),
        maximum: definition.max.as_ref().map(|maximum| number(maximum.value)),
    }
}

fn input(input: &TemplateInput) -> pb::TemplateInput {
    let keep_directories = match input.keep_directories {
        KeepDirectories::None => "none",
        KeepDirectories::Full => "full",
        KeepDirectories::Suffix => "suffix",
    };
    pb::TemplateInput {
        name: input.name.clone(),
        uris: input.uris.clone(),
        origin: origin(input.origin),
        optional: input.optional,
        keep_directories: keep_directories.to_owned(),
        file_name: input.file_name.clone().unwrap_or_default(),
        on_demand: input.on_demand,
    }
}

fn origin(origin: Origin) -> i32 {
    let origin = match origin {
        Origin::Nowhere => api::Origin::Unspecified,
        Origin::Default => api::Origin::Default,
        Origin::Override => api::Origin::Override,
        Origin::PipelineParameter => api::Origin::PipelineParameter,
        Origin::Edge => api::Origin::Edge,
        Origin::Launch => api::Origin::Launch,
    };
    origin.into()
}
