//! All attempts of a worker: a directory of directories, some of them spare.
//!
//! Directories are dear: where freed blocks are discarded at once, removing one takes longer than running a short program.
//! So those of an attempt that is over are emptied and kept under another name for the next.

use crate::attempt::{AttemptDir, AttemptState};
use crate::folder::Folder;
use crate::run_file::RunFile;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names of spare directories begin so; those of attempts do not begin with a dot.
const SPARE: &str = ".spare-";
/// Most spare directories kept.
const MAX_SPARE: usize = 64;
/// What the program sees in its root.
const PARTS: [&str; 4] = ["config", "inputs", "outputs", "repository"];
/// The mode of all directories.
const MODE: u32 = 0o755;

/// The feed of an attempt.
const FEED: &str = "feed";

/// Files whose places are kept when a directory is used again, their content stale until the host writes them anew. To make a
/// file soon after many were removed is what file systems are slow at: ext4 looks through everything it removed lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// Files of the host's own beside `root`, readable by nobody else.
    pub beside: &'static [&'static str],
    /// Files in `root/config`. The host writes every one of them for every attempt.
    pub config: &'static [&'static str],
}

/// The directory of all attempts.
#[derive(Debug)]
pub struct Attempts {
    kept: Kept,
    path: PathBuf,
    spares: Mutex<Spares>,
}

#[derive(Debug, Default)]
struct Spares {
    names: Vec<OsString>,
    made: u64,
}

/// One attempt found on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Name of its directory.
    pub name: OsString,
    /// The directory.
    pub dir: AttemptDir,
    /// What it says.
    pub state: AttemptState,
}

impl Attempts {
    /// The attempts in `path`, which is made if it is missing. Spare directories of an earlier daemon are removed.
    pub fn open(path: &Path) -> io::Result<Attempts> {
        Attempts::open_keeping(path, Kept::default())
    }

    /// The same, where some files keep their places.
    pub fn open_keeping(path: &Path, kept: Kept) -> io::Result<Attempts> {
        fs::create_dir_all(path)?;
        let path = std::path::absolute(path)?;
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(SPARE.as_bytes())
            {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let spares = Mutex::default();
        Ok(Attempts { kept, path, spares })
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The attempt of that name, there or not.
    pub fn get(&self, name: &str) -> AttemptDir {
        AttemptDir::at(self.path.join(name))
    }

    /// Makes the directory of an attempt, and the empty ones that its program will see. An error if it exists, or if the
    /// name is none: `<execution-uuid>.<attempt>`, at any rate not beginning with a dot.
    pub fn create(&self, name: &str) -> io::Result<AttemptDir> {
        if name.starts_with('.') || crate::inputs::check_name(name).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let dir = self.get(name);
        let spare = self.spares().names.pop();
        if let Some(spare) = spare {
            let cwd = rustix::fs::CWD;
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(cwd, self.path.join(spare), cwd, dir.path(), flags)?;
        } else {
            make_dir(dir.path())?;
            make_dir(&dir.root())?;
            PARTS
                .iter()
                .try_for_each(|part| make_dir(&dir.root().join(part)))?;
        }
        Ok(dir)
    }

    /// Removes an attempt and all in it. An error if it is running.
    pub fn retire(&self, dir: &AttemptDir) -> io::Result<()> {
        // Where there is an exit, nothing runs, whatever it says.
        let ended = RunFile::has_exit(dir.path());
        if !ended && matches!(dir.state()?, AttemptState::Running { .. }) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let keep = ended && self.spares().names.len() < MAX_SPARE;
        match keep.then(|| self.recycle(dir)) {
            Some(Ok(())) => Ok(()),
            // Whatever is strange about it goes with it.
            Some(Err(_)) | None => fs::remove_dir_all(dir.path()),
        }
    }

    fn recycle(&self, dir: &AttemptDir) -> io::Result<()> {
        let own = rustix::process::geteuid().as_raw();
        let folder = Folder::open(dir.path())?;
        let beside = self.kept.beside;
        folder.empty_but(dir.path(), |folder, name| match name.to_bytes() {
            b"root" | b"exit.json" => Ok(true),
            name_of if name_of == FEED.as_bytes() || is_one_of(name_of, beside) => {
                folder.has_own_file(name, 0o600, own)
            }
            _ => Ok(false),
        })?;
        folder.clear(FEED)?;
        let root = folder.folder("root")?;
        let root_path = dir.root();
        root.empty_but(&root_path, |_, name| Ok(is_one_of(name.to_bytes(), &PARTS)))?;
        let mut all_as_made = root.is_as_made(own, MODE)?;
        for part in PARTS {
            let keep = match part {
                "config" => self.kept.config,
                _ => &[],
            };
            let folder = root.folder(part)?;
            all_as_made &= folder.is_as_made(own, MODE)?;
            folder.empty_but(&root_path.join(part), |folder, name| {
                Ok(is_one_of(name.to_bytes(), keep) && folder.has_own_file(name, 0o644, own)?)
            })?;
        }
        if !all_as_made {
            return Err(io::ErrorKind::InvalidData.into());
        }
        RunFile::recycle(folder.as_dir())?;
        let mut spares = self.spares();
        spares.made += 1;
        let name = OsString::from(format!("{SPARE}{}", spares.made));
        fs::rename(dir.path(), self.path.join(&name))?;
        spares.names.push(name);
        Ok(())
    }

    /// Finds all attempts, by name: what a daemon does before it offers any capacity.
    pub fn scan(&self) -> io::Result<Vec<Scanned>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() && !name.as_encoded_bytes().starts_with(b".") {
                let dir = AttemptDir::at(entry.path());
                let state = dir.state()?;
                found.push(Scanned { name, dir, state });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn spares(&self) -> MutexGuard<'_, Spares> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|one| one.as_bytes() == name)
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(MODE).create(path)?;
    // Whatever the daemon's umask is.
    fs::set_permissions(path, Permissions::from_mode(MODE))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::beneath;
    use crate::program::{EndReason, Exit, View};
    use std::os::unix::fs::{MetadataExt, symlink};

    /// Pretends that the attempt ran.
    fn ended(attempts: &Attempts, name: &str) -> AttemptDir {
        let dir = attempts.create(name).unwrap();
        let exit = Exit {
            reason: EndReason::Exited,
            code: Some(0),
            signal: None,
            started_us: 1,
            ended_us: 2,
            oom: false,
            record_count: 0,
            feed_bytes: 0,
            view: View::Direct,
        };
        let file = RunFile::make(dir.path(), None).unwrap();
        file.commit(beneath::open_dir(dir.path()).unwrap(), name, &exit)
            .unwrap();
        fs::write(dir.feed(), "frames").unwrap();
        assert_eq!(dir.state().unwrap(), AttemptState::Ended(exit));
        dir
    }

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    fn everything(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_serves_again_and_shows_nothing_of_its_past() {
        let temp = tempfile::tempdir().unwrap();
        let attempts = Attempts::open(temp.path()).unwrap();
        let first = ended(&attempts, "a.1");
        let number = inode(&first.outputs());
        fs::create_dir(first.outputs().join("deep")).unwrap();
        fs::write(first.outputs().join("deep/model"), "m").unwrap();
        fs::write(first.root().join("stray"), "s").unwrap();
        symlink("/etc", first.inputs().join("link")).unwrap();
        attempts.retire(&first).unwrap();
        assert_eq!(attempts.scan().unwrap(), []);
        assert_eq!(first.state().unwrap(), AttemptState::New);

        let second = attempts.create("b.1").unwrap();
        assert_eq!(inode(&second.outputs()), number);
        assert_eq!(second.state().unwrap(), AttemptState::New);
        assert_eq!(everything(&second.root()), PARTS);
        for part in PARTS {
            assert_eq!(everything(&second.root().join(part)), [] as [&str; 0]);
        }
        assert_eq!(everything(second.path()), ["root", "shim.tmp"]);
        // It can be launched once, as a new one.
        RunFile::make(second.path(), None).unwrap();
        assert_eq!(second.state().unwrap(), AttemptState::Gone);
        let again = RunFile::make(second.path(), None).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_the_program_changed_does_not_serve_again() {
        let temp = tempfile::tempdir().unwrap();
        let attempts = Attempts::open(temp.path()).unwrap();
        let changes: [fn(&AttemptDir); 3] = [
            |dir| fs::set_permissions(dir.outputs(), Permissions::from_mode(0o700)).unwrap(),
            |dir| {
                fs::remove_dir(dir.outputs()).unwrap();
                symlink("/etc", dir.outputs()).unwrap();
            },
            |dir| fs::remove_dir(dir.inputs()).unwrap(),
        ];
        for change in changes {
            let dir = ended(&attempts, "a.1");
            change(&dir);
            attempts.retire(&dir).unwrap();
            assert_eq!(everything(temp.path()), [] as [&str; 0]);
        }
    }

    /// After a power cut, the recycled file may show its old bytes under the new name.
    #[test]
    fn the_exit_of_another_attempt_is_not_taken() {
        let temp = tempfile::tempdir().unwrap();
        let attempts = Attempts::open(temp.path()).unwrap();
        let old = ended(&attempts, "a.1");
        let new = attempts.create("b.1").unwrap();
        fs::copy(old.path().join("exit.json"), new.path().join("exit.json")).unwrap();
        assert_eq!(new.state().unwrap(), AttemptState::Gone);
        let exit = new.bury().unwrap();
        assert_eq!(exit.reason, EndReason::Gone);
        assert_eq!(new.state().unwrap(), AttemptState::Ended(exit));
    }

    #[test]
    fn names_and_states_are_respected() {
        let temp = tempfile::tempdir().unwrap();
        let attempts = Attempts::open(temp.path()).unwrap();
        for name in ["", ".", "..", ".spare-1", "a/b"] {
            assert!(attempts.create(name).is_err(), "{name:?}");
        }
        let dir = attempts.create("a.1").unwrap();
        assert!(attempts.create("a.1").is_err());
        let held = RunFile::make(dir.path(), Some(1)).unwrap();
        assert!(attempts.retire(&dir).is_err(), "it runs");
        drop(held);
        attempts.retire(&dir).unwrap();
        assert_eq!(everything(temp.path()), [] as [&str; 0]);
        // An earlier daemon's spares are not trusted.
        fs::create_dir(temp.path().join(".spare-9")).unwrap();
        Attempts::open(temp.path()).unwrap();
        assert_eq!(everything(temp.path()), [] as [&str; 0]);
    }
}
