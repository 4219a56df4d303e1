//! `shoal pipeline run` and `shoal execution run`: checked here, packed, created, watched.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use client::BlobSource;
use contract::api;
use spec::model::{Config, Node, NodeKind, Step, TaskSource};
use spec::nearest::nearest;
use spec::plan::launch::find_name;

use super::{Context, config, watch};
use crate::args::Launch;
use crate::connect::Connection;
use crate::launch::{self, Given};
use crate::print::units;
use crate::{Exit, Failure, json, place, source};

/// A fresh id for a request; a retry of the same request uses the same one.
pub(super) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The name that is meant: the one typed, or the only one that begins with it, in any case.
pub(super) fn pick(what: &'static str, typed: &str, names: &[&str]) -> Result<String, Failure> {
    match find_name(what, typed, names.iter().copied()) {
        Ok(name) => Ok(name.to_owned()),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}

/// Runs a pipeline.
pub(super) async fn pipeline(
    context: &Context,
    name: &str,
    launch: &Launch,
    values: &[String],
) -> Result<Exit, Failure> {
    let loaded = config::load(context, &launch.config)?;
    let names: Vec<&str> = loaded.config.pipelines.iter().map(|pipeline| pipeline.name.value.as_str()).collect();
    let blueprint = pick("pipeline", name, &names)?;
    let sorted = Sorted::of(context, launch, values, &Names::of_pipeline(&loaded.config, &blueprint))?;
    let request = api::CreatePipelineRequest {
        parent: context.parent(),
        request_id: request_id(),
        config: loaded.bytes.clone().into(),
        config_name: config::shown(context, &loaded.path),
        blueprint,
        parameters: sorted.parameters,
        inputs: sorted.inputs,
        source: None,
        title: launch.title.clone().unwrap_or_default(),
        annotations: BTreeMap::new(),
        environment: launch.environment.clone().unwrap_or_default(),
        validate_only: launch.dry_run,
    };
    let connection = context.connect();
    let result = create_pipeline(context, &connection, launch, &loaded.path, request).await;
    connection.close().await;
    result
}

async fn create_pipeline(
    context: &Context,
    connection: &Connection,
    launch: &Launch,
    config: &Path,
    mut request: api::CreatePipelineRequest,
) -> Result<Exit, Failure> {
    if !launch.dry_run {
        prepare(context, connection, launch)?;
        request.source = Some(upload(context, connection, config).await?);
    }
    let answer = connection.client.create_pipeline(request).await?;
    answer.warnings.iter().for_each(|warning| context.note(&format!("warning: {warning}")));
    context.note_resumed(connection).await;
    let pipeline = answer.pipeline.unwrap_or_default();
    if launch.dry_run {
        context.print(|| serde_json::json!({"valid": true}), || "it could run\n".to_owned())?;
        return Ok(Exit::Done);
    }
    if launch.detach {
        let number = json::number(&pipeline.name);
        context.print(
            || json::pipeline(&pipeline),
            || format!("pipeline #{number} was accepted; `shoal pipeline watch {number}` follows it\n"),
        )?;
        return Ok(Exit::Done);
    }
    watch::pipeline(context, connection, &pipeline.name).await
}

/// Runs one step.
pub(super) async fn execution(
    context: &Context,
    step: &str,
    launch: &Launch,
    environment_variables: &[String],
    values: &[String],
) -> Result<Exit, Failure> {
    let loaded = config::load(context, &launch.config)?;
    let names: Vec<&str> = loaded.config.steps.iter().map(|step| step.name.value.as_str()).collect();
    let step = pick("step", step, &names)?;
    let sorted = Sorted::of(context, launch, values, &Names::of_step(&loaded.config, &step))?;
    let variables = environment_variables.iter().map(|text| launch::assignment(text));
    let request = api::CreateExecutionRequest {
        parent: context.parent(),
        request_id: request_id(),
        config: loaded.bytes.clone().into(),
        config_name: config::shown(context, &loaded.path),
        step,
        parameters: sorted.parameters,
        inputs: sorted.inputs,
        source: None,
        environment_variables: variables
            .map(|variable| variable.map(|given| (given.name, given.value)))
            .collect::<Result<_, _>>()?,
        environment: launch.environment.clone().unwrap_or_default(),
        title: launch.title.clone().unwrap_or_default(),
        annotations: BTreeMap::new(),
        validate_only: launch.dry_run,
    };
    let connection = context.connect();
    let result = create_execution(context, &connection, launch, &loaded.path, request).await;
    connection.close().await;
    result
}

async fn create_execution(
    context: &Context,
    connection: &Connection,
    launch: &Launch,
    config: &Path,
    mut request: api::CreateExecutionRequest,
) -> Result<Exit, Failure> {
    if !launch.dry_run {
        prepare(context, connection, launch)?;
        request.source = Some(upload(context, connection, config).await?);
    }
    let answer = connection.client.create_execution(request).await?;
    answer.warnings.iter().for_each(|warning| context.note(&format!("warning: {warning}")));
    context.note_resumed(connection).await;
    let execution = answer.execution.unwrap_or_default();
    if launch.dry_run {
        context.print(|| serde_json::json!({"valid": true}), || "it could run\n".to_owned())?;
        return Ok(Exit::Done);
    }
    if launch.detach {
        let number = json::number(&execution.name);
        context.print(
            || json::execution(&execution),
            || format!("execution #{number} was accepted; `shoal execution watch {number}` follows it\n"),
        )?;
        return Ok(Exit::Done);
    }
    watch::execution(context, connection, &execution.name).await
}

/// Work that goes on by itself needs a node that does: one of its own, in the background.
fn prepare(context: &Context, connection: &Connection, launch: &Launch) -> Result<(), Failure> {
    if !launch.detach || !connection.is_embedded() {
        return Ok(());
    }
    let home = context.home();
    std::fs::create_dir_all(home.path())?;
    let log = std::fs::File::create(home.path().join("serve.log"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--data-dir").arg(home.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // A process group of its own: Ctrl-C in this terminal is not meant for it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|error| Failure::new(format!("cannot start a node in the background: {error}")))?;
    Ok(())
}

/// Packs the source tree and stores it where workers find it.
async fn upload(context: &Context, connection: &Connection, config: &Path) -> Result<api::Source, Failure> {
    let directory = place::tree(config);
    let packed = tokio::task::spawn_blocking(move || source::pack(&directory))
        .await
        .map_err(|error| Failure::new(error.to_string()))??;
    if context.global.verbose > 0 {
        let (files, size) = (packed.file_count, units::size(packed.size_bytes));
        context.note(&format!("source tree: {files} files, {size}"));
    }
    let blob = BlobSource::File(packed.archive.path().to_path_buf());
    let (digest, size) = connection.client.upload_blob(&blob).await?;
    if digest != packed.digest {
        return Err(Failure::new("the packed source tree changed while it was sent; run the command again"));
    }
    let git = packed.git.unwrap_or(source::Git { commit: String::new(), branch: String::new(), dirty: false });
    Ok(api::Source {
        digest: digest.to_vec().into(),
        size_bytes: size as i64,
        commit: git.commit,
        branch: git.branch,
        dirty: git.dirty,
    })
}

/// Names that values can be given to.
#[derive(Default)]
struct Names {
    parameters: Vec<String>,
    inputs: Vec<String>,
}

impl Names {
    fn of_step(config: &Config, step: &str) -> Self {
        let mut names = Self::default();
        if let Some(step) = config.step(step) {
            names.add(step, "");
        }
        names
    }

    fn of_pipeline(config: &Config, pipeline: &str) -> Self {
        let mut names = Self::default();
        let Some(pipeline) = config.pipeline(pipeline) else { return names };
        names.parameters.extend(pipeline.parameters.iter().map(|parameter| parameter.name.value.clone()));
        for node in &pipeline.nodes {
            if let Some(step) = step_of(node).and_then(|step| config.step(step)) {
                names.add(step, &format!("{}.", node.name.value));
            }
        }
        names
    }

    fn add(&mut self, step: &Step, prefix: &str) {
        let named = |name: &str| format!("{prefix}{name}");
        self.parameters.extend(step.parameters.iter().map(|parameter| named(&parameter.name.value)));
        self.inputs.extend(step.inputs.iter().map(|input| named(&input.name.value)));
    }
}

/// The step a node runs, where it is one of this file.
fn step_of(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Execution { step, .. } | NodeKind::Task { source: TaskSource::Step(step), .. } => Some(&step.value),
        NodeKind::Task { .. } | NodeKind::Deployment(_) => None,
    }
}

/// What was given, told apart.
struct Sorted {
    parameters: Vec<api::ParameterAssignment>,
    inputs: Vec<api::InputAssignment>,
}

impl Sorted {
    fn of(context: &Context, launch: &Launch, values: &[String], names: &Names) -> Result<Self, Failure> {
        let mut sorted = Self { parameters: Vec::new(), inputs: Vec::new() };
        if let Some(file) = &launch.parameter_file {
            sorted.read_file(&context.current.join(file), names)?;
        }
        for text in &launch.parameters {
            sorted.parameter(launch::assignment(text)?, names)?;
        }
        for text in &launch.inputs {
            sorted.input(launch::assignment(text)?, names)?;
        }
        for given in launch::free(values)? {
            // A name may be both; a step's program knows it first of all as a parameter.
            match !names.parameters.contains(&given.name) && names.inputs.contains(&given.name) {
                true => sorted.input(given, names)?,
                false => sorted.parameter(given, names)?,
            }
        }
        Ok(sorted)
    }

    fn parameter(&mut self, given: Given, names: &Names) -> Result<(), Failure> {
        known("parameter", &given.name, &names.parameters, &names.inputs)?;
        let text = api::Value { kind: Some(api::value::Kind::Text(given.value)) };
        // The same name again is one more value for it.
        match self.parameters.iter_mut().find(|known| known.name == given.name) {
            Some(before) => {
                before.append |= given.append;
                let mut items = match before.value.take().and_then(|value| value.kind) {
                    Some(api::value::Kind::List(list)) => list.items,
                    kind => vec![api::Value { kind }],
                };
                items.push(text);
                before.value = Some(api::Value { kind: Some(api::value::Kind::List(api::ValueList { items })) });
            }
            None => self.parameters.push(api::ParameterAssignment {
                name: given.name,
                value: Some(text),
                append: given.append,
            }),
        }
        Ok(())
    }

    fn input(&mut self, given: Given, names: &Names) -> Result<(), Failure> {
        known("input", &given.name, &names.inputs, &names.parameters)?;
        match self.inputs.iter_mut().find(|known| known.name == given.name) {
            Some(before) => before.uris.push(given.value),
            None => self.inputs.push(api::InputAssignment { name: given.name, uris: vec![given.value] }),
        }
        Ok(())
    }

    /// Reads parameters from a file: a map from names to values.
    fn read_file(&mut self, path: &Path, names: &Names) -> Result<(), Failure> {
        let bytes =
            std::fs::read(path).map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
        let value = spec::parse_value(&bytes).map_err(|errors| {
            let first = errors.first().map(|error| format!(":{}: {}", error.span.line, error.message)).unwrap_or_default();
            Failure::new(format!("{}{first}", path.display()))
        })?;
        let spec::Value::Map(entries) = value else {
            return Err(Failure::new(format!("{} is not a map from parameter names to values", path.display())));
        };
        for (name, value) in entries {
            let spec::Value::Str(name) = name else {
                return Err(Failure::new(format!("{} has a key that is not text", path.display())));
            };
            known("parameter", &name, &names.parameters, &names.inputs)?;
            self.parameters.push(api::ParameterAssignment {
                name,
                value: Some(to_message(value)),
                append: false,
            });
        }
        Ok(())
    }
}

/// A value of a file as the contract carries it.
fn to_message(value: spec::Value) -> api::Value {
    use api::value::Kind;
    let kind = match value {
        spec::Value::None => None,
        spec::Value::Bool(value) => Some(Kind::Boolean(value)),
        spec::Value::Int(integer) => Some(match i64::try_from(integer) {
            Ok(integer) => Kind::Integer(integer),
            Err(_) => Kind::BigInteger(integer.to_string()),
        }),
        spec::Value::Float(number) => Some(Kind::Number(number)),
        spec::Value::Str(text) => Some(Kind::Text(text)),
        spec::Value::Date(date) => Some(Kind::Date(date)),
        spec::Value::List(items) => {
            Some(Kind::List(api::ValueList { items: items.into_iter().map(to_message).collect() }))
        }
        spec::Value::Map(entries) => Some(Kind::Map(api::ValueMap {
            entries: entries
                .into_iter()
                .map(|(key, value)| api::ValueEntry { key: Some(to_message(key)), value: Some(to_message(value)) })
                .collect(),
        })),
    };
    api::Value { kind }
}

/// Refuses a name that nothing has.
fn known(what: &str, name: &str, names: &[String], others: &[String]) -> Result<(), Failure> {
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    let failure = Failure::usage(format!("there is no {what} {name:?}"));
    let all = names.iter().chain(others).map(String::as_str);
    Err(match nearest(name, all) {
        Some(name) => failure.hint(format!("did you mean {name:?}?")),
        None if names.is_empty() => failure.hint(format!("it has no {what}s")),
        None => failure.hint(format!("it has: {}", names.join(", "))),
    })
}
