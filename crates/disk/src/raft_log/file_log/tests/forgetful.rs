//! A directory on a disk whose power fails after a given number of changes.

use crate::error::DiskError;
use crate::raft_log::mark::Mark;
use crate::raft_log::medium::{Directory, Medium};
use powercut::{Disk, Failure, Kind, ROOT};
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A clone is the same directory.
#[derive(Clone, Debug)]
pub(super) struct Forgetful {
    machine: Arc<Mutex<Machine>>,
    directory: u64,
    mark: u64,
}

#[derive(Debug)]
struct Machine {
    disk: Disk,
    /// Files are said to be synced, and are not.
    lies: bool,
}

impl Forgetful {
    pub(super) fn new(seed: u64) -> Forgetful {
        let mut disk = Disk::new(seed);
        let mut make = |name: &str, kind| disk.make(ROOT, OsStr::new(name), kind).unwrap().node;
        let (directory, mark) = (make("segments", Kind::Directory), make("mark", Kind::File));
        disk.sync(ROOT).unwrap();
        let machine = Machine { disk, lies: false };
        Forgetful {
            machine: Arc::new(Mutex::new(machine)),
            directory,
            mark,
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails after so many changes and syncs, or never.
    pub(super) fn fail_after(&self, changes: Option<u64>) {
        self.with_disk(|disk| disk.fail_after(changes));
    }

    /// Whether it says of files that they are synced, and does not sync them.
    pub(super) fn lie(&self, lies: bool) {
        self.machine().lies = lies;
    }

    /// The power fails now, if it has not, and comes back.
    pub(super) fn cut(&self) {
        let mut machine = self.machine();
        machine.disk.power_off();
        machine.disk.power_on();
    }

    pub(super) fn mark(&self) -> Mark<ForgetfulFile> {
        Mark::over(self.file(self.mark))
    }

    fn file(&self, node: u64) -> ForgetfulFile {
        ForgetfulFile {
            of: self.clone(),
            node,
        }
    }

    /// Does something to the disk itself, which counts for nothing.
    pub(super) fn with_disk<T>(&self, act: impl FnOnce(&mut Disk) -> T) -> T {
        act(&mut self.machine().disk)
    }

    /// The bytes of every segment, by name.
    pub(super) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let mut all: Vec<_> = self
            .names()
            .unwrap()
            .into_iter()
            .map(|name| {
                let file = self.open(&name).unwrap();
                let bytes = file.read(0, file.len().unwrap() as usize).unwrap();
                (name, bytes)
            })
            .collect();
        all.sort();
        all
    }

    /// A disk with these segments, all synced, and this mark.
    pub(super) fn holding(contents: &[(String, Vec<u8>)], mark: u64) -> Forgetful {
        let made = Forgetful::new(0);
        for (name, bytes) in contents {
            let file = made.create(name).unwrap();
            file.write(0, bytes).unwrap();
            file.sync().unwrap();
        }
        Directory::sync(&made).unwrap();
        if mark > 0 {
            made.mark().write(mark).unwrap();
        }
        made
    }

    fn change<T>(
        &self,
        is_sync: bool,
        act: impl FnOnce(&mut Disk) -> Result<T, Failure>,
    ) -> Result<T, DiskError> {
        self.with_disk(act)
            .map_err(|failure| error(failure, is_sync))
    }
}

fn error(failure: Failure, is_sync: bool) -> DiskError {
    let kind = match failure {
        Failure::Full => {
            return DiskError::Full {
                doing: "writing",
                path: PathBuf::new(),
            };
        }
        Failure::Missing => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    let (path, source) = (PathBuf::new(), io::Error::from(kind));
    match is_sync {
        true => DiskError::Sync { path, source },
        false => DiskError::Io {
            doing: "changing",
            path,
            source,
        },
    }
}

impl Directory for Forgetful {
    type File = ForgetfulFile;

    fn names(&self) -> Result<Vec<String>, DiskError> {
        let listed = self.with_disk(|disk| disk.list(self.directory));
        let listed = listed.map_err(|failure| error(failure, false))?;
        Ok(listed
            .into_iter()
            .map(|(name, ..)| name.into_string().unwrap())
            .collect())
    }

    fn open(&self, name: &str) -> Result<ForgetfulFile, DiskError> {
        let found = self.with_disk(|disk| disk.lookup(self.directory, OsStr::new(name)));
        let found = found.map_err(|failure| error(failure, false))?;
        Ok(self.file(found.node))
    }

    fn create(&self, name: &str) -> Result<ForgetfulFile, DiskError> {
        let made = self.change(false, |disk| {
            disk.make(self.directory, OsStr::new(name), Kind::File)
        })?;
        self.with_disk(|disk| disk.hold(made.node));
        Ok(self.file(made.node))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.change(false, |disk| {
            disk.unlink(self.directory, OsStr::new(name), Kind::File)
        })
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.change(true, |disk| disk.sync(self.directory))
    }

    fn available_bytes(&self) -> Result<u64, DiskError> {
        let (used, capacity) = self.with_disk(|disk| disk.usage());
        Ok(capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used)))
    }

    fn place(&self) -> String {
        "DIR".to_owned()
    }
}

#[derive(Debug)]
pub(super) struct ForgetfulFile {
    of: Forgetful,
    node: u64,
}

impl Medium for ForgetfulFile {
    fn len(&self) -> Result<u64, DiskError> {
        let status = self.of.with_disk(|disk| disk.status(self.node));
        Ok(status.map_err(|failure| error(failure, false))?.length)
    }

    fn reserve(&self, _: u64) -> Result<(), DiskError> {
        Ok(())
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.of
            .with_disk(|disk| disk.read(self.node, offset, len as u64).map(<[u8]>::to_vec))
            .map_err(|failure| error(failure, false))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.of
            .change(false, |disk| disk.write(self.node, offset, bytes))
    }

    fn sync(&self) -> Result<(), DiskError> {
        if self.of.machine().lies {
            return Ok(());
        }
        self.of.change(true, |disk| disk.sync(self.node))
    }
}
