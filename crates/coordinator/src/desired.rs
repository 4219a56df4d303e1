//! What a worker should run, read off the ledger: every live attempt that is assigned to it, and whether it should stop.

use std::collections::BTreeMap;

use contract::api::{State, Value};
use contract::link::{AssignedFile, AssignedInput, AssignedParameter, Assignment, DesiredAttempt};
use ledger::{Datum, Execution, Fence, InputFile, Ledger};

use crate::coordinator::Config;
use crate::session::Session;

/// Each attempt the worker should have, and whether it should stop.
pub(crate) fn wanted(ledger: &Ledger, worker: &str) -> BTreeMap<Fence, bool> {
    executions(ledger, worker).map(|(fence, execution)| (fence, execution.state() == State::Stopping)).collect()
}

/// The same in the words of the conversation; what the worker knows already is not said again.
pub(crate) fn attempts(ledger: &Ledger, session: &Session, config: &Config) -> Vec<DesiredAttempt> {
    executions(ledger, &session.worker)
        .map(|(fence, execution)| DesiredAttempt {
            fence: Some(fence.into()),
            assignment: (!session.knows(&fence)).then(|| assignment(ledger, execution, config)),
            stop: execution.state() == State::Stopping,
            stop_reason: execution.stop_reason.into(),
        })
        .collect()
}

fn executions<'a>(ledger: &'a Ledger, worker: &str) -> impl Iterator<Item = (Fence, &'a Execution)> {
    ledger.assigned(worker).filter_map(|fence| Some((fence, ledger.execution_by_id(&fence.execution_id)?)))
}

/// All a worker needs to know to run an execution.
fn assignment(ledger: &Ledger, execution: &Execution, config: &Config) -> Assignment {
    let template = execution.template().clone();
    let pipeline = ledger.pipeline(&execution.project, execution.pipeline);
    Assignment {
        project: execution.project.to_string(),
        execution_number: execution.number,
        step: template.step,
        image: template.image,
        commands: execution.commands().to_vec(),
        parameters: template.parameters.into_iter().filter_map(|parameter| given(parameter.name, parameter.value)).collect(),
        inputs: execution
            .inputs
            .iter()
            .map(|input| {
                let declared = template.inputs.iter().find(|declared| declared.name == input.name);
                AssignedInput {
                    name: input.name.clone(),
                    files: input.files.iter().map(|file| assigned_file(ledger, file)).collect(),
                    keep_directories: declared.map(|input| input.keep_directories.clone()).unwrap_or_default(),
                    file_name: declared.map(|input| input.file_name.clone()).unwrap_or_default(),
                    on_demand: declared.is_some_and(|input| input.on_demand),
                }
            })
            .collect(),
        environment_variables: template.environment_variables,
        source: execution.source().cloned(),
        source_locations: vec![config.address.clone()],
        time_limit_ms: template.time_limit_ms,
        no_output_timeout_ms: template.no_output_timeout_ms,
        stop_condition: template.stop_condition,
        pipeline_number: execution.pipeline,
        pipeline_id: pipeline.map(|pipeline| pipeline.pipeline_id.to_string()).unwrap_or_default(),
        node: execution.node.to_string(),
        project_id: ledger
            .project(&execution.project)
            .map(|project| project.project_id.to_string())
            .unwrap_or_default(),
        environment: template.environment,
        create_time_ms: execution.create_time_ms,
        stop_grace_ms: config.stop_grace_ms,
        title: execution.title.to_string(),
        pipeline_title: pipeline.map(|pipeline| pipeline.title.to_string()).unwrap_or_default(),
    }
}

/// A parameter that has a value; one without is left out of a program's configuration.
fn given(name: String, value: Option<Value>) -> Option<AssignedParameter> {
    let value = value.filter(|value| value.kind.is_some())?;
    Some(AssignedParameter { name, value: Some(value) })
}

fn assigned_file(ledger: &Ledger, file: &InputFile) -> AssignedFile {
    match file.datum_id.and_then(|id| ledger.datum(&id)) {
        None => AssignedFile { uri: file.uri.clone(), ..AssignedFile::default() },
        Some(datum) => AssignedFile {
            uri: file.uri.clone(),
            file_name: datum.file_name.clone(),
            digest: datum.digest.to_vec().into(),
            size_bytes: datum.size_bytes,
            locations: locations(ledger, datum),
            properties_json: datum.properties_json.clone(),
        },
    }
}

/// Where the bytes of a datum are: at the worker that stored them.
fn locations(ledger: &Ledger, datum: &Datum) -> Vec<String> {
    let worker = ledger.worker(&datum.worker);
    worker.map(|worker| worker.offer.address.clone()).into_iter().filter(|address| !address.is_empty()).collect()
}
