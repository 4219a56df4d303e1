//! `file://` addresses with wildcards: `*` within one level, `**` over any number of levels.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use spec::glob::fnmatch;

/// How many files one address may mean.
const MAX_FILES: usize = 100_000;

/// The regular files that a pattern means, sorted.
pub(super) fn expand(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    if !pattern.is_absolute() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path is not absolute",
        ));
    }
    // The search begins in the deepest directory that has no wildcard in its name.
    let mut base = PathBuf::new();
    let mut rest = Vec::new();
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy().into_owned();
        if rest.is_empty() && !text.contains(['*', '?', '[']) {
            base.push(part);
        } else {
            rest.push(text);
        }
    }
    let mut found = Vec::new();
    walk(&base, &rest, &mut found)?;
    found.sort();
    found.dedup();
    Ok(found)
}

fn walk(directory: &Path, pattern: &[String], found: &mut Vec<PathBuf>) -> io::Result<()> {
    let Some((first, rest)) = pattern.split_first() else {
        return Ok(());
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    // `**.jpg` means any depth, ending in .jpg; `**` alone any number of directories.
    let deep = first.contains("**");
    if first == "**" && !rest.is_empty() {
        walk(directory, rest, found)?;
    }
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let matches = fnmatch(&first.replace("**", "*"), &name);
        if kind.is_dir() {
            if deep {
                walk(&entry.path(), pattern, found)?;
            } else if matches && !rest.is_empty() {
                walk(&entry.path(), rest, found)?;
            }
        } else if kind.is_file() && matches && rest.is_empty() {
            found.push(entry.path());
            if found.len() > MAX_FILES {
                return Err(io::Error::other(format!(
                    "it means more than {MAX_FILES} files"
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(pattern: &str, expected: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "a.jpg",
            "b.txt",
            "x/c.jpg",
            "x/y/d.jpg",
            "x/y/e.txt",
            "z/c.jpg",
        ] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = expand(&directory.path().join(pattern)).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|path| {
                path.strip_prefix(directory.path())
                    .unwrap()
                    .to_str()
                    .unwrap()
            })
            .collect();
        assert_eq!(found, expected, "{pattern}");
    }

    #[test]
    fn patterns() {
        check("*", &["a.jpg", "b.txt"]);
        check("*.jpg", &["a.jpg"]);
        check("*/c.jpg", &["x/c.jpg", "z/c.jpg"]);
        check("**.jpg", &["a.jpg", "x/c.jpg", "x/y/d.jpg", "z/c.jpg"]);
        check("**/*.jpg", &["a.jpg", "x/c.jpg", "x/y/d.jpg", "z/c.jpg"]);
        check("x/**", &["x/c.jpg", "x/y/d.jpg", "x/y/e.txt"]);
        check("x/**/d.jpg", &["x/y/d.jpg"]);
        check("no/*", &[]);
    }
}
