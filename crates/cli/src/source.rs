//! The source tree: what of the user's directory travels with an execution, as one deterministic archive.
//!
//! The same files give the same bytes on every machine: entries sorted by path, times zero, owners zero, modes 644 or
//! 755. Left out: what `.gitignore` and `.vhignore` name, `.git` and `.shoal`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// A source tree with more files than this is refused, as Valohai's own command line does: it is nearly always data that belongs elsewhere.
pub const MAX_FILES: usize = 10_000;

/// A packed source tree.
#[derive(Debug)]
pub struct Packed {
    /// The archive; removed with this value.
    pub archive: tempfile::NamedTempFile,
    /// BLAKE3 digest of the archive.
    pub digest: [u8; 32],
    /// Size of the archive in bytes.
    pub size_bytes: u64,
    /// How many files are in it.
    pub file_count: usize,
    /// What git says about the directory; none outside a repository or without git.
    pub git: Option<Git>,
}

/// What git says about a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Git {
    /// Commit that is checked out; empty before the first.
    pub commit: String,
    /// Branch; empty when detached.
    pub branch: String,
    /// Whether files under the directory differ from the commit.
    pub dirty: bool,
}

/// Packs the tree under a directory.
///
/// # Errors
/// When a file cannot be read, or there are more than [`MAX_FILES`].
pub fn pack(directory: &Path) -> anyhow::Result<Packed> {
    let files = list(directory)?;
    if files.len() > MAX_FILES {
        bail!(too_many(directory, &files));
    }
    let archive = tempfile::NamedTempFile::new()
        .context("cannot make a temporary file for the source archive")?;
    let mut hashing = Hashing {
        file: archive.as_file(),
        hasher: blake3::Hasher::new(),
        size_bytes: 0,
    };
    let mut tar = tar::Builder::new(&mut hashing);
    for relative in &files {
        append(&mut tar, directory, relative)
            .with_context(|| format!("cannot pack {}", relative.display()))?;
    }
    tar.finish()?;
    drop(tar);
    let (digest, size_bytes) = (*hashing.hasher.finalize().as_bytes(), hashing.size_bytes);
    Ok(Packed {
        archive,
        digest,
        size_bytes,
        file_count: files.len(),
        git: git(directory),
    })
}

/// The files and links of a tree, relative and sorted.
fn list(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let walk = ignore::WalkBuilder::new(directory)
        .hidden(false)
        .require_git(false)
        .add_custom_ignore_filename(".vhignore")
        .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != ".shoal")
        .build();
    let mut files = Vec::new();
    for entry in walk {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let kind = entry.file_type();
        if kind.is_some_and(|kind| kind.is_file() || kind.is_symlink()) {
            files.push(entry.path().strip_prefix(directory)?.to_path_buf());
        }
    }
    files.sort();
    Ok(files)
}

/// Appends one file or link.
fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    directory: &Path,
    relative: &Path,
) -> io::Result<()> {
    let path = directory.join(relative);
    let metadata = fs::symlink_metadata(&path)?;
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        return tar.append_link(&mut header, relative, fs::read_link(&path)?);
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_size(metadata.len());
    // A file that grows while it is read would shift everything behind it: exactly the size in the header is taken.
    let file = File::open(&path)?;
    tar.append_data(&mut header, relative, io::Read::take(file, metadata.len()))
}

/// Says which directories the many files are in.
fn too_many(directory: &Path, files: &[PathBuf]) -> String {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for file in files {
        let top = match file.components().count() {
            1 => ".".to_owned(),
            _ => file
                .components()
                .next()
                .map(|part| part.as_os_str().to_string_lossy().into_owned())
                .unwrap_or_default(),
        };
        *counts.entry(top).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let largest: Vec<String> = counts
        .iter()
        .take(3)
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    format!(
        "{} has {} files; at most {MAX_FILES} travel with an execution\nmost are in: {}\nname what is not needed in .gitignore or .vhignore",
        directory.display(),
        files.len(),
        largest.join(", ")
    )
}

/// Asks git about a directory.
fn git(directory: &Path) -> Option<Git> {
    let run = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(directory)
            .args(arguments)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    run(&["rev-parse", "--git-dir"])?;
    Some(Git {
        commit: run(&["rev-parse", "--verify", "HEAD"]).unwrap_or_default(),
        branch: run(&["symbolic-ref", "--short", "-q", "HEAD"]).unwrap_or_default(),
        dirty: run(&["status", "--porcelain", "--", "."]).is_none_or(|text| !text.is_empty()),
    })
}

/// Hashes and counts what passes.
struct Hashing<'a> {
    file: &'a File,
    hasher: blake3::Hasher,
    size_bytes: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn names(packed: &Packed) -> Vec<String> {
        let mut archive = tar::Archive::new(File::open(packed.archive.path()).unwrap());
        archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let files = [
            ("b/train.py", "print(1)"),
            ("a.txt", "a"),
            ("valohai.yaml", "[]"),
        ];
        let (one, two) = (tree(&files), tree(&[files[2], files[0], files[1]]));
        let (one, two) = (pack(one.path()).unwrap(), pack(two.path()).unwrap());
        assert_eq!(one.digest, two.digest);
        assert_eq!(names(&one), ["a.txt", "b/train.py", "valohai.yaml"]);
        assert_eq!(
            one.digest,
            *blake3::hash(&fs::read(one.archive.path()).unwrap()).as_bytes()
        );
        assert_eq!(
            one.size_bytes,
            fs::metadata(one.archive.path()).unwrap().len()
        );
    }

    #[test]
    fn ignored_files_stay_behind() {
        let directory = tree(&[
            (".gitignore", "data/\n*.tmp"),
            (".vhignore", "notes.md"),
            ("data/big.bin", "x"),
            ("x.tmp", "x"),
            ("notes.md", "x"),
            (".shoal/lock", "x"),
            (".git/HEAD", "x"),
            (".env", "kept: hidden files are part of a repository"),
            ("train.py", "x"),
        ]);
        assert_eq!(
            names(&pack(directory.path()).unwrap()),
            [".env", ".gitignore", ".vhignore", "train.py"]
        );
    }

    #[test]
    fn executables_and_links_keep_what_they_are() {
        let directory = tree(&[("run.sh", "#!/bin/sh")]);
        fs::set_permissions(
            directory.path().join("run.sh"),
            fs::Permissions::from_mode(0o700),
        )
        .unwrap();
        std::os::unix::fs::symlink("run.sh", directory.path().join("start")).unwrap();
        let packed = pack(directory.path()).unwrap();
        let mut archive = tar::Archive::new(File::open(packed.archive.path()).unwrap());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.header().entry_type(), entry.header().mode().unwrap())
            })
            .collect();
        assert_eq!(
            entries,
            [
                (tar::EntryType::Regular, 0o755),
                (tar::EntryType::Symlink, 0o777)
            ]
        );
    }

    #[test]
    fn too_many_files_are_refused_with_where_they_are() {
        let files: Vec<PathBuf> = (0..9)
            .map(|n| PathBuf::from(format!("data/{n}")))
            .chain([PathBuf::from("a")])
            .collect();
        let message = too_many(Path::new("here"), &files);
        assert!(
            message.contains("most are in: data (9), . (1)"),
            "{message}"
        );
    }
}
