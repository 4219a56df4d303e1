//! Where things are: the `valohai.yaml` that is meant, its source tree, and the `.shoal` directory of the embedded node.
//!
//! A command that runs something and one that shows it later must agree on `.shoal`, whether or not `--file` is given. So it lies
//! in the nearest directory, from the current one upwards, that has a `.shoal`, a `.git` or a `valohai.yaml`; else in the current one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::Failure;

/// Name of the file in a repository's root.
pub const CONFIG: &str = "valohai.yaml";
/// Name of the embedded node's directory.
pub const SHOAL: &str = ".shoal";

/// The directory that commands started in `current` belong to.
pub fn root(current: &Path) -> PathBuf {
    let marked = |directory: &&Path| {
        [SHOAL, ".git", CONFIG]
            .iter()
            .any(|name| directory.join(name).exists())
    };
    current
        .ancestors()
        .find(marked)
        .unwrap_or(current)
        .to_path_buf()
}

/// The configuration file that is meant: the one given, or the one in the directory given, whether or not it is there; else
/// the nearest from the current directory upwards.
///
/// # Errors
/// When none is given and there is none.
pub fn config(current: &Path, given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        let path = current.join(given);
        return Ok(if path.is_dir() {
            path.join(CONFIG)
        } else {
            path
        });
    }
    match current
        .ancestors()
        .map(|directory| directory.join(CONFIG))
        .find(|path| path.is_file())
    {
        Some(path) => Ok(path),
        None => Err(Failure::usage(format!(
            "there is no {CONFIG} in {} or above it",
            current.display()
        ))
        .hint("go to the directory it is in, or name it with --file")),
    }
}

/// Reads a file that was named.
///
/// # Errors
/// When it is not there or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!("there is no file {}", path.display())),
        ErrorKind::IsADirectory => Failure::usage(format!("{} is a directory", path.display())),
        _ => Failure::new(format!("cannot read {}: {error}", path.display())),
    })
}

/// The source tree of a configuration file: the directory it lies in.
pub fn tree(config: &Path) -> PathBuf {
    match config.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// A project name for a directory: its own name in the letters that a project may have; `default` where none is left.
pub fn project(directory: &Path) -> String {
    let name = directory
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let mut project = String::new();
    for letter in name.chars() {
        match letter {
            'a'..='z' => project.push(letter),
            '0'..='9' if !project.is_empty() => project.push(letter),
            _ if !project.is_empty() && !project.ends_with('-') => project.push('-'),
            _ => {}
        }
    }
    project.truncate(63);
    let project = project.trim_end_matches('-');
    if project.is_empty() {
        "default".to_owned()
    } else {
        project.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_with_a_file_and_a_look_without_agree() {
        let top = tempfile::tempdir().unwrap();
        let example = top.path().join("examples/digits");
        fs::create_dir_all(&example).unwrap();
        fs::write(example.join(CONFIG), "[]").unwrap();
        fs::create_dir(top.path().join(".git")).unwrap();
        assert_eq!(root(top.path()), top.path());
        let found = config(top.path(), Some(Path::new("examples/digits/valohai.yaml"))).unwrap();
        assert_eq!(tree(&found), example);
        assert_eq!(
            config(top.path(), Some(Path::new("examples/digits"))).unwrap(),
            found
        );
        assert_eq!(root(&example), example, "inside the example it is its own");
    }

    #[test]
    fn the_nearest_file_is_meant() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join(CONFIG), "[]").unwrap();
        let deep = top.path().join("src/deep");
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(config(&deep, None).unwrap(), top.path().join(CONFIG));
        let missing = config(&deep, Some(Path::new("no.yaml"))).unwrap();
        assert_eq!(missing, deep.join("no.yaml"));
        let failure = read(&missing).unwrap_err();
        assert_eq!(failure.exit(), crate::Exit::Usage);
        assert!(
            failure.to_string().starts_with("error: there is no file "),
            "{failure}"
        );
    }

    #[test]
    fn project_names() {
        for (directory, expected) in [
            ("/x/My Repo_2", "my-repo-2"),
            ("/", "default"),
            ("/x/123", "default"),
            ("/x/42-things", "things"),
            ("/x/a--", "a"),
        ] {
            assert_eq!(project(Path::new(directory)), expected, "{directory}");
        }
    }
}
