//! The directory a node lives in: who owns it, and where to find the one that does.
//!
//! One process owns a home at a time; it holds a lock that the kernel takes back however the process ends. Beside the
//! lock stands the address it serves at, so that another command finds it instead of starting a second node.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs4::fs_std::FileExt as _;

const LOCK: &str = "lock";
const ENDPOINT: &str = "endpoint";

/// The directory of a node.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
}

/// Proof that this process owns a home; ends with the process.
#[derive(Debug)]
pub struct Ownership {
    home: Home,
    _lock: File,
}

impl Home {
    /// A home at a path, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the home over unless another process owns it.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub fn own(&self) -> io::Result<Option<Ownership>> {
        make_dir(&self.path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.join(LOCK))?;
        if !lock.try_lock_exclusive()? {
            return Ok(None);
        }
        Ok(Some(Ownership {
            home: self.clone(),
            _lock: lock,
        }))
    }

    /// The address of the node that owns the home, once it serves.
    pub fn endpoint(&self) -> Option<String> {
        let text = fs::read_to_string(self.path.join(ENDPOINT)).ok()?;
        let address = text.trim();
        (!address.is_empty()).then(|| address.to_owned())
    }
}

impl Ownership {
    /// The home that is owned.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// A number that rises with every start of a node in this home, on the disk before it is given.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn next_incarnation(&self) -> io::Result<u64> {
        let path = self.home.path.join("incarnation");
        let last = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<u64>().map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}: {error}", path.display()),
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let next = last + 1;
        write_durably(&path, next.to_string().as_bytes())?;
        Ok(next)
    }

    /// Says where this node serves.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self, address: &str) -> io::Result<()> {
        write_file(&self.home.path.join(ENDPOINT), address.as_bytes(), false)
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        // The lock decides; a file left behind only costs the next command one failed connection.
        drop(fs::remove_file(self.home.path.join(ENDPOINT)));
    }
}

/// Makes a directory and what is missing above it. Its name is durable on return, also if it was there: who made it may have been
/// killed before it had synced that.
///
/// # Errors
/// When it cannot be made.
pub fn make_dir(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !path.is_dir() {
        if !parent.is_dir() {
            make_dir(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    match File::open(parent).and_then(|parent| parent.sync_all()) {
        // Whoever gave us a directory in one that we may not read has made it long before.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Replaces a small file so that a reader, or a restart, finds the old text or the new one, and the new one is on the disk.
///
/// # Errors
/// When it cannot be written.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_file(path, bytes, true)
}

fn write_file(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_data()?;
    }
    fs::rename(&partial, path)?;
    if durable && let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_owner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("home"));
        let owner = home.own().unwrap().unwrap();
        assert!(home.own().unwrap().is_none());
        assert_eq!(home.endpoint(), None);
        owner.publish("127.0.0.1:7461").unwrap();
        assert_eq!(home.endpoint().as_deref(), Some("127.0.0.1:7461"));
        drop(owner);
        assert_eq!(home.endpoint(), None);
        assert!(home.own().unwrap().is_some());
    }

    #[test]
    fn incarnations_rise() {
        let directory = tempfile::tempdir().unwrap();
        let owner = Home::new(directory.path()).own().unwrap().unwrap();
        assert_eq!(owner.next_incarnation().unwrap(), 1);
        assert_eq!(owner.next_incarnation().unwrap(), 2);
    }
}
