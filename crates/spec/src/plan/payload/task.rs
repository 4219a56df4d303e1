//! What a task blueprint adds to the template of its node.

use serde_json::{Map, Value as Json, json};

use crate::model::{Rules, Task};
use crate::plan::payload::items::{key_text, number_json, put, put_text, value_json};
use crate::span::Spanned;
use crate::value::{Number, Value};

pub(super) fn add_task(template: &mut Map<String, Json>, task: &Task) {
    let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| json!(text.value));
    let int =
        |int: &Option<Spanned<i128>>| int.as_ref().map(|int| number_json(Number::Int(int.value)));
    put_text(template, "type", Some(task.kind.word()));
    put(
        template,
        "maximum_queued_executions",
        int(&task.maximum_queued_executions),
    );
    put_text(
        template,
        "on_child_error",
        task.on_child_error.as_ref().map(|action| action.word()),
    );
    put(template, "stop_expression", text(&task.stop_condition));
    let reuse = task
        .reuse_children
        .as_ref()
        .is_some_and(|reuse| reuse.value);
    template.insert("allow_reuse".to_owned(), json!(reuse));
    let mut configuration = Map::new();
    put(&mut configuration, "engine", text(&task.engine));
    put(
        &mut configuration,
        "execution_count",
        int(&task.execution_count),
    );
    put(
        &mut configuration,
        "execution_batch_size",
        int(&task.execution_batch_size),
    );
    put(
        &mut configuration,
        "optimization_target_metric",
        text(&task.optimization_target_metric),
    );
    let target = task.optimization_target_value.as_ref();
    put(
        &mut configuration,
        "optimization_target_value",
        target.map(|target| number_json(target.value)),
    );
    if !configuration.is_empty() {
        template.insert("configuration".to_owned(), Json::Object(configuration));
    }
    let variants = variants_json(task);
    if variants.is_empty() {
        return;
    }
    let parameters = template.entry("parameters").or_insert_with(|| json!({}));
    if let Json::Object(parameters) = parameters {
        parameters.extend(variants);
    }
}

/// Variant parameters, and the columns of the parameter sets.
fn variants_json(task: &Task) -> Map<String, Json> {
    let mut variants: Map<String, Json> = task
        .parameters
        .iter()
        .map(|parameter| {
            let json =
                json!({"style": parameter.style.word(), "rules": rules_json(&parameter.rules)});
            (parameter.name.value.clone(), json)
        })
        .collect();
    let mut columns: Vec<(&Value, Vec<Json>)> = Vec::new();
    for (name, value) in task.parameter_sets.iter().flat_map(|set| &set.value) {
        match columns.iter_mut().find(|(column, _)| column.same(name)) {
            Some((_, items)) => items.push(value_json(value)),
            None => columns.push((name, vec![value_json(value)])),
        }
    }
    for (name, items) in columns {
        variants.insert(
            key_text(name),
            json!({"style": "multiple", "rules": {"items": items}}),
        );
    }
    variants
}

fn rules_json(rules: &Rules) -> Json {
    let mut json = Map::new();
    for (key, number) in [
        ("base", &rules.base),
        ("count", &rules.count),
        ("end", &rules.end),
        ("max", &rules.max),
        ("min", &rules.min),
        ("seed", &rules.seed),
        ("start", &rules.start),
        ("step", &rules.step),
        ("value", &rules.value),
    ] {
        put(
            &mut json,
            key,
            number.as_ref().map(|number| number_json(number.value)),
        );
    }
    put_text(
        &mut json,
        "distribution",
        rules.distribution.as_ref().map(|text| text.value.as_str()),
    );
    put(
        &mut json,
        "integerify",
        rules.integerify.as_ref().map(|bool| json!(bool.value)),
    );
    put(
        &mut json,
        "numberify",
        rules.numberify.as_ref().map(|bool| json!(bool.value)),
    );
    let items = rules.items.as_ref();
    put(
        &mut json,
        "items",
        items.map(|items| items.iter().map(|item| value_json(&item.value)).collect()),
    );
    Json::Object(json)
}
