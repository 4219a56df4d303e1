//! Walking a tree that nobody vouches for.

use crate::beneath;
use crate::inputs::BadName;
use crate::inputs::{MAX_PATH, check_name};
use crate::outputs::{CollectError, Identity, Invalid, OutputFile};
use rustix::fs::{AtFlags, Dir, FileType, Stat};
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

/// Something in the tree that is not a directory.
pub(super) struct Found {
    name: String,
    good_name: Result<(), BadName>,
    stat: Stat,
}

impl Found {
    /// What it is, if it is an output.
    pub(super) fn check(&self) -> Result<OutputFile, CollectError> {
        let reason = match (&self.good_name, FileType::from_raw_mode(self.stat.st_mode)) {
            (Err(bad), _) => Invalid::Name(*bad),
            (Ok(()), FileType::RegularFile) if self.stat.st_nlink == 1 => {
                return Ok(OutputFile {
                    name: self.name.clone(),
                    size: self.stat.st_size as u64,
                    mode: self.stat.st_mode & 0o7777,
                    identity: Identity::of(&self.stat),
                });
            }
            (Ok(()), FileType::RegularFile) => Invalid::HardLink,
            (Ok(()), FileType::Symlink) => Invalid::Symlink,
            (Ok(()), FileType::Fifo) => Invalid::Fifo,
            (Ok(()), FileType::Socket) => Invalid::Socket,
            (Ok(()), _) => Invalid::Device,
        };
        let name = self.name.clone();
        Err(CollectError::Invalid { name, reason })
    }
}

/// Visits everything below `root` but the directories, in no particular order. One directory is open at a time, each
/// opened anew from the root, so that neither depth nor a swap leads astray.
pub(super) fn walk(
    root: &OwnedFd,
    max_files: usize,
    mut visit: impl FnMut(Found) -> Result<(), CollectError>,
) -> Result<(), CollectError> {
    let mut directories = vec![String::new()];
    let (mut files_seen, mut directories_seen) = (0, 0);
    while let Some(directory) = directories.pop() {
        let path = if directory.is_empty() {
            "."
        } else {
            &directory
        };
        let unreadable = |error| CollectError::Invalid {
            name: directory.clone(),
            reason: Invalid::Unreadable(error),
        };
        let handle = beneath::subdir(root, path).map_err(unreadable)?;
        let mut entries = Dir::read_from(&handle).map_err(|e| unreadable(e.into()))?;
        while let Some(entry) = entries.read() {
            let entry = entry.map_err(io::Error::from)?;
            let raw = entry.file_name();
            if matches!(raw.to_bytes(), b"." | b"..") {
                continue;
            }
            let (name, good_name) = join(&directory, raw);
            let stat = match rustix::fs::statat(&handle, raw, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // A running program may have removed it.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(io::Error::from(error).into()),
            };
            let (seen, unit) = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => (&mut directories_seen, "directories"),
                _ => (&mut files_seen, "files"),
            };
            *seen += 1;
            if *seen > max_files {
                let limit = max_files as u64;
                return Err(CollectError::Limit { limit, unit });
            }
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                visit(Found {
                    name,
                    good_name,
                    stat,
                })?;
            } else if let Err(bad) = good_name {
                let reason = Invalid::Name(bad);
                return Err(CollectError::Invalid { name, reason });
            } else {
                directories.push(name);
            }
        }
    }
    Ok(())
}

/// The path of `name` in `directory`, and whether it is one that we take.
fn join(directory: &str, name: &CStr) -> (String, Result<(), BadName>) {
    let mut path = String::from(directory);
    if !path.is_empty() {
        path.push('/');
    }
    match name.to_str() {
        Ok(name) => {
            path.push_str(name);
            let long = path.len() > MAX_PATH;
            let good = check_name(name).and(if long { Err(BadName::Long) } else { Ok(()) });
            (path, good)
        }
        Err(_) => {
            path.push_str(&name.to_string_lossy());
            (path, Err(BadName::NotUtf8))
        }
    }
}
