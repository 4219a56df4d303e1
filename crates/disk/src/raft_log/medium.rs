//! The few things that the log does with files, so that tests can put a disk under it that forgets.

use crate::error::{DiskError, During};
use crate::files;
use crate::space::space_of;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A directory of files that are read and written at places of them.
pub(super) trait Directory: Send {
    /// A file in it.
    type File: Medium;

    /// The names in it, in any order.
    fn names(&self) -> Result<Vec<String>, DiskError>;

    /// Opens a file that is there.
    fn open(&self, name: &str) -> Result<Self::File, DiskError>;

    /// Makes an empty file. Its name is durable once the directory is synced.
    fn create(&self, name: &str) -> Result<Self::File, DiskError>;

    /// Removes a file; at a power cut it may come back until the directory is synced.
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// Makes the names durable.
    fn sync(&self) -> Result<(), DiskError>;

    /// Bytes that may still be written to new places.
    fn available_bytes(&self) -> Result<u64, DiskError>;

    /// Where it is, for people.
    fn place(&self) -> String;
}

/// A file.
pub(super) trait Medium: Send {
    /// Its length in bytes.
    fn len(&self) -> Result<u64, DiskError>;

    /// Asks for room up to `len`; a file system that cannot say so is asked again when it is written.
    fn reserve(&self, len: u64) -> Result<(), DiskError>;

    /// Up to `len` bytes; fewer at the end of the file.
    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, DiskError>;

    /// Writes bytes; durable once it is synced.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes durable what was written.
    fn sync(&self) -> Result<(), DiskError>;
}

/// A directory of the machine.
#[derive(Debug)]
pub(super) struct DiskDirectory(pub(super) PathBuf);

impl Directory for DiskDirectory {
    type File = DiskFile;

    fn names(&self) -> Result<Vec<String>, DiskError> {
        let mut names = Vec::new();
        for found in fs::read_dir(&self.0).during("listing", &self.0)? {
            let name = found.during("listing", &self.0)?.file_name();
            names.extend(name.into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> Result<DiskFile, DiskError> {
        DiskFile::open(&self.0.join(name), File::options().read(true).write(true))
    }

    fn create(&self, name: &str) -> Result<DiskFile, DiskError> {
        let mut options = File::options();
        DiskFile::open(
            &self.0.join(name),
            options.create(true).truncate(true).read(true).write(true),
        )
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        files::remove_if_there(&self.0.join(name))
    }

    fn sync(&self) -> Result<(), DiskError> {
        files::sync_dir(&self.0)
    }

    fn available_bytes(&self) -> Result<u64, DiskError> {
        Ok(space_of(&self.0)?.available_bytes)
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

/// A file of the machine.
#[derive(Debug)]
pub(super) struct DiskFile {
    file: File,
    path: PathBuf,
}

impl DiskFile {
    pub(super) fn open(path: &Path, options: &fs::OpenOptions) -> Result<DiskFile, DiskError> {
        Ok(DiskFile {
            file: options.open(path).during("opening", path)?,
            path: path.to_owned(),
        })
    }
}

impl Medium for DiskFile {
    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.file.metadata().during("looking at", &self.path)?.len())
    }

    fn reserve(&self, len: u64) -> Result<(), DiskError> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            other => other
                .map_err(std::io::Error::from)
                .during("making room in", &self.path),
        }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self
                .file
                .read_at(&mut bytes[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).during("reading", &self.path),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file
            .write_all_at(bytes, offset)
            .during("writing", &self.path)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().during_sync(&self.path)
    }
}
