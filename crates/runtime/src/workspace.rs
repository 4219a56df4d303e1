//! Unpacking the source tree into the repository directory.
//!
//! The archive comes from whoever submits, so its names are not trusted: each is checked by itself, and what it is put
//! into is opened beneath the repository with no link followed, so that no order of entries leads outside.

use crate::beneath;
use crate::inputs::{BadName, check_path};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use tar::{Archive, Entry, EntryType};
use thiserror::Error;

/// How large a source tree may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// Most entries.
    pub max_entries: u64,
    /// Most bytes in all files.
    pub max_bytes: u64,
}

impl Default for TreeLimits {
    fn default() -> TreeLimits {
        TreeLimits {
            max_entries: 200_000,
            max_bytes: 20 << 30,
        }
    }
}

/// Why an archive was not unpacked. What was written until then stays.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// An entry that a source tree cannot have.
    #[error("source tree: {name:?} {reason}")]
    Entry {
        /// Its name, with unprintable bytes replaced.
        name: String,
        /// What is wrong with it.
        reason: BadEntry,
    },
    /// It is too large.
    #[error("source tree: more than {limit} {unit}")]
    Limit {
        /// How many are allowed.
        limit: u64,
        /// Of what: `entries` or `bytes`.
        unit: &'static str,
    },
    /// The archive cannot be read, or the tree not be written.
    #[error("source tree: {0}")]
    Io(#[from] io::Error),
}

/// What is wrong with an entry.
#[derive(Debug, Error)]
pub enum BadEntry {
    /// Its name.
    #[error("has a name that {0}")]
    Name(BadName),
    /// A symbolic link that leads out of the tree.
    #[error("is a symbolic link that leaves the tree")]
    Escape,
    /// A hard link, device, FIFO, or something unknown.
    #[error("is neither file, directory nor symbolic link")]
    Kind,
    /// It cannot be put there: another entry is in the way, or the disk is full.
    #[error("cannot be written: {0}")]
    Write(io::Error),
}

/// Unpacks an archive into the directory `repository`. Files are 0644, or 0755 if anyone may execute them; no owners, no
/// times. Gives the number of entries.
pub fn unpack(
    archive: impl Read,
    repository: &Path,
    limits: TreeLimits,
) -> Result<u64, UnpackError> {
    let root = beneath::open_dir(repository)?;
    let mut archive = Archive::new(archive);
    let (mut entries, mut bytes) = (0u64, 0u64);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            continue;
        }
        entries += 1;
        bytes = bytes.saturating_add(entry.size());
        over(entries, limits.max_entries, "entries")?;
        over(bytes, limits.max_bytes, "bytes")?;
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        put(&root, &mut entry, kind).map_err(|reason| UnpackError::Entry { name: raw, reason })?;
    }
    Ok(entries)
}

fn over(value: u64, limit: u64, unit: &'static str) -> Result<(), UnpackError> {
    match value > limit {
        true => Err(UnpackError::Limit { limit, unit }),
        false => Ok(()),
    }
}

fn put(root: &OwnedFd, entry: &mut Entry<'_, impl Read>, kind: EntryType) -> Result<(), BadEntry> {
    let bytes = entry.path_bytes().into_owned();
    let name = std::str::from_utf8(&bytes).map_err(|_| BadEntry::Name(BadName::NotUtf8))?;
    // `tar` itself writes `./a/b/` for a directory.
    let name = name.trim_end_matches('/');
    let name = name.strip_prefix("./").unwrap_or(name);
    if name.is_empty() || name == "." {
        return if kind.is_dir() && !bytes.starts_with(b"/") {
            Ok(())
        } else {
            Err(BadEntry::Name(BadName::Empty))
        };
    }
    check_path(name).map_err(BadEntry::Name)?;
    let (parent, base) = name.rsplit_once('/').unwrap_or(("", name));
    let parent = make_dirs(root, parent).map_err(BadEntry::Write)?;
    if kind.is_dir() {
        make_dir(&parent, base).map_err(BadEntry::Write)
    } else if kind.is_symlink() {
        let target = entry.link_name_bytes().unwrap_or_default().into_owned();
        if leaves_tree(name, &target) {
            return Err(BadEntry::Escape);
        }
        let made = rustix::fs::symlinkat(target.as_slice(), &parent, base);
        made.map_err(|error| BadEntry::Write(error.into()))
    } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
        let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
        write_file(&parent, base, executable, entry).map_err(BadEntry::Write)
    } else {
        Err(BadEntry::Kind)
    }
}

/// A later entry of the same name replaces an earlier one, as `tar` does; a link in the way is replaced, not followed.
fn write_file(dir: &OwnedFd, name: &str, executable: bool, from: &mut impl Read) -> io::Result<()> {
    let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    let opened = beneath::open(dir, name, flags, mode).or_else(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
        beneath::open(dir, name, flags, mode)
    })?;
    io::copy(from, &mut File::from(opened))?;
    Ok(())
}

/// Opens the directory `path`, making what is missing of it.
fn make_dirs(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let mut dir = beneath::subdir(root, ".")?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        make_dir(&dir, part)?;
        dir = beneath::subdir(&dir, part)?;
    }
    Ok(dir)
}

fn make_dir(dir: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => beneath::subdir(dir, name).map(drop),
        result => Ok(result?),
    }
}

/// Whether a link at `name` with that target may lead above the root.
///
/// The directory that the link is in is a real one, so `..` at the beginning can be counted; after a name it cannot, since
/// the name may be a link itself.
fn leaves_tree(name: &str, target: &[u8]) -> bool {
    let depth = name.matches('/').count();
    let parts = target.split(|b| *b == b'/');
    let mut named = parts.filter(|part| !matches!(*part, b"" | b"."));
    let up = named.by_ref().take_while(|part| *part == b"..").count();
    target.starts_with(b"/") || target.is_empty() || up > depth || named.any(|part| part == b"..")
}

#[cfg(test)]
mod tests;
