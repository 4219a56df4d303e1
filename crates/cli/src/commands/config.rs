//! Reading the `valohai.yaml` that is meant, with its mistakes shown as `shoal lint` shows them.

use std::path::PathBuf;

use spec::model::Config;

use super::Context;
use crate::args::ConfigFile;
use crate::{Failure, place, print};

/// A file that was read and is valid.
pub(super) struct Loaded {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its bytes, as they travel.
    pub(super) bytes: Vec<u8>,
    /// What it says.
    pub(super) config: Config,
}

/// Reads the file that is meant. Warnings are noted; errors are the failure, all of them.
pub(super) fn load(context: &Context, file: &ConfigFile) -> Result<Loaded, Failure> {
    let path = place::config(&context.current, file.file.as_deref())?;
    let bytes = place::read(&path)?;
    let parsed = spec::parse(&bytes);
    let shown = shown(context, &path);
    let source = String::from_utf8_lossy(&bytes);
    let render = |diagnostic| spec::render(diagnostic, &shown, &source);
    match parsed.config {
        Some(config) => {
            for warning in parsed
                .diagnostics
                .iter()
                .filter(|diagnostic| diagnostic.severity == spec::Severity::Warning)
            {
                context.note(render(warning).trim_end());
            }
            Ok(Loaded {
                path,
                bytes,
                config,
            })
        }
        None => {
            let errors: Vec<&spec::Diagnostic> = parsed
                .diagnostics
                .iter()
                .filter(|diagnostic| diagnostic.severity == spec::Severity::Error)
                .collect();
            if !context.json() {
                errors.iter().for_each(|error| print::tell(&render(error)));
            }
            let count = errors.len();
            let places = errors.iter().map(|error| {
                (
                    format!("{shown}:{}:{}", error.span.line, error.span.column),
                    error.message.clone(),
                )
            });
            Err(
                Failure::new(format!("{shown} has {}", counted(count, "error")))
                    .details(places)
                    .shown_already(!context.json()),
            )
        }
    }
}

/// A path as the user would type it.
pub(super) fn shown(context: &Context, path: &std::path::Path) -> String {
    path.strip_prefix(&context.current)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// `no errors`, `1 error`, `2 errors`.
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
