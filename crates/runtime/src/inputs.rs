//! Where an input's file is put: names are the user's text, and none of them may lead elsewhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest name of one file or directory, in bytes.
pub const MAX_NAME: usize = 255;
/// Longest path of a file below its directory, in bytes.
pub const MAX_PATH: usize = 1024;

/// Why a name cannot be a file's or a directory's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadName {
    /// It is empty, or has an empty part (`a//b`, `/a`, `a/`).
    #[error("has an empty part")]
    Empty,
    /// It has a part `.` or `..`.
    #[error("has a part `.` or `..`")]
    Dots,
    /// It is to be one name, and has a `/`.
    #[error("has a `/`")]
    Slash,
    /// A part, or the whole, is too long.
    #[error("is longer than 255 bytes, or 1024 with its directories")]
    Long,
    /// It holds a control character, as newline or NUL are.
    #[error("holds a control character")]
    Control,
    /// It is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
}

/// Why a place for a file could not be made.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The name of the input or of the file.
    #[error("name {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: BadName,
    },
    /// The directories could not be made.
    #[error("{path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Checks the name of one file or directory.
pub fn check_name(name: &str) -> Result<(), BadName> {
    match name {
        "" => Err(BadName::Empty),
        "." | ".." => Err(BadName::Dots),
        _ if name.contains('/') => Err(BadName::Slash),
        _ if name.len() > MAX_NAME => Err(BadName::Long),
        _ if name.chars().any(char::is_control) => Err(BadName::Control),
        _ => Ok(()),
    }
}

/// Checks a relative path: names joined by `/`.
pub fn check_path(path: &str) -> Result<(), BadName> {
    if path.len() > MAX_PATH {
        return Err(BadName::Long);
    }
    path.split('/').try_for_each(check_name)
}

/// Makes the directories for the file `file` (which may have directories of its own) of the input `input`, and gives the
/// file's path: below `inputs/INPUT/`, whatever the names are. To be used before the program runs.
pub fn place(inputs: &Path, input: &str, file: &str) -> Result<PathBuf, PlaceError> {
    let bad = |name: &str, reason| PlaceError::Name {
        name: name.to_owned(),
        reason,
    };
    check_name(input).map_err(|reason| bad(input, reason))?;
    check_path(file).map_err(|reason| bad(file, reason))?;
    let path = inputs.join(input).join(file);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| PlaceError::Io {
            path: parent.to_path_buf(),
            source,
        })?;
    }
    Ok(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "é".repeat(128);
        let table = [
            ("my data.set v2", Ok(())),
            ("..hidden", Ok(())),
            ("-rf", Ok(())),
            ("", Err(BadName::Empty)),
            (".", Err(BadName::Dots)),
            ("..", Err(BadName::Dots)),
            ("a/b", Err(BadName::Slash)),
            ("a\nb", Err(BadName::Control)),
            ("a\0b", Err(BadName::Control)),
            (&long, Err(BadName::Long)),
        ];
        for (name, expected) in table {
            assert_eq!(check_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn paths() {
        let long = ["d".repeat(200).as_str(); 6].join("/");
        let table = [
            ("a/b c/d.txt", Ok(())),
            ("/etc/passwd", Err(BadName::Empty)),
            ("a//b", Err(BadName::Empty)),
            ("a/", Err(BadName::Empty)),
            ("a/../../b", Err(BadName::Dots)),
            ("./a", Err(BadName::Dots)),
            (&long, Err(BadName::Long)),
        ];
        for (path, expected) in table {
            assert_eq!(check_path(path), expected, "{path:?}");
        }
    }

    #[test]
    fn places_are_below_the_input() {
        let temp = tempfile::tempdir().unwrap();
        let inputs = temp.path().join("inputs");
        let path = place(&inputs, "my data.set", "deep er/x.bin").unwrap();
        assert_eq!(path, inputs.join("my data.set/deep er/x.bin"));
        assert!(inputs.join("my data.set/deep er").is_dir());
        for (input, file) in [("..", "x"), ("a/b", "x"), ("a", "../x"), ("a", "/x")] {
            assert!(place(&inputs, input, file).is_err(), "{input:?} {file:?}");
        }
        let made: Vec<_> = fs::read_dir(temp.path()).unwrap().collect();
        assert_eq!(made.len(), 1);
    }
}
