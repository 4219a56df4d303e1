//! What a step leaves behind: the files under `outputs/`, and the properties that it gave them.
//!
//! The tree was written by a program that may be hostile, so nothing in it is trusted: it is walked by directory handles,
//! every file is opened beneath the root by the kernel's own rules, and only regular files with a single name are taken.
//! Anything else makes the whole collection fail and names itself: an output is never silently left out.
//!
//! [`collect`] is for the end, when no process of the program is left. [`LiveScan`] is for files that a running program
//! has made read-only, which is how it says that they are finished.

mod walk;

mod properties;

mod live;

pub use live::LiveScan;
pub use properties::Properties;

use crate::beneath;
use crate::inputs::BadName;
use properties::Reader;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use thiserror::Error;

/// How much a step may leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most files, carriers of properties included, and most directories.
    pub max_files: usize,
    /// Most bytes in all.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_files: 100_000,
            max_bytes: u64::MAX,
        }
    }
}

/// One file that a step left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Its path below `outputs/`: UTF-8, parts joined by `/`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Which file it is, to find a swap.
    identity: Identity,
}

/// What does not change while a file stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    dev: u64,
    ino: u64,
    size: u64,
    modified_ns: i128,
}

impl Identity {
    fn of(stat: &Stat) -> Identity {
        Identity {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size as u64,
            modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        }
    }
}

/// Everything that a step left behind.
#[derive(Debug)]
pub struct Outputs {
    /// The files, by name, carriers of properties left out.
    pub files: Vec<OutputFile>,
    /// What the step says of its files, by name. Only names in `files`, or uploaded before.
    pub properties: BTreeMap<String, Properties>,
    /// What was wrong with the carriers of properties, one sentence each. No reason for a step to fail.
    pub warnings: Vec<String>,
    root: OwnedFd,
}

impl Outputs {
    /// Opens one of the files for reading; an error if it is not the one that was found.
    pub fn open(&self, file: &OutputFile) -> Result<File, CollectError> {
        open_found(&self.root, file)
    }
}

/// Why outputs cannot be taken. The step fails with it.
#[derive(Debug, Error)]
pub enum CollectError {
    /// Something that is not an output.
    #[error("output {name:?} {reason}")]
    Invalid {
        /// Its path below `outputs/`, with unprintable bytes replaced.
        name: String,
        /// What is wrong with it.
        reason: Invalid,
    },
    /// Too many files or directories, or too many bytes.
    #[error("more than {limit} {unit} in outputs")]
    Limit {
        /// How many are allowed.
        limit: u64,
        /// Of what: `files`, `directories` or `bytes`.
        unit: &'static str,
    },
    /// The file system failed.
    #[error("reading outputs: {0}")]
    Io(#[from] io::Error),
}

/// What makes something no output.
#[derive(Debug, Error)]
pub enum Invalid {
    /// A symbolic link, wherever it leads.
    #[error("is a symbolic link")]
    Symlink,
    /// A file that has another name, perhaps outside.
    #[error("is a hard link")]
    HardLink,
    /// A named pipe.
    #[error("is a FIFO")]
    Fifo,
    /// A socket.
    #[error("is a socket")]
    Socket,
    /// A device.
    #[error("is a device")]
    Device,
    /// Its name.
    #[error("has a name that {0}")]
    Name(BadName),
    /// It changed or was swapped while it was collected.
    #[error("changed while it was collected")]
    Changed,
    /// It may not be read, or lies on another file system.
    #[error("cannot be opened: {0}")]
    Unreadable(io::Error),
}

/// Finds everything under `outputs`, after the program is dead. `uploaded` names the files that were taken while it ran,
/// so that what it says of them is kept.
pub fn collect(
    outputs: &Path,
    limits: Limits,
    uploaded: &BTreeSet<String>,
) -> Result<Outputs, CollectError> {
    let root = beneath::open_dir(outputs)?;
    let mut files = Vec::new();
    let mut bytes = 0u64;
    walk::walk(&root, limits.max_files, |found| {
        let file = found.check()?;
        bytes = bytes.saturating_add(file.size);
        if bytes > limits.max_bytes {
            let limit = limits.max_bytes;
            let unit = "bytes";
            return Err(CollectError::Limit { limit, unit });
        }
        files.push(file);
        Ok(())
    })?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let reader = Reader::new(&root, &files, uploaded);
    let (carriers, properties, warnings) = reader.read_all();
    files.retain(|file| !carriers.contains(&file.name));
    Ok(Outputs {
        files,
        properties,
        warnings,
        root,
    })
}

/// Whether there is nothing at all in `outputs`, so that [`collect`] would find nothing: what most short programs leave.
pub fn is_empty(outputs: &Path) -> io::Result<bool> {
    let mut entries = Dir::new(beneath::open_dir(outputs)?)?;
    while let Some(entry) = entries.read() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens a file that was found, and makes sure that it is still the same.
fn open_found(root: &OwnedFd, file: &OutputFile) -> Result<File, CollectError> {
    let invalid = |reason| CollectError::Invalid {
        name: file.name.clone(),
        reason,
    };
    // NONBLOCK: should it have become a FIFO, we do not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = beneath::open(root, file.name.as_str(), flags, Mode::empty())
        .map_err(|error| invalid(Invalid::Unreadable(error)))?;
    let stat = rustix::fs::fstat(&opened).map_err(io::Error::from)?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !regular || stat.st_nlink != 1 || Identity::of(&stat) != file.identity {
        return Err(invalid(Invalid::Changed));
    }
    Ok(File::from(opened))
}

/// Removes a file that was found, unless another has taken its name.
fn remove_found(root: &OwnedFd, file: &OutputFile) -> io::Result<bool> {
    let (parent, name) = file.name.rsplit_once('/').unwrap_or((".", &file.name));
    let parent = beneath::subdir(root, parent)?;
    let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if Identity::of(&stat) != file.identity {
        return Ok(false);
    }
    rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
    Ok(true)
}

#[cfg(test)]
mod tests;
