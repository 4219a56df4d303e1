//! What a worker should run, read off the ledger: every live attempt that is assigned to it, and whether it should stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::api::value::Kind;
use contract::api::{State, Value, ValueList};
use contract::ledger::TemplateParameter;
use contract::link::{
    AssignedFile, AssignedInput, AssignedParameter, Assignment, DesiredAttempt, Device,
};
use ledger::{Digest, Execution, Fence, InputFile, Ledger, Worker};

use crate::coordinator::Config;
use crate::session::Session;
use crate::standing::Standing;

/// Each attempt the worker should have, and whether it should stop.
pub(crate) fn wanted(ledger: &Ledger, worker: &str) -> BTreeMap<Fence, bool> {
    executions(ledger, worker)
        .map(|(fence, execution)| (fence, execution.state() == State::Stopping))
        .collect()
}

/// The same in the words of the conversation; what the worker knows already is not said again.
pub(crate) fn attempts(
    ledger: &Ledger,
    session: &Session,
    config: &Config,
    standing: &Standing,
) -> Vec<DesiredAttempt> {
    executions(ledger, &session.worker)
        .map(|(fence, execution)| DesiredAttempt {
            fence: Some(fence.into()),
            assignment: (!session.knows(&fence))
                .then(|| assignment(ledger, execution, config, standing)),
            stop: execution.state() == State::Stopping,
            stop_reason: execution.stop_reason.into(),
        })
        .collect()
}

fn executions<'a>(
    ledger: &'a Ledger,
    worker: &str,
) -> impl Iterator<Item = (Fence, &'a Execution)> {
    ledger
        .assigned(worker)
        .filter_map(|fence| Some((fence, ledger.execution_by_id(&fence.execution_id)?)))
}

/// All a worker needs to know to run an execution.
fn assignment(
    ledger: &Ledger,
    execution: &Execution,
    config: &Config,
    standing: &Standing,
) -> Assignment {
    let template = execution.template().clone();
    let needs = template.needs.unwrap_or_default();
    let pipeline = ledger.pipeline(&execution.project, execution.pipeline);
    Assignment {
        project: execution.project.to_string(),
        execution_number: execution.number,
        step: template.step,
        image: template.image,
        commands: execution.commands().to_vec(),
        parameters: template.parameters.into_iter().filter_map(given).collect(),
        inputs: execution
            .inputs
            .iter()
            .map(|input| {
                let declared = template
                    .inputs
                    .iter()
                    .find(|declared| declared.name == input.name);
                AssignedInput {
                    name: input.name.clone(),
                    files: input
                        .files
                        .iter()
                        .map(|file| assigned_file(ledger, file))
                        .collect(),
                    keep_directories: declared
                        .map(|input| input.keep_directories.clone())
                        .unwrap_or_default(),
                    file_name: declared
                        .map(|input| input.file_name.clone())
                        .unwrap_or_default(),
                    on_demand: declared.is_some_and(|input| input.on_demand),
                }
            })
            .collect(),
        environment_variables: template.environment_variables,
        mounts: template.mounts,
        source: execution.source().cloned(),
        // A majority had the source before the execution was accepted; the others fetch it.
        source_locations: standing.addresses(),
        time_limit_ms: template.time_limit_ms,
        no_output_timeout_ms: template.no_output_timeout_ms,
        stop_condition: template.stop_condition,
        pipeline_number: execution.pipeline,
        pipeline_id: pipeline
            .map(|pipeline| pipeline.pipeline_id.to_string())
            .unwrap_or_default(),
        node: execution.node.to_string(),
        project_id: ledger
            .project(&execution.project)
            .map(|project| project.project_id.to_string())
            .unwrap_or_default(),
        environment: template.environment,
        create_time_ms: execution.create_time_ms,
        stop_grace_ms: config.stop_grace_ms,
        title: execution.title.to_string(),
        pipeline_title: pipeline
            .map(|pipeline| pipeline.title.to_string())
            .unwrap_or_default(),
        devices: devices(ledger, execution),
        cpu_limit_millis: needs.cpu_limit_millis,
        memory_limit_bytes: needs.memory_limit_bytes,
    }
}

/// The devices of an execution's live attempt, as its worker offers them.
fn devices(ledger: &Ledger, execution: &Execution) -> Vec<Device> {
    let Some(attempt) = execution.live_attempt() else {
        return Vec::new();
    };
    let offer = ledger.worker(&attempt.worker).map(|worker| &worker.offer);
    let has = |id: &Arc<str>| {
        let mut offered = offer.iter().flat_map(|offer| &offer.devices);
        let found = offered.find(|device| *device.device_id == **id);
        found.cloned().unwrap_or_else(|| Device {
            device_id: id.to_string(),
            ..Device::default()
        })
    };
    attempt.device_ids.iter().map(has).collect()
}

/// A parameter that has a value; one without is left out of a program's configuration.
///
/// YAML 1.1 takes `1e-3` for text, and as text it is put into commands; a program that asks for a number finds one.
fn given(parameter: TemplateParameter) -> Option<AssignedParameter> {
    let kind = parameter.value?.kind?;
    let value = Value {
        kind: Some(typed(&parameter.r#type, kind)),
    };
    Some(AssignedParameter {
        name: parameter.name,
        value: Some(value),
    })
}

/// The value as its type says; as it is where it does not fit.
fn typed(r#type: &str, kind: Kind) -> Kind {
    match (r#type, kind) {
        ("integer", Kind::Text(text)) => {
            match spec::python::number::parse_int(&text).map(i64::try_from) {
                Some(Ok(integer)) => Kind::Integer(integer),
                _ => Kind::Text(text),
            }
        }
        ("float", Kind::Text(text)) => {
            spec::python::number::parse_float(&text).map_or(Kind::Text(text), Kind::Number)
        }
        (_, Kind::List(list)) => Kind::List(ValueList {
            items: list
                .items
                .into_iter()
                .map(|item| Value {
                    kind: item.kind.map(|kind| typed(r#type, kind)),
                })
                .collect(),
        }),
        (_, kind) => kind,
    }
}

fn assigned_file(ledger: &Ledger, file: &InputFile) -> AssignedFile {
    match file.datum_id.and_then(|id| ledger.datum(&id)) {
        None => AssignedFile {
            uri: file.uri.clone(),
            ..AssignedFile::default()
        },
        Some(datum) => AssignedFile {
            uri: file.uri.clone(),
            file_name: datum.file_name.clone(),
            digest: datum.digest.to_vec().into(),
            size_bytes: datum.size_bytes,
            locations: locations(ledger, &datum.digest),
            properties_json: datum.properties_json.clone(),
        },
    }
}

/// Where the bytes of a datum are: at the workers that have them, those first that stay.
pub(crate) fn locations(ledger: &Ledger, digest: &Digest) -> Vec<String> {
    let holders = ledger.holders(digest);
    let holders = holders.filter(|worker| !worker.offer.address.is_empty());
    let mut holders: Vec<&Worker> = holders.collect();
    holders.sort_by_key(|worker| (worker.lost, !worker.stays()));
    let addresses = holders.iter();
    addresses
        .map(|worker| worker.offer.address.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_a_number_is_a_number() {
        let text = |text: &str| Kind::Text(text.to_owned());
        let list = |items: &[Kind]| {
            let items = items.iter().map(|item| Value {
                kind: Some(item.clone()),
            });
            Kind::List(ValueList {
                items: items.collect(),
            })
        };
        for (r#type, given, expected) in [
            ("float", text("1e-3"), Kind::Number(0.001)),
            ("float", text("fast"), text("fast")),
            ("float", Kind::Integer(1), Kind::Integer(1)),
            ("integer", text("-12"), Kind::Integer(-12)),
            (
                "integer",
                text("99999999999999999999"),
                text("99999999999999999999"),
            ),
            ("string", text("1e-3"), text("1e-3")),
            ("flag", text("1"), text("1")),
            (
                "float",
                list(&[text("1e5"), Kind::Number(0.5)]),
                list(&[Kind::Number(1e5), Kind::Number(0.5)]),
            ),
        ] {
            assert_eq!(typed(r#type, given.clone()), expected, "{type} {given:?}", type = r#type);
        }
    }
}
