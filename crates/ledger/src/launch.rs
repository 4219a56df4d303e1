//! From a step and what edges bring to an execution that waits for a worker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use contract::api::{EndReason, State};
use contract::{api, ledger as pb};
use spec::plan::StepTemplate;
use uuid::Uuid;

use crate::ids;
use crate::ledger::Ledger;
use crate::outcome::Refused;
use crate::records::{Execution, Input, InputFile, Recipe};

/// What a step is run with of its own.
pub(crate) struct Own<'a> {
    pub project: &'a str,
    pub template: Arc<pb::StepTemplate>,
    pub source: Option<api::Source>,
}

/// Files that edges bring, by the name of the input. An input that edges enter is here even if they bring it nothing.
pub(crate) type Brought = BTreeMap<String, Vec<InputFile>>;

/// A step that can run: commands built, inputs resolved.
pub(crate) struct Ready {
    pub recipe: Recipe,
    pub inputs: Vec<Input>,
}

/// What an execution is beside what it runs.
pub(crate) struct Labels {
    pub pipeline: i64,
    pub node: Arc<str>,
    pub title: Arc<str>,
    pub annotations: Option<Arc<BTreeMap<String, String>>>,
    pub priority: i32,
}

/// Why a step cannot run.
#[derive(Debug)]
pub(crate) enum CannotRun {
    /// An address names a datum that does not exist in the project.
    UnknownDatum { input: String, uri: String },
    /// Edges brought nothing that the step needs.
    EdgeEmpty(String),
    /// An input that must have files has none.
    InputEmpty(String),
    /// Its commands cannot be built, or a variable has no value.
    Unfit(String),
}

impl CannotRun {
    /// The reason with which its node ends.
    pub(crate) fn reason(&self) -> EndReason {
        match self {
            Self::EdgeEmpty(_) => EndReason::EdgeEmpty,
            Self::UnknownDatum { .. } | Self::InputEmpty(_) => EndReason::InputFailed,
            Self::Unfit(_) => EndReason::StartFailed,
        }
    }
}

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownDatum { input, uri } => {
                write!(
                    f,
                    "input {input} names {uri}, which does not exist in the project"
                )
            }
            Self::EdgeEmpty(message) | Self::InputEmpty(message) | Self::Unfit(message) => {
                f.write_str(message)
            }
        }
    }
}

impl From<CannotRun> for Refused {
    fn from(reason: CannotRun) -> Self {
        match reason {
            CannotRun::UnknownDatum { input, uri } => Self::UnknownDatum { input, uri },
            other => Self::CannotLaunch {
                message: other.to_string(),
            },
        }
    }
}

/// Refuses a template with an address of a datum that does not exist; addresses with placeholders are not known yet.
pub(crate) fn check_data(
    ledger: &Ledger,
    project: &str,
    template: &pb::StepTemplate,
) -> Result<(), CannotRun> {
    for input in &template.inputs {
        for uri in input.uris.iter().filter(|uri| !uri.contains('{')) {
            file(ledger, project, &input.name, uri.clone(), input.origin)?;
        }
    }
    Ok(())
}

/// Builds the commands and resolves the inputs. Changes nothing.
pub(crate) fn prepare(
    ledger: &Ledger,
    own: Own<'_>,
    mut brought: Brought,
    append: bool,
) -> Result<Ready, CannotRun> {
    let template = own.template;
    for name in &template.required_environment_variables {
        if !template.environment_variables.contains_key(name) {
            return Err(CannotRun::Unfit(format!(
                "environment variable {name} is required and has no value"
            )));
        }
    }
    let built =
        StepTemplate::try_from(&*template).map_err(|error| CannotRun::Unfit(error.to_string()))?;
    let commands = built
        .build_commands()
        .map_err(|error| CannotRun::Unfit(error.to_string()))?;
    let mut inputs = Vec::with_capacity(template.inputs.len());
    for (input, known) in template.inputs.iter().zip(&built.inputs) {
        let brought = brought.remove(&input.name);
        let by_edges = brought.is_some();
        let mut files = Vec::new();
        if !by_edges || append {
            let uris = built.build_uris(known);
            for uri in
                uris.map_err(|error| CannotRun::Unfit(format!("input {}: {error}", input.name)))?
            {
                files.push(file(ledger, own.project, &input.name, uri, input.origin)?);
            }
        }
        files.extend(brought.unwrap_or_default());
        if files.is_empty() && !input.optional {
            return Err(no_files(&input.name, by_edges));
        }
        inputs.push(Input {
            name: input.name.clone(),
            files,
        });
    }
    let recipe = Recipe::new(template, commands.lines, own.source);
    Ok(Ready { recipe, inputs })
}

fn no_files(input: &str, by_edges: bool) -> CannotRun {
    match by_edges {
        true => CannotRun::EdgeEmpty(format!(
            "input {input} is required, and its edges brought no file"
        )),
        false => CannotRun::InputEmpty(format!("input {input} is required and has no file")),
    }
}

/// One file of an input by its address. What the ledger knows of a datum goes with it.
fn file(
    ledger: &Ledger,
    project: &str,
    input: &str,
    uri: String,
    origin: i32,
) -> Result<InputFile, CannotRun> {
    let Some(name) = uri.strip_prefix("datum://") else {
        return Ok(InputFile {
            uri,
            origin,
            ..InputFile::default()
        });
    };
    let datum = Uuid::parse_str(name).ok().and_then(|id| ledger.datum(&id));
    match datum.filter(|datum| *datum.project == *project) {
        Some(datum) => Ok(InputFile {
            uri: datum.uri(),
            datum_id: Some(datum.datum_id),
            origin,
            file_name: String::new(),
            digest: Some(datum.digest),
            size_bytes: datum.size_bytes,
        }),
        None => Err(CannotRun::UnknownDatum {
            input: input.to_owned(),
            uri,
        }),
    }
}

/// Creates the execution of a project that exists; answers its number.
pub(crate) fn create(ledger: &mut Ledger, project: &Arc<str>, ready: Ready, labels: Labels) -> i64 {
    let number = ledger
        .project(project)
        .map_or(0, |project| project.execution_count())
        + 1;
    let mut execution = Execution {
        project: project.clone(),
        number,
        execution_id: ledger.derive(ids::Kind::Execution),
        recipe: ledger.recipes.share(ready.recipe),
        inputs: ready.inputs.into(),
        pipeline: labels.pipeline,
        node: labels.node,
        state: State::Created,
        end_reason: EndReason::Unspecified,
        message: String::new(),
        create_time_ms: ledger.time_ms,
        end_time_ms: 0,
        attempts: Vec::new(),
        outputs: Arc::default(),
        metadata_json: Arc::default(),
        identity: None,
        exit_code: None,
        title: labels.title,
        annotations: labels.annotations,
        revision: ledger.revision,
        stop_reason: EndReason::Unspecified,
        create_index: ledger.revision,
        priority: labels.priority,
    };
    // Everything it needs is there, or it would not exist.
    execution.enter(State::Queued);
    ledger.insert_execution(execution);
    number
}
