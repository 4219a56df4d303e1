//! `shoal pipeline run` and `shoal execution run`: checked here, packed, created, watched.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use client::BlobSource;
use contract::api;
use spec::plan::launch::{NameError, find_name};

use super::values::{Names, Values};
use super::{Context, config, watch};
use crate::args::Launch;
use crate::connect::{Connection, Runs};
use crate::print::units;
use crate::{Exit, Failure, json, launch as form, place, source};

/// A fresh id for a request; a retry of the same request uses the same one.
pub(super) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The name that is meant: the one typed, or the only one that begins with it, in any case.
pub(super) fn pick(what: &'static str, typed: &str, names: &[&str]) -> Result<String, Failure> {
    let error = match find_name(what, typed, names.iter().copied()) {
        Ok(name) => return Ok(name.to_owned()),
        Err(error) => error,
    };
    Err(match error {
        NameError::Ambiguous {
            what,
            name,
            candidates,
        } => Failure::usage(format!("`{name}` could be more than one {what}"))
            .hint(format!("it begins {}", quoted(&candidates))),
        NameError::Unknown {
            what,
            name,
            nearest,
            candidates,
        } => {
            let failure = Failure::usage(format!("there is no {what} `{name}`"));
            match nearest {
                Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
                None if candidates.is_empty() => failure.hint(format!("the file has no {what}s")),
                None => failure.hint(format!("there are {}", quoted(&candidates))),
            }
        }
    })
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Runs a pipeline.
pub(super) async fn pipeline(
    context: &Context,
    name: &str,
    launch: &Launch,
    values: &[String],
) -> Result<Exit, Failure> {
    let loaded = config::load(context, &launch.config)?;
    let names: Vec<&str> = loaded
        .config
        .pipelines
        .iter()
        .map(|pipeline| pipeline.name.value.as_str())
        .collect();
    let blueprint = pick("pipeline", name, &names)?;
    let given = Values::gather(
        &context.current,
        launch,
        values,
        &Names::of_pipeline(&loaded.config, &blueprint),
    )?;
    let request = api::CreatePipelineRequest {
        parent: context.parent(),
        request_id: request_id(),
        config: loaded.bytes.clone().into(),
        config_name: config::shown(context, &loaded.path),
        blueprint,
        parameters: given.parameters,
        inputs: given.inputs,
        source: None,
        title: launch.title.clone().unwrap_or_default(),
        annotations: BTreeMap::new(),
        environment: launch.environment.clone().unwrap_or_default(),
        validate_only: launch.dry_run,
        priority: launch.priority,
    };
    let connection = context.connect_as(runs(launch));
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
    let made = Made {
        what: "pipeline",
        warnings: &answer.warnings,
        resource: answer.pipeline.as_ref().filter(|_| !launch.dry_run),
        name: |pipeline: &api::Pipeline| &pipeline.name,
        json: json::pipeline,
    };
    match made.tell(context, connection, launch).await? {
        Some(number) => watch::pipeline(context, connection, number).await,
        None => Ok(Exit::Done),
    }
}

/// What a create answered with.
struct Made<'a, Resource> {
    what: &'static str,
    warnings: &'a [String],
    /// What was made; nothing when it was only checked.
    resource: Option<&'a Resource>,
    name: fn(&Resource) -> &str,
    json: fn(&Resource) -> serde_json::Value,
}

impl<Resource> Made<'_, Resource> {
    /// Says what there is to say, and the number of what is to be watched now, if anything is.
    async fn tell(
        self,
        context: &Context,
        connection: &Connection,
        launch: &Launch,
    ) -> Result<Option<i64>, Failure> {
        for warning in self.warnings {
            context.note(&format!("warning: {warning}"));
        }
        context.note_resumed(connection, 0).await;
        let Some(resource) = self.resource else {
            context.print(
                || serde_json::json!({"valid": true}),
                || "yes, it could run\n".to_owned(),
            )?;
            return Ok(None);
        };
        let number = numbered((self.name)(resource));
        if !launch.detach {
            return Ok(Some(number));
        }
        let what = self.what;
        context.print(
            || (self.json)(resource),
            || {
                format!(
                    "{what} #{number} goes on by itself; `shoal {what} watch {number}` follows it\n"
                )
            },
        )?;
        Ok(None)
    }
}

/// The number of what was made.
fn numbered(name: &str) -> i64 {
    json::number(name).as_i64().unwrap_or_default()
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
    let names: Vec<&str> = loaded
        .config
        .steps
        .iter()
        .map(|step| step.name.value.as_str())
        .collect();
    let step = pick("step", step, &names)?;
    let given = Values::gather(
        &context.current,
        launch,
        values,
        &Names::of_step(&loaded.config, &step),
    )?;
    let variables = environment_variables
        .iter()
        .map(|text| form::assignment(text));
    let request = api::CreateExecutionRequest {
        parent: context.parent(),
        request_id: request_id(),
        config: loaded.bytes.clone().into(),
        config_name: config::shown(context, &loaded.path),
        step,
        parameters: given.parameters,
        inputs: given.inputs,
        source: None,
        environment_variables: variables
            .map(|variable| variable.map(|given| (given.name, given.value)))
            .collect::<Result<_, _>>()?,
        environment: launch.environment.clone().unwrap_or_default(),
        title: launch.title.clone().unwrap_or_default(),
        annotations: BTreeMap::new(),
        validate_only: launch.dry_run,
        priority: launch.priority,
    };
    let connection = context.connect_as(runs(launch));
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
    let made = Made {
        what: "execution",
        warnings: &answer.warnings,
        resource: answer.execution.as_ref().filter(|_| !launch.dry_run),
        name: |execution: &api::Execution| &execution.name,
        json: json::execution,
    };
    match made.tell(context, connection, launch).await? {
        Some(number) => watch::execution(context, connection, number).await,
        None => Ok(Exit::Done),
    }
}

/// What is detached goes on in a node of its own, so it must not start in this command's.
fn runs(launch: &Launch) -> Runs {
    if launch.detach && !launch.dry_run {
        Runs::Others
    } else {
        Runs::Us
    }
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
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    // A process group of its own: Ctrl-C in this terminal is not meant for it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
        .spawn()
        .map_err(|error| Failure::new(format!("cannot start a node in the background: {error}")))?;
    Ok(())
}

/// Packs the source tree and stores it where workers find it.
async fn upload(
    context: &Context,
    connection: &Connection,
    config: &Path,
) -> Result<api::Source, Failure> {
    let directory = place::tree(config);
    let packed = tokio::task::spawn_blocking(move || source::pack(&directory))
        .await
        .map_err(|error| Failure::new(error.to_string()))??;
    if context.global.verbose > 0 {
        let (files, size) = (packed.file_count, units::size(packed.size_bytes));
        context.note(&format!("source tree: {files} files, {size}"));
    }
    let blob = BlobSource::File(packed.archive.path().to_path_buf());
    let bar = context.progress(packed.size_bytes, "source tree");
    let progress = Arc::new({
        let bar = bar.clone();
        move |bytes| bar.set_position(bytes)
    });
    let sent = connection.client.upload_blob_telling(&blob, progress).await;
    bar.finish_and_clear();
    let (digest, size) = sent?;
    if digest != packed.digest {
        return Err(Failure::new(
            "the packed source tree changed while it was sent; run the command again",
        ));
    }
    let git = packed.git.unwrap_or(source::Git {
        commit: String::new(),
        branch: String::new(),
        dirty: false,
    });
    Ok(api::Source {
        digest: digest.to_vec().into(),
        size_bytes: size as i64,
        commit: git.commit,
        branch: git.branch,
        dirty: git.dirty,
    })
}
