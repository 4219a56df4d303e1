//! Contexts: which cluster is meant, and as whom to speak to it.
//!
//! A context is a file that `shoal login` writes into the user's configuration directory. `--context` names one, or a file; `--cluster`
//! finds the one with that address. Without either, everything runs in the command itself, whoever is logged in: what a directory holds
//! must not depend on that.

use std::fs;
use std::path::{Path, PathBuf};

use node::tls::context::ClientContext;
use pki::Credentials;

use crate::Failure;
use crate::args::Global;

/// The cluster that is meant.
#[derive(Clone)]
pub struct Cluster {
    /// Addresses of coordinators.
    pub addresses: Vec<String>,
    /// As whom to speak to them; nothing for a cluster without TLS.
    pub credentials: Option<Credentials>,
}

/// The cluster that the options name; nothing when they name none.
///
/// # Errors
/// When a context that is named is not there or cannot be read.
pub fn chosen(global: &Global) -> Result<Option<Cluster>, Failure> {
    let given = global.cluster.as_deref().map(addresses);
    if let Some(name) = &global.context {
        let path = path_of(name)?;
        if !path.exists() {
            return Err(Failure::usage(format!("there is no context {name}")).hint(
                match names().as_slice() {
                    [] => "`shoal login ADDRESS --token TOKEN` makes one".to_owned(),
                    names => format!("there are: {}", names.join(", ")),
                },
            ));
        }
        return load(&path, given).map(Some);
    }
    let Some(given) = given else {
        return Ok(None);
    };
    for path in files() {
        // One that cannot be read is in nobody's way who does not need it.
        let Ok(context) = ClientContext::read(&path) else {
            continue;
        };
        if context.addresses.iter().any(|known| given.contains(known)) {
            return load(&path, Some(given)).map(Some);
        }
    }
    Ok(Some(Cluster {
        addresses: given,
        credentials: None,
    }))
}

/// The cluster of the only context there is, for commands that make no sense without a cluster.
///
/// # Errors
/// When there is none, or more than one.
pub fn only() -> Result<Cluster, Failure> {
    match files().as_slice() {
        [path] => load(path, None),
        [] => Err(Failure::usage("no cluster is named").hint(
            "name one with --cluster ADDRESS, or log in with `shoal login ADDRESS --token TOKEN`",
        )),
        _ => Err(Failure::usage("there are several contexts")
            .hint(format!("name one with --context: {}", names().join(", ")))),
    }
}

/// Keeps a context. Gives the file it is in.
///
/// # Errors
/// When it cannot be written.
pub fn keep(name: &str, context: &ClientContext) -> Result<PathBuf, Failure> {
    let path = path_of(name)?;
    context
        .write(&path)
        .map_err(|fault| Failure::new(fault.to_string()))?;
    Ok(path)
}

/// Reads a context by its name.
///
/// # Errors
/// When it is not there or cannot be read.
pub fn read(name: &str) -> Result<ClientContext, Failure> {
    ClientContext::read(&path_of(name)?).map_err(|fault| Failure::new(fault.to_string()))
}

/// Reads addresses with commas between.
pub fn addresses(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn load(path: &Path, given: Option<Vec<String>>) -> Result<Cluster, Failure> {
    let failure = |fault: node::Fault| Failure::new(fault.to_string());
    let context = ClientContext::read(path).map_err(failure)?;
    let credentials = context.credentials().map_err(failure)?;
    Ok(Cluster {
        addresses: given.unwrap_or(context.addresses),
        credentials: Some(credentials),
    })
}

/// The file of a context: itself, where a path is named.
fn path_of(name: &str) -> Result<PathBuf, Failure> {
    if name.contains('/') || name.ends_with(".toml") {
        return Ok(PathBuf::from(name));
    }
    match directory() {
        Some(directory) => Ok(directory.join(format!("{name}.toml"))),
        None => Err(
            Failure::new("there is no home directory to keep contexts in")
                .hint("set XDG_CONFIG_HOME, or name a file with --context ./NAME.toml"),
        ),
    }
}

/// Where contexts are kept.
fn directory() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = match variable("XDG_CONFIG_HOME") {
        Some(config) => PathBuf::from(config),
        None => PathBuf::from(variable("HOME")?).join(".config"),
    };
    Some(config.join("shoal/contexts"))
}

/// The files of all contexts, by name.
fn files() -> Vec<PathBuf> {
    let entries = directory().and_then(|directory| fs::read_dir(directory).ok());
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files
}

fn names() -> Vec<String> {
    let stem = |path: &PathBuf| Some(path.file_stem()?.to_string_lossy().into_owned());
    files().iter().filter_map(stem).collect()
}
