//! Which name each file of an input gets below the input's directory.
//!
//! 1. Without more said, the last part of its path; two of the same name: the later one wins, and the loser is told of.
//! 2. `filename` renames, but only a file that is alone.
//! 3. `keep-directories` keeps the path: `full` from the root of its storage, `suffix` from the part with the first wildcard on. For a datum
//!    the path is the one it was stored under, whichever of the two is asked for.
//!
//! Names are checked like those of outputs: whatever a URI says, a file lands below its input's directory.

use std::collections::BTreeMap;

use blob::{OutputName, OutputNameError};
use thiserror::Error;

/// One file of an input, after wildcards were expanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its own address.
    pub uri: &'a str,
    /// Path it was stored under, for a datum; otherwise empty.
    pub stored_name: &'a str,
    /// The address with wildcards that it was found by; empty when it was named itself.
    pub pattern: &'a str,
}

/// How an input's files are to be named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming<'a> {
    /// `full`, `suffix`, or anything else for `none`.
    pub keep_directories: &'a str,
    /// Name of the file when it is alone; empty means its own.
    pub file_name: &'a str,
}

/// Where each file goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The files that are to be there, in their order, each name once: index of the source, name.
    pub files: Vec<(usize, OutputName)>,
    /// What a person should be told, a sentence each.
    pub notices: Vec<String>,
}

/// A file that has no place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// The address ends in a slash, or is nothing but a host.
    #[error("{uri} names no file")]
    NoName {
        /// The address.
        uri: String,
    },
    /// The name cannot be a file's.
    #[error("{uri} cannot be placed as {name:?}: {error}")]
    BadName {
        /// The address.
        uri: String,
        /// The name it would get.
        name: String,
        /// What is wrong with it.
        error: OutputNameError,
    },
}

/// Names the files of one input.
///
/// # Errors
/// The first file that has no place.
pub fn place(naming: Naming<'_>, sources: &[Source<'_>]) -> Result<Placement, PlaceError> {
    let mut placement = Placement::default();
    let mut winners: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = Vec::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        let name = match naming.file_name {
            "" => own_name(naming.keep_directories, source),
            name if sources.len() == 1 => name.to_owned(),
            _ => own_name(naming.keep_directories, source),
        };
        let name = checked(name, source)?;
        winners.insert(name.as_str().to_owned(), index);
        names.push(name);
    }
    if sources.len() > 1 && !naming.file_name.is_empty() {
        placement.notices.push(format!(
            "the input has {} files, so none is renamed to {}",
            sources.len(),
            naming.file_name
        ));
    }
    for (index, name) in names.into_iter().enumerate() {
        match winners.get(name.as_str()) {
            Some(&winner) if winner != index => placement.notices.push(format!(
                "{} and {} are both named {name}; the later one is kept",
                sources[index].uri, sources[winner].uri
            )),
            _ => placement.files.push((index, name)),
        }
    }
    Ok(placement)
}

fn checked(name: String, source: &Source<'_>) -> Result<OutputName, PlaceError> {
    let uri = source.uri.to_owned();
    match OutputName::new(name.as_str()) {
        Ok(name) => Ok(name),
        Err(OutputNameError::Empty) => Err(PlaceError::NoName { uri }),
        Err(error) => Err(PlaceError::BadName { uri, name, error }),
    }
}

fn own_name(keep: &str, source: &Source<'_>) -> String {
    let path = path_of(source);
    let last = path.rsplit('/').next().unwrap_or(path);
    let kept = match keep {
        "full" => path,
        "suffix" if !source.stored_name.is_empty() => path,
        "suffix" => suffix(path, source.pattern).unwrap_or(last),
        _ => last,
    };
    kept.to_owned()
}

/// The path of a file within its storage, without a slash in front.
fn path_of<'a>(source: &Source<'a>) -> &'a str {
    if !source.stored_name.is_empty() {
        return source.stored_name;
    }
    let (scheme, rest) = source.uri.split_once("://").unwrap_or(("", source.uri));
    let path = match scheme {
        // A path from the root of this machine; a question mark is a character like any other.
        "file" => rest,
        "http" | "https" => {
            let rest = rest.split(['?', '#']).next().unwrap_or(rest);
            rest.split_once('/').map_or("", |(_, path)| path)
        }
        // `datum://ID` and paths without a scheme name themselves.
        "datum" | "" => rest,
        // `s3://BUCKET/KEY` and its like.
        _ => rest.split_once('/').map_or("", |(_, path)| path),
    };
    path.trim_start_matches('/')
}

/// What follows the directories before the first wildcard of `pattern`.
fn suffix<'a>(path: &'a str, pattern: &str) -> Option<&'a str> {
    let pattern = path_of(&Source {
        uri: pattern,
        ..Source::default()
    });
    let before_wildcard = &pattern[..pattern.find('*')?];
    let directories = &before_wildcard[..before_wildcard.rfind('/').map_or(0, |at| at + 1)];
    path.strip_prefix(directories)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `files`: `uri`, `uri < pattern` or `uri = stored name`, one a line. `expected`: the names in order, then notices.
    fn check(keep_directories: &str, file_name: &str, files: &[&str], expected: &[&str]) {
        let sources: Vec<Source<'_>> = files.iter().map(|file| source(file)).collect();
        let naming = Naming {
            keep_directories,
            file_name,
        };
        let got = match place(naming, &sources) {
            Ok(placed) => {
                let files = placed
                    .files
                    .iter()
                    .map(|(index, name)| format!("{index} {name}"));
                files.chain(placed.notices).collect()
            }
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(got, expected, "{files:?}");
    }

    fn source(text: &str) -> Source<'_> {
        let (uri, pattern) = text.split_once(" < ").unwrap_or((text, ""));
        let (uri, stored_name) = uri.split_once(" = ").unwrap_or((uri, ""));
        Source {
            uri,
            stored_name,
            pattern,
        }
    }

    #[test]
    fn the_last_part_of_the_path_is_the_name() {
        check("", "", &["https://x.org/a/asdf.txt?x=y/z"], &["0 asdf.txt"]);
        check(
            "none",
            "",
            &["https://x.org/a%20b.txt#part"],
            &["0 a%20b.txt"],
        );
        check("none", "", &["file:///data/what?.csv"], &["0 what?.csv"]);
        check(
            "none",
            "",
            &["datum://0197 = models/best.bin"],
            &["0 best.bin"],
        );
        check("none", "", &["datum://0197"], &["0 0197"]);
        check("none", "", &["s3://bucket/key/a.bin"], &["0 a.bin"]);
    }

    #[test]
    fn a_name_is_given_only_to_a_file_that_is_alone() {
        check("none", "m.bin", &["datum://1 = best.bin"], &["0 m.bin"]);
        check("full", "m.bin", &["datum://1 = a/best.bin"], &["0 m.bin"]);
        check(
            "none",
            "m.bin",
            &["file:///a", "file:///b"],
            &[
                "0 a",
                "1 b",
                "the input has 2 files, so none is renamed to m.bin",
            ],
        );
    }

    #[test]
    fn directories_are_kept_as_asked() {
        let found =
            "s3://special-bucket/foo/bar/dataset1/a.jpg < s3://special-bucket/foo/bar/**.jpg";
        check("none", "", &[found], &["0 a.jpg"]);
        check("full", "", &[found], &["0 foo/bar/dataset1/a.jpg"]);
        check("suffix", "", &[found], &["0 dataset1/a.jpg"]);
        let found = "file:///data/run-1/x/a.csv < file:///data/run-*/x/*.csv";
        check("suffix", "", &[found], &["0 run-1/x/a.csv"]);
        check("full", "", &[found], &["0 data/run-1/x/a.csv"]);
        check("suffix", "", &["https://x.org/a/b.txt"], &["0 b.txt"]);
        check("full", "", &["https://x.org/a/b.txt"], &["0 a/b.txt"]);
        check(
            "suffix",
            "",
            &["datum://1 = plots/loss.png"],
            &["0 plots/loss.png"],
        );
        check(
            "full",
            "",
            &["datum://1 = plots/loss.png"],
            &["0 plots/loss.png"],
        );
    }

    #[test]
    fn of_two_with_one_name_the_later_is_kept_and_the_other_told_of() {
        check(
            "none",
            "",
            &["file:///a/x.csv", "file:///y.csv", "file:///b/x.csv"],
            &[
                "1 y.csv",
                "2 x.csv",
                "file:///a/x.csv and file:///b/x.csv are both named x.csv; the later one is kept",
            ],
        );
        check(
            "full",
            "",
            &["file:///a/x", "file:///b/x"],
            &["0 a/x", "1 b/x"],
        );
    }

    #[test]
    fn what_has_no_name_or_a_harmful_one_is_refused() {
        check(
            "none",
            "",
            &["https://x.org/"],
            &["https://x.org/ names no file"],
        );
        check(
            "none",
            "",
            &["https://x.org"],
            &["https://x.org names no file"],
        );
        check(
            "full",
            "",
            &["https://x.org/a/../../b"],
            &[
                "https://x.org/a/../../b cannot be placed as \"a/../../b\": the name has \"..\" as a part of its path",
            ],
        );
        check(
            "none",
            "../../etc/passwd",
            &["file:///a"],
            &[
                "file:///a cannot be placed as \"../../etc/passwd\": the name has \"..\" as a part of its path",
            ],
        );
    }

    proptest! {
        #[test]
        fn every_name_is_safe_and_there_once(
            keep in "none|full|suffix",
            uris in proptest::collection::vec("(file|https|s3|datum)://[a-c./*?]{0,9}", 0..5),
            pattern in "[a-c/*:]{0,9}",
        ) {
            let sources: Vec<Source<'_>> = uris.iter().map(|uri| Source { uri, stored_name: "", pattern: &pattern }).collect();
            if let Ok(placed) = place(Naming { keep_directories: &keep, file_name: "" }, &sources) {
                let mut names: Vec<&str> = placed.files.iter().map(|(_, name)| name.as_str()).collect();
                names.sort_unstable();
                prop_assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
                prop_assert_eq!(placed.files.len() + placed.notices.len(), sources.len());
            }
        }
    }
}
