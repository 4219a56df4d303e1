//! The files that are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;

/// The files of a repository, by their paths from its root, with `/` between the parts.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    texts: BTreeMap<String, String>,
    /// Every file and directory, also those that are not text.
    paths: BTreeSet<String>,
}

impl Tree {
    /// Reads all files under `root` that git would not ignore.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        let walk = ignore::WalkBuilder::new(root)
            .hidden(false)
            .parents(false)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        for entry in walk {
            let entry = entry?;
            let path = entry.path();
            // A file that another process makes and removes beside the sources is none of the repository's.
            let Ok(metadata) = path.metadata() else {
                continue;
            };
            let name = path
                .strip_prefix(root)?
                .to_str()
                .context("a file's name is not UTF-8")?;
            if metadata.is_file() {
                let bytes = std::fs::read(path).with_context(|| format!("cannot read {name}"))?;
                tree.add(name, String::from_utf8(bytes).ok());
            } else {
                tree.paths.insert(name.to_owned());
            }
        }
        Ok(tree)
    }

    /// A tree of these files, for the tests of the checks.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add(path, Some(text.to_owned()));
        }
        tree
    }

    fn add(&mut self, path: &str, text: Option<String>) {
        let mut parent = Path::new(path).parent();
        while let Some(directory) = parent.and_then(Path::to_str) {
            self.paths.insert(directory.to_owned());
            parent = Path::new(directory).parent();
        }
        self.paths.insert(path.to_owned());
        if let Some(text) = text {
            self.texts.insert(path.to_owned(), text);
        }
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether there is such a file or directory.
    pub fn exists(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// All text files, by path.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text files whose names end with `.extension`.
    pub fn with_extension<'a>(
        &'a self,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts().filter(move |(path, _)| {
            Path::new(path)
                .extension()
                .is_some_and(|found| found == extension)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_files_are_not_read_and_bytes_that_are_no_text_exist() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        std::fs::create_dir_all(root.path().join("target"))?;
        std::fs::create_dir_all(root.path().join(".git"))?;
        std::fs::create_dir_all(root.path().join("docs/deep"))?;
        std::fs::write(root.path().join(".gitignore"), "/target\n")?;
        std::fs::write(root.path().join("target/built.rs"), "")?;
        std::fs::write(root.path().join(".git/HEAD"), "")?;
        std::fs::write(root.path().join("docs/deep/page.md"), "a page")?;
        std::fs::write(root.path().join("docs/picture.png"), [0xff, 0xfe])?;

        let tree = Tree::read(root.path())?;
        assert_eq!(tree.text("docs/deep/page.md"), Some("a page"));
        assert_eq!(tree.text("docs/picture.png"), None);
        assert!(
            tree.exists("docs/picture.png")
                && tree.exists("docs/deep")
                && tree.exists(".gitignore")
        );
        assert!(!tree.exists("target/built.rs") && !tree.exists(".git/HEAD"));
        Ok(())
    }
}
