//! `shoal execution outputs`: its files, and downloading them.

use std::path::{Component, Path, PathBuf};

use contract::api;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::Context;
use crate::commands::config;
use crate::connect::Connection;
use crate::print::{escape, units};
use crate::{Exit, Failure, json, tables};

pub(super) async fn outputs(
    context: &Context,
    number: i64,
    download: Option<&Path>,
    force: bool,
) -> Result<Exit, Failure> {
    let connection = context.connect_to_look()?;
    let result = with(context, &connection, number, download, force).await;
    context.close(connection).await;
    result
}

async fn with(
    context: &Context,
    connection: &Connection,
    number: i64,
    download: Option<&Path>,
    force: bool,
) -> Result<Exit, Failure> {
    let request = api::GetExecutionRequest {
        name: context.execution(number),
        consistency: context.consistency(),
    };
    let execution = connection
        .client
        .get_execution(request)
        .await?
        .execution
        .unwrap_or_default();
    let Some(directory) = download else {
        context.print(
            || execution.outputs.iter().map(json::datum).collect(),
            || tables::outputs(&execution.outputs),
        )?;
        return Ok(Exit::Done);
    };
    let directory = context.current.join(directory);
    // All names are checked before the first byte is written, so that nothing is half done for a reason known in advance.
    let mut plan = Vec::new();
    for datum in &execution.outputs {
        plan.push((datum, directory.join(safe(&datum.file_name)?)));
    }
    let there: Vec<&Path> = plan
        .iter()
        .map(|(_, path)| path.as_path())
        .filter(|path| path.exists())
        .collect();
    if let ([first, others @ ..], false) = (there.as_slice(), force) {
        let more = if others.is_empty() {
            String::new()
        } else {
            format!(" and {} more", others.len())
        };
        let first = config::shown(context, first);
        return Err(
            Failure::new(format!("{first}{more} would be overwritten")).hint("--force overwrites")
        );
    }
    let mut done: Vec<Value> = Vec::new();
    for (datum, path) in plan {
        fetch(context, connection, datum, &path).await?;
        if !context.json() {
            let (path, size) = (
                config::shown(context, &path),
                units::size(datum.size_bytes as u64),
            );
            context.print(
                || Value::Null,
                || format!("{}  {size}\n", escape::for_line(&path)),
            )?;
        }
        done.push(json!({"file_name": datum.file_name, "path": path.display().to_string(), "digest": json::hex(&datum.digest)}));
    }
    if context.json() {
        context.print(|| Value::Array(done), String::new)?;
    } else if execution.outputs.is_empty() {
        context.print(|| Value::Null, || tables::outputs(&[]))?;
    }
    Ok(Exit::Done)
}

/// A path below a directory; the names come from programs and are not trusted.
fn safe(name: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(name);
    let inside = !name.is_empty()
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    if inside {
        Ok(path.to_path_buf())
    } else {
        Err(Failure::new(format!(
            "the output {name:?} has an unsafe name"
        )))
    }
}

/// Downloads one file beside its place and moves it there once every byte is verified.
async fn fetch(
    context: &Context,
    connection: &Connection,
    datum: &api::Datum,
    path: &Path,
) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("cannot write {}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(failed)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = tokio::fs::File::create(&partial).await.map_err(failed)?;
    let bar = context.progress(datum.size_bytes as u64, &escape::for_line(&datum.file_name));
    let downloaded = connection
        .client
        .download(datum, &mut file, &mut |bytes| bar.set_position(bytes))
        .await;
    bar.finish_and_clear();
    if let Err(error) = downloaded {
        drop(tokio::fs::remove_file(&partial).await);
        return Err(error.into());
    }
    file.flush().await.map_err(failed)?;
    tokio::fs::rename(&partial, path).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        assert!(safe("a/b.txt").is_ok());
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "./x/.."] {
            assert!(safe(bad).is_err(), "{bad}");
        }
    }
}
