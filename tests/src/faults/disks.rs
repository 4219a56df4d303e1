//! Where a coordinator keeps its data: on the machine's disk, or on one that can forget, fill up and fail.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use powercut::{Disk, Mount};

/// A coordinator's disk.
#[derive(Debug)]
pub(super) struct CoordinatorDisk {
    path: PathBuf,
    mount: Option<Mount>,
}

impl CoordinatorDisk {
    /// A directory at `path`; with a seed, on a disk that forgets.
    ///
    /// # Errors
    /// When the directory cannot be made or nothing may be mounted.
    pub(super) fn new(path: &Path, forgets: Option<u64>) -> anyhow::Result<Self> {
        fs::create_dir_all(path)?;
        let mount = match forgets {
            Some(seed) => Some(
                Mount::new(path, Disk::new(seed))
                    .context("a disk that forgets needs /dev/fuse and the right to mount")?,
            ),
            None => None,
        };
        Ok(Self {
            path: path.to_owned(),
            mount,
        })
    }

    /// The data directory on it.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The disk that forgets, if it is one.
    pub(super) fn forgetful(&self) -> anyhow::Result<&Mount> {
        self.mount
            .as_ref()
            .context("this run's coordinators are on the machine's own disk")
    }
}
