//! A directory that is held open. Its files are reached by their names alone: to walk to each by a whole path costs more than what
//! is done with it, where that is as little as between two short programs.

use crate::beneath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use std::ffi::{CStr, OsStr};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Entries are read into so many bytes: all of a small directory at once.
const ENTRIES: usize = 4096;

/// See the module's words.
#[derive(Debug)]
pub struct Folder {
    dir: OwnedFd,
}

impl Folder {
    /// Opens the directory at `path`, which is ours.
    ///
    /// # Errors
    /// Those of the file system; when it is no directory.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let dir = beneath::open_dir(path)?;
        Ok(Folder { dir })
    }

    /// Opens a directory in it: no link to one.
    pub(crate) fn folder(&self, name: &str) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, name, flags, Mode::empty())?;
        Ok(Folder { dir })
    }

    /// Writes a file of that name and content. One that is there keeps its inode, and its block where one is enough; a new one
    /// is made with `mode`.
    ///
    /// # Errors
    /// Those of the file system; when there is a link of that name. The file may be there in part.
    pub fn overwrite(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        let mut file = std::fs::File::from(rustix::fs::openat(&self.dir, name, flags, mode)?);
        file.write_all(bytes)?;
        // Cheaper asked than done: most files are as long as the one before.
        match rustix::fs::fstat(&file)?.st_size == bytes.len() as i64 {
            true => Ok(()),
            false => file.set_len(bytes.len() as u64),
        }
    }

    /// Makes a file empty, if it is there.
    pub(crate) fn clear(&self, name: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => Ok(rustix::fs::ftruncate(file, 0)?),
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The descriptor itself.
    pub(crate) fn as_dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// Whether the directory is as it was made: its owner and its mode.
    pub(crate) fn is_as_made(&self, own: u32, mode: u32) -> io::Result<bool> {
        let found = rustix::fs::fstat(&self.dir)?;
        Ok(found.st_uid == own && found.st_mode & 0o7777 == mode)
    }

    /// Removes everything in it but what `keeps` says. The path is its own, for directories that are to go.
    pub(crate) fn empty_but(
        &self,
        path: &Path,
        mut keeps: impl FnMut(&Folder, &CStr) -> io::Result<bool>,
    ) -> io::Result<()> {
        // No file system promises that a listing is whole while what it lists is removed.
        while self.remove_some(path, &mut keeps)? {
            rustix::fs::seek(&self.dir, rustix::fs::SeekFrom::Start(0))?;
        }
        Ok(())
    }

    fn remove_some(
        &self,
        path: &Path,
        keeps: &mut impl FnMut(&Folder, &CStr) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let mut removed = false;
        let mut room = [MaybeUninit::uninit(); ENTRIES];
        let mut entries = RawDir::new(&self.dir, &mut room);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || keeps(self, name)? {
                continue;
            }
            let is_dir = match entry.file_type() {
                // A file system that does not say.
                FileType::Unknown => {
                    let found = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(found.st_mode) == FileType::Directory
                }
                kind => kind == FileType::Directory,
            };
            match is_dir {
                true => std::fs::remove_dir_all(path.join(OsStr::from_bytes(name.to_bytes())))?,
                false => rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?,
            }
            removed = true;
        }
        Ok(removed)
    }

    /// Whether a file is as the host made it; a program may have put something else in its place.
    pub(crate) fn has_own_file(&self, name: &CStr, mode: u32, own: u32) -> io::Result<bool> {
        let found = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(
            FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
                && found.st_nlink == 1
                && found.st_uid == own
                && found.st_mode & 0o7777 == mode,
        )
    }
}
