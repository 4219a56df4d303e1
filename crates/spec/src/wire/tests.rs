//! What is written comes back.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use contract::{api, ledger};
use proptest::prelude::*;

use super::WireError;
use crate::model::{KeepDirectories, Multiple, OnError, Parameter, ParameterKind, SocketKind};
use crate::plan::{
    DeviceNeed, Needs, Origin, Plan, PlanAction, PlanEdge, PlanNode, StepTemplate, TemplateInput,
    TemplateParameter,
};
use crate::span::{Span, Spanned};
use crate::value::{Number, Value};

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i128>().prop_map(Value::Int),
        any::<i64>().prop_map(|int| Value::Int(int.into())),
        // Not a number is no equal of itself; all other floats are in.
        any::<f64>()
            .prop_filter("a number", |float| !float.is_nan())
            .prop_map(Value::Float),
        ".*".prop_map(Value::Str),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}".prop_map(Value::Date),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Span::default())
}

fn origins() -> impl Strategy<Value = Origin> {
    prop::sample::select(vec![
        Origin::Nowhere,
        Origin::Default,
        Origin::Override,
        Origin::PipelineParameter,
        Origin::Edge,
        Origin::Launch,
    ])
}

fn parameters() -> impl Strategy<Value = TemplateParameter> {
    let kinds = vec![
        ParameterKind::Flag,
        ParameterKind::Float,
        ParameterKind::Integer,
        ParameterKind::String,
    ];
    let multiples = vec![None, Some(Multiple::Repeat), Some(Multiple::Separate)];
    let text = || prop::option::of("[a-z{}=-]{0,8}".prop_map(spanned));
    let bound = || {
        let number = prop_oneof![
            (-1000_i128..1000).prop_map(Number::Int),
            (-1000..1000_i32).prop_map(|half| Number::Float(f64::from(half) + 0.5)),
        ];
        prop::option::of(number.prop_map(spanned))
    };
    let definition = (
        "[a-z ]{1,8}",
        prop::sample::select(kinds),
        any::<bool>(),
        (text(), text(), text()),
        prop::sample::select(multiples),
        ",|; ",
        prop::option::of(prop::collection::vec(values(), 1..3)),
        (bound(), bound()),
    );
    let definition = definition.prop_map(
        |(name, kind, optional, pass, multiple, separator, choices, bounds)| Parameter {
            name: spanned(name),
            kind,
            optional,
            pass_as: pass.0,
            pass_true_as: pass.1,
            pass_false_as: pass.2,
            multiple,
            multiple_separator: separator,
            choices,
            min: bounds.0,
            max: bounds.1,
            ..Parameter::default()
        },
    );
    (definition, values(), origins()).prop_map(|(definition, value, origin)| TemplateParameter {
        definition,
        value,
        origin,
    })
}

fn inputs() -> impl Strategy<Value = TemplateInput> {
    let keeps = vec![
        KeepDirectories::None,
        KeepDirectories::Full,
        KeepDirectories::Suffix,
    ];
    let parts = (
        "[a-z]{1,8}",
        prop::collection::vec(".*", 0..3),
        origins(),
        any::<bool>(),
        prop::sample::select(keeps),
        prop::option::of(".+"),
        any::<bool>(),
    );
    parts.prop_map(
        |(name, uris, origin, optional, keep_directories, file_name, on_demand)| TemplateInput {
            name,
            uris,
            origin,
            optional,
            keep_directories,
            file_name,
            on_demand,
        },
    )
}

fn templates() -> impl Strategy<Value = StepTemplate> {
    let limit = || prop::option::of((1_u64..1 << 40).prop_map(Duration::from_millis));
    let parts = (
        ("[a-z]{1,8}", "[a-z]{1,8}", "[a-z]{0,8}"),
        prop::collection::vec(".*", 0..3),
        prop::collection::vec(parameters(), 0..3),
        prop::collection::vec(inputs(), 0..3),
        prop::collection::btree_map("[A-Z]{1,4}", ".*", 0..3),
        prop::collection::vec("[A-Z]{1,4}", 0..2),
        (limit(), limit()),
        (prop::option::of(".+"), prop::option::of(".+"), needs()),
    );
    parts.prop_map(
        |(names, commands, parameters, inputs, variables, required, limits, texts)| StepTemplate {
            step: names.0,
            image: names.1,
            environment: names.2,
            commands,
            parameters,
            inputs,
            environment_variables: variables,
            required_environment_variables: required,
            time_limit: limits.0,
            no_output_timeout: limits.1,
            stop_condition: texts.0,
            source_path: texts.1,
            mounts: Vec::new(),
            needs: texts.2,
        },
    )
}

fn needs() -> impl Strategy<Value = Needs> {
    let device =
        ("[a-z./]{1,12}", 1_u32..9, any::<u64>()).prop_map(|(kind, count, memory_bytes)| {
            DeviceNeed {
                kind,
                count,
                memory_bytes,
            }
        });
    let parts = (any::<[u64; 4]>(), prop::collection::vec(device, 0..3));
    parts.prop_map(|(numbers, devices)| Needs {
        cpu_millis: numbers[0],
        cpu_limit_millis: numbers[1],
        memory_bytes: numbers[2],
        memory_limit_bytes: numbers[3],
        devices,
    })
}

fn plans() -> impl Strategy<Value = Plan> {
    let words = || prop::collection::vec("[a-z-]{1,8}", 0..3);
    let actions = (words(), words(), words()).prop_map(|(when, conditions, then)| PlanAction {
        when,
        conditions,
        then,
    });
    let on_errors = vec![
        OnError::StopAll,
        OnError::StopNext,
        OnError::Continue,
        OnError::Retry,
    ];
    let nodes = (
        "[a-z]{1,8}",
        templates(),
        prop::sample::select(on_errors),
        any::<bool>(),
        prop::collection::vec(actions, 0..2),
    );
    let nodes = nodes.prop_map(
        |(name, template, on_error, edge_append, actions)| PlanNode {
            name,
            template,
            on_error,
            edge_append,
            actions,
        },
    );
    let sockets = || {
        (
            "[a-z]{1,4}",
            prop::sample::select(SocketKind::ALL.to_vec()),
            ".*",
        )
    };
    let edges = (sockets(), sockets()).prop_map(|(source, target)| PlanEdge {
        source_node: source.0,
        source_kind: source.1,
        source_key: source.2,
        target_node: target.0,
        target_kind: target.1,
        target_key: target.2,
    });
    let parts = (
        ".*",
        prop::collection::vec(nodes, 0..3),
        prop::collection::vec(edges, 0..3),
        prop::collection::vec((".*", values()), 0..3),
    );
    parts.prop_map(|(name, nodes, edges, parameters)| Plan {
        name,
        nodes,
        edges,
        parameters,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn plans_come_back(plan in plans()) {
        let message = ledger::Plan::from(&plan);
        prop_assert_eq!(Plan::try_from(&message), Ok(plan));
    }

    #[test]
    fn values_come_back(value in values()) {
        prop_assert_eq!(Value::try_from(&api::Value::from(&value)), Ok(value));
    }
}

#[test]
fn what_is_not_known_is_refused() {
    let edge = api::Edge {
        source_type: "outputs".to_owned(),
        ..api::Edge::default()
    };
    let unknown = WireError::Unknown {
        field: "edge.source_type",
        value: "outputs".to_owned(),
    };
    assert_eq!(PlanEdge::try_from(&edge), Err(unknown));
    assert_eq!(
        PlanNode::try_from(&ledger::PlanNode::default()),
        Err(WireError::Missing("node.template"))
    );
    let node = ledger::PlanNode {
        template: Some(ledger::StepTemplate::default()),
        on_error: 99,
        ..ledger::PlanNode::default()
    };
    assert!(PlanNode::try_from(&node).is_err());
    let parameter = ledger::TemplateParameter {
        r#type: "number".to_owned(),
        ..ledger::TemplateParameter::default()
    };
    assert!(TemplateParameter::try_from(&parameter).is_err());
    let input = ledger::TemplateInput {
        origin: 77,
        ..ledger::TemplateInput::default()
    };
    assert!(TemplateInput::try_from(&input).is_err());
}

#[test]
fn a_short_limit_stays_a_limit() {
    let template = StepTemplate {
        time_limit: Some(Duration::from_micros(1)),
        ..StepTemplate::default()
    };
    let message = ledger::StepTemplate::from(&template);
    assert_eq!(message.time_limit_ms, 1);
}
